"""Sphinx extension of this book: provenance strips, ledger, costs, links; nothing from outside.

It reads what `signseg_utils.publishing.publish` left beside each executed chapter (``*.run.json``,
``*.ledger.json``) while the book is built, so the notebooks themselves stay free of timings.
"""

import html
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxDirective

from signseg_utils.chapter import ledger

EXECUTED = re.compile(r"^book/executed/(?P<zoo>[^/]+)/(?P<chapter>[^/]+)$")
LAUNCHED = re.compile(r"book/executed/[^/]+/")


# ---------------------------------------------------------------- settings


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
    url = repository_url(Path(app.srcdir))
    options["repository_url"] = url
    if url:
        options["use_repository_button"] = options["use_issues_button"] = True
        options["launch_buttons"] = {
            **options.get("launch_buttons", {}),
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com" if "github.com" in url else "",
        }


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


# ---------------------------------------------------------------- provenance


def read_runs(source: Path) -> list[dict[str, Any]]:
    """All ``run.json`` of the book, ordered by zoo and chapter."""
    files = sorted((source / "book" / "executed").glob("*/*.run.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in files]


def origin(audit: dict[str, Any] | None) -> str:
    """Where a page's results come from, in words."""
    if not audit:
        return "computed while the page was made"
    if audit["source"] == "recomputed":
        return "newly computed"
    if not audit["checked"]:
        return "shipped; not audited here, because the data behind them are not on this machine"
    verdict = "all agree" if audit["agreed"] == audit["checked"] else "THEY DO NOT ALL AGREE"
    share = f"{audit['agreed']} of {audit['checked']} {audit.get('what', 'stored codes')}"
    return (
        f"shipped, in {audit['shards']} files; audit: {share} "
        f"(drawn with seed {audit['seed']}, within {audit['tolerance']:g}): {verdict}"
    )


def duration(seconds: float) -> str:
    """Seconds, or minutes where that reads better."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def broken(command: str) -> str:
    """A shell command with one parameter a line."""
    return re.sub(r" (-[pr]) ", r" \\\n  \1 ", command)


def strip(run: dict[str, Any]) -> str:
    """MyST of a page's provenance strip and re-run card."""
    device = run["hardware"].get("gpu") or f"{run['hardware']['cores']} CPU cores"
    facts = {
        "zoo": run["zoo"],
        "commit": run["commit"],
        "seed": run["seed"],
        "profile": run["profile"],
        "time": duration(run["seconds"]),
        "memory": f"{run['peak_memory_mib']} MiB",
        "on": device,
    }
    items = "".join(
        f"<span><b>{html.escape(name)}</b> {html.escape(str(value))}</span>"
        for name, value in facts.items()
        if value is not None
    )
    versions = ", ".join(f"{name} {number}" for name, number in sorted(run["versions"].items()))
    return "\n".join(
        [
            "```{raw} html",
            '<div class="provenance" role="note" aria-label="Provenance of this page">',
            f"{items}<span><b>results</b> {html.escape(origin(run.get('audit')))}</span>",
            "</div>",
            "```",
            "",
            f"::::{{dropdown}} Run this page again ({facts['time']}, {facts['memory']})",
            "```bash",
            broken(run["command"]),
            "```",
            "",
            f"`papermill --help-notebook notebooks/{run['chapter']}.ipynb` lists every parameter.",
            f"Made with {versions}; key `{run['key'][:16]}`.",
            "::::",
            "",
        ]
    )


def add_strip(app: Sphinx, page: str, content: list[str]) -> None:
    """Put the provenance strip below the first heading of an executed chapter."""
    found = EXECUTED.match(page)
    if not found:
        return
    folder = Path(app.srcdir) / "book" / "executed" / found["zoo"]
    run_file = folder / f"{found['chapter']}.run.json"
    if not run_file.exists():
        return
    app.env.note_dependency(str(run_file))
    run = json.loads(run_file.read_text(encoding="utf-8"))
    notebook = json.loads(content[0])
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        heading = re.search(r"^# .+$", text, re.MULTILINE)
        if cell["cell_type"] == "markdown" and heading:
            cut = heading.end()
            cell["source"] = f"{text[:cut]}\n\n{strip(run)}\n{text[cut:]}"
            break
    content[0] = json.dumps(notebook)


# ---------------------------------------------------------------- tables


def _table(heads: list[str], rows: list[list[str]], name: str) -> str:
    """HTML of a table whose cells carry their column's head, for narrow screens."""
    top = "".join(f'<th scope="col">{head}</th>' for head in heads)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td data-label="{html.escape(head)}">{cell}</td>'
            for head, cell in zip(heads, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="book-wide"><table class="book-table {name}"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


class LedgerTable(SphinxDirective):
    """``{ledger-table}``: the lines of all ledgers that were published, and their verdicts."""

    def run(self) -> list[nodes.Node]:
        folder = Path(self.env.srcdir) / "book" / "executed"
        self.env.note_reread()
        rows, verdicts = [], []
        for path in sorted(folder.glob("*/*.ledger.json")):
            chapter = path.name.removesuffix(".ledger.json")
            link = f"executed/{path.parent.name}/{chapter}.html"
            for line in ledger.read(path):
                verdicts.append(line.verdict)
                kind = line.verdict.replace(" ", "-")
                seed = "" if line.seed is None else f" (seed {line.seed})"
                rows.append(
                    [
                        f'<a href="{link}">{html.escape(line.id)}</a> {html.escape(line.zoo)}',
                        html.escape(line.statement),
                        html.escape(line.reported),
                        ledger.measured(line),
                        "" if line.n is None else str(line.n),
                        html.escape(line.test + seed),
                        f'<span class="book-verdict {kind}">{html.escape(line.verdict)}</span>',
                    ]
                )
        if not rows:
            return [nodes.paragraph(text="No chapter has been published yet.")]
        counts = "; ".join(
            f"{verdicts.count(verdict)} {verdict}"
            for verdict in ledger.VERDICTS
            if verdict in verdicts
        )
        heads = ["claim", "statement", "reported", "measured (95 %)", "n", "test", "verdict"]
        text = f"<p>{len(rows)} lines: {counts}.</p>" + _table(heads, rows, "ledger")
        return [nodes.raw("", text, format="html")]


class CostTable(SphinxDirective):
    """``{cost-table}``: seconds and memory of each page, from the runs that made them."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        rows = [
            [
                f'<a href="executed/{run["zoo"]}/{run["chapter"]}.html">'
                f"{html.escape(run['chapter'])}</a>",
                html.escape(run["zoo"]),
                duration(run["seconds"]),
                f"{run['peak_memory_mib']} MiB",
                html.escape(run["hardware"].get("gpu") or f"{run['hardware']['cores']} cores"),
                html.escape(origin(run.get("audit"))),
            ]
            for run in read_runs(Path(self.env.srcdir))
        ]
        if not rows:
            return [nodes.paragraph(text="No chapter has been published yet.")]
        heads = ["chapter", "zoo", "time", "peak memory", "on", "results"]
        return [nodes.raw("", _table(heads, rows, "costs"), format="html")]


class SpeedTable(SphinxDirective):
    """``{speed-table}``: what the benchmarks in ``benchmarks/results`` found."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        speed, memory = [], []
        for path in sorted((Path(self.env.srcdir) / "benchmarks" / "results").glob("*.json")):
            found = json.loads(path.read_text(encoding="utf-8"))
            for case in [part for part in (found, found.get("zoo_generator")) if part]:
                speed += [_speed(case, _machine(found))] if "engine" in case else []
            for row in found.get("memory", []):
                cells = [str(row["runs"]), f"{row['one_run_mib']:.0f}", f"{row['peak_mib']:.0f}"]
                memory.append([_machine(found), *cells])
        if not speed and not memory:
            return [nodes.paragraph(text="No benchmark has been run yet.")]
        heads = ["network, generator", "images/s", "s a visualisation", "x pycma",
                 "x dense", "in networks", "of bare forward", "on"]  # fmt: skip
        text = _table(heads, speed, "speed")
        if memory:
            heads = ["on", "runs at once", "memory of one, MiB", "at most, MiB"]
            text += _table(heads, memory, "memory")
        return [nodes.raw("", text, format="html")]


def _machine(found: dict[str, Any]) -> str:
    hardware = found["hardware"]
    where = hardware.get("gpu") or f"{hardware['threads']} cores, {hardware['instruction_set']}"
    return html.escape(f"{where}, torch {found['versions']['torch'].split('+')[0]}")


def _speed(case: dict[str, Any], machine: str) -> list[str]:
    setting, engine = case["settings"], case["engine"]
    what = (
        f"{setting['network']}, {setting['generator']} ({setting['code_size']:,} numbers); "
        f"{engine['runs']} runs of {setting['images_per_visualisation']:,} images"
    )
    return [
        html.escape(what),
        f"{engine['images_per_second']:.1f}",
        f"{engine['seconds_per_visualisation']:.2f}",
        f"{case['ratio_vs_pycma']:.2f}",
        f"{case['ratio_vs_dense']:.2f}",
        f"{case['network_share']:.0%}",
        f"{case['share_of_bare_forward']:.2f}",
        machine,
    ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register everything; called by Sphinx."""
    app.connect("config-inited", set_defaults, priority=900)
    app.connect("html-page-context", stay_local, priority=950)
    app.connect("source-read", add_strip)
    app.add_directive("ledger-table", LedgerTable)
    app.add_directive("cost-table", CostTable)
    app.add_directive("speed-table", SpeedTable)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
