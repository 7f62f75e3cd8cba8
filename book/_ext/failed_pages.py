"""Pages that could not be made: each says so over its earlier copy, or in place of it."""

import html
import re
from pathlib import Path

from markup import raw
from provenance_strip import run_of, when_made
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging

from signseg_utils.files import paths
from signseg_utils.publishing import notices

CONTENTS = re.compile(r"\bbook/executed/(?P<zoo>[^/\s]+)/(?P<chapter>[^/\s]+)")

logger = logging.getLogger(__name__)


def title_of(source: Path, zoo: str, chapter: str) -> str:
    """Heading of a chapter's page, as the publisher would make it."""
    notebook = source / "notebooks" / f"{chapter}.md"
    text = notebook.read_text(encoding="utf-8") if notebook.exists() else ""
    heading = re.search(r"^# (.+?) *$", text, re.MULTILINE)
    return f"{heading[1] if heading else chapter} ({zoo})"


def command_for(zoo: str, chapter: str) -> str:
    """The command that makes one page."""
    return f"make book ZOO={zoo} CHAPTERS={int(chapter.split('_')[0])}"


def notice(folder: Path, chapter: str) -> str:
    """HTML of what is wrong with a page as a whole, or '' if nothing is."""
    again = "To try again:"
    page, run = folder / f"{chapter}.ipynb", run_of(folder, chapter)
    failure = notices.read(folder, chapter)
    command = failure.command if failure else command_for(folder.name, chapter)
    if failure:
        title = "✗ This page could not be made."
        when = notices.readable(failure.since)
        text = f"On {when}: {html.escape(failure.what)}."
    elif page.exists() and run:
        return ""
    elif page.exists():
        title = "✗ This page is not whole."
        text = "What belongs to it is not all there, or damaged."
    else:
        title, text, again = "○ This page has not been made yet.", "", "To make it:"
    if failure and page.exists():
        made = when_made(run) if run else ""
        text += f" Below stands its earlier copy{made}; what has changed since is not in it."
    elif failure:
        text += " There is no earlier copy to show."
    return (
        '<aside class="page-notice" role="note" aria-label="State of this page">'
        f"<p><b>{title}</b> {text}</p><p>{again}</p>"
        f'<div class="highlight"><pre>{html.escape(command)}</pre></div></aside>'
    )


def pages_of(source: Path) -> list[tuple[Path, str]]:
    """Folder and chapter of every executed page that the contents name."""
    contents = (source / "_toc.yml").read_text(encoding="utf-8")
    executed = source / "book" / "executed"
    return [(executed / m["zoo"], m["chapter"]) for m in CONTENTS.finditer(contents)]


def fill_gaps(app: Sphinx, config: Config) -> None:
    """Write a stand-in for each page that the contents name and that is not there."""
    for folder, chapter in pages_of(Path(app.srcdir)):
        stand_in = folder / f"{chapter}.md"
        if (folder / f"{chapter}.ipynb").exists():
            stand_in.unlink(missing_ok=True)
            continue
        title = title_of(Path(app.srcdir), folder.name, chapter)
        paths.write_text(stand_in, f"# {title}\n\n{raw(notice(folder, chapter))}")


def unwell(source: Path) -> list[tuple[str, str]]:
    """Address below ``book/`` and state of each page that is not as it should be."""
    found = []
    for folder, chapter in pages_of(source):
        run = run_of(folder, chapter) or {}
        if notice(folder, chapter):
            earlier = (folder / f"{chapter}.ipynb").exists()
            state = "failed" if notices.read(folder, chapter) else "is not whole or not made yet"
            state += "; its earlier copy is shown" if earlier else ""
        elif notices.outcome(run.get("audit")) == "beyond bounds":
            state = "shows results that this machine does not confirm"
        else:
            continue
        found.append((f"executed/{folder.name}/{chapter}", state))
    return found


def gap_list(source: Path) -> str:
    """HTML of `unwell`, or '' if all pages are as they should be."""
    rows = "".join(
        f'<li><a href="{page}.html">{html.escape(page.removeprefix("executed/"))}</a> {state}</li>'
        for page, state in unwell(source)
    )
    what = "These pages are not as they should be; lines of the table may be missing or old."
    start = f'<aside class="page-notice" role="note"><p><b>✗ Not all is here.</b> {what}</p>'
    return f"{start}<ul>{rows}</ul></aside>" if rows else ""


def tell(app: Sphinx, error: Exception | None) -> None:
    """At the end of a build: which pages are not as they should be."""
    found = unwell(Path(app.srcdir))
    for page, state in found if error is None else []:
        logger.info("page %s %s", page, state)
