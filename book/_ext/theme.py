"""What Jupyter Book's theme is told beyond `_config.yml`; no page loads anything from elsewhere."""

import html
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import contents
import policy
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

from signseg_utils.files import paths
from signseg_utils.publishing import citation

LAUNCHED = re.compile(r"book/executed/[^/]+/")


def repository_url(source: Path) -> str:
    """Web address of the repository: from the CI's variables or from the git remote, or ''."""
    if "GITHUB_REPOSITORY" in os.environ:
        server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
        return f"{server}/{os.environ['GITHUB_REPOSITORY']}"
    words = ["git", "remote", "get-url", "origin"]
    try:
        run = subprocess.run(words, cwd=source, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    found = re.match(
        r"(?:https://|git@|ssh://git@)(github\.com|gitlab\.com)[/:](.+?)(?:\.git)?/?$",
        run.stdout.strip(),
    )
    return f"https://{found[1]}/{found[2]}" if found else ""


def set_defaults(app: Sphinx, config: Config) -> None:
    """Add to Jupyter Book's theme options what `_config.yml` can only replace whole."""
    options = config["html_theme_options"]
    options["navbar_persistent"] = []  # the theme's sidebar has a search field already
    config["html_context"].setdefault("default_mode", "auto")  # dark where the reader's system is
    url = str(options.get("repository_url") or "").rstrip("/") or repository_url(Path(app.srcdir))
    options["repository_url"] = url
    options["extra_footer"] = foot(Path(app.srcdir), str(config["copyright"]), url)
    if url:
        options["use_repository_button"] = options["use_issues_button"] = True
        options["launch_buttons"] = {
            **options.get("launch_buttons", {}),
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com" if "github.com" in url else "",
        }


def foot(source: Path, year: str, url: str) -> str:
    """HTML of a page's foot: how the book is cited; '' where no file says it."""
    if not (source / "CITATION.cff").exists():
        return ""
    words = citation.sentence(citation.read(source), year, url)
    return f'<p class="to-cite"><b>To cite:</b> {html.escape(words)}</p>'


def stay_local(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Drop scripts that load from elsewhere; point launch links at the notebooks' sources."""
    kept = []
    for script in context.get("script_files", []):
        name = str(getattr(script, "filename", script) or "")
        body = (getattr(script, "attributes", {}) or {}).get("body") or ""
        if "thebe" in name or "THEBE" in body or name.startswith(("http:", "https:", "//")):
            continue
        kept.append(script)
    context["script_files"] = kept

    def rewrite(buttons: list[dict[str, Any]]) -> None:
        for button in buttons:
            if "url" in button:
                button["url"] = LAUNCHED.sub("notebooks/", button["url"])
            rewrite(button.get("buttons", []))

    rewrite(context.get("header_buttons", []))


def finish(app: Sphinx, error: Exception | None) -> None:
    """What can be done only to pages as they were written: names for the sidebar, a policy."""
    if error or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        if "_static" not in page.relative_to(app.outdir).parts:
            text = page.read_text(encoding="utf-8")
            paths.write_text(page, policy.protected(contents.with_names(text)))
