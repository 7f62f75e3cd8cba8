"""An executed chapter in the order of a reader: its answer first, how it was made last."""

import json
import re
from pathlib import Path

import answers
from failed_pages import notice
from markup import raw
from provenance_strip import run_of, strip
from sphinx.application import Sphinx

from signseg_utils.publishing import families, notices, provenance, stories

EXECUTED = re.compile(r"^book/executed/(?P<zoo>[^/]+)/(?P<chapter>[^/]+)$")


def in_readers_order(app: Sphinx, page: str, content: list[str]) -> None:
    """Title, what is wrong with the page, its answer; provenance at the end.

    An audit beyond its bounds is something wrong: then the strip stays at the top.
    """
    found = EXECUTED.match(page)
    if not found or not app.env.doc2path(page).endswith(".ipynb"):
        return
    folder, chapter = Path(app.srcdir) / "book" / "executed" / found["zoo"], found["chapter"]
    known = provenance.file_of(folder / f"{chapter}.ipynb")
    for path in (known, notices.file_of(folder, chapter), *folder.glob("*.ledger.json")):
        app.env.note_dependency(str(path))
    notebook = json.loads(content[0])
    cells = notebook["cells"]
    wrong, run = notice(folder, chapter), run_of(folder, chapter)
    failed = run is not None and notices.outcome(run.get("audit")) == "beyond bounds"
    lines = [one for one in families.of_folder(folder) if one.chapter == chapter]
    top = raw(wrong) if wrong else ""
    top += strip(run) if run and failed else ""
    answer = answers.box(answers.told(answers.taken(cells), lines))
    top += raw(answer) if answer else ""
    answers.without_pointer(cells)
    for cell in cells:
        text = "".join(cell["source"])
        heading = re.search(r"^# .+$", text, re.MULTILINE)
        if cell["cell_type"] == "markdown" and heading:
            cut = heading.end()
            cell["source"] = f"{titled(text[:cut], folder.name, chapter)}\n\n{top}\n{text[cut:]}"
            break
    if app.builder.format == "html":
        images = Path(app.outdir) / "_images"
        answers.pictures_apart(cells, images, "../" * page.count("/") + images.name)
    answers.picture_first(cells)
    made = answers.parameters(cells)
    source = "## How this page was made\n\n" + (strip(run) if run and not failed else "")
    cells += [{"cell_type": "markdown", "id": "made", "metadata": {}, "source": source}, *made]
    content[0] = json.dumps(notebook)


def titled(heading: str, zoo: str, chapter: str) -> str:
    """A heading with what its zoo is to readers in place of its name."""
    recorded = stories.question(chapter).recorded
    return heading.replace(f"({zoo})", f"({stories.world(zoo, recorded)})")
