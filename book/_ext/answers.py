"""The answer of a page comes first: taken from where the chapter made it, put below the title.

A chapter ends by writing its opening, sentences made of claims and measured numbers, into the cell
that opened it. Here the page is put in a reader's order: title, answer, then what was asked and
how; provenance stands at the end.
"""

import base64
import hashlib
import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from signseg_utils.chapter import claims
from signseg_utils.chapter.chapter import MOST_SENTENCES as MOST
from signseg_utils.publishing import scoreboard
from signseg_utils.publishing.families import Corrected

CORRECTED = "corrected for how many claims are tested, this may be chance"
AS_WELL = "this, too, may be chance"  # of a further such sentence
FAR = 1100  # pixels before a first figure
FROM_HERE = "<p><em>This figure is shown at the top of the page.</em></p>"
_FIGURE = re.compile(r"<figure\b.*?</figure>", re.DOTALL)
_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_MADE = re.compile(r"^These sentences are made from the ledger[^.]*\.\s*", re.MULTILINE)

Cell = dict[str, Any]


def sentences(text: str) -> list[str]:
    """Sentences of a plain text."""
    return [one for one in _END.split(" ".join(text.split())) if one]


def taken(cells: Sequence[Cell]) -> str:
    """The opening of an executed chapter, taken out of the cell that it was written into."""
    for cell in cells:
        if cell["cell_type"] != "code" or "open_chapter(" not in "".join(cell["source"]):
            continue
        for place, output in enumerate(cell["outputs"]):
            told = output.get("data", {}).get("text/markdown")
            if told:
                del cell["outputs"][place]
                return "".join(told)
    return ""


def without_pointer(cells: Sequence[Cell]) -> None:
    """Leave out the line that points at the opening from below it."""
    for cell in cells:
        if cell["cell_type"] == "markdown":
            cell["source"] = _MADE.sub("", "".join(cell["source"]))


def told(opening: str, lines: Sequence[Corrected], most: int = MOST) -> str:
    """The answer in at most so many sentences.

    Parameters
    ----------
    opening
        As the chapter made it, before its claims were corrected for their number: a sentence for
        each of `chosen`, then why some cannot be told.
    lines
        Of the chapter in this world, in their order; a sentence whose verdict the correction took
        says so itself.
    """
    found = sentences(opening)
    of = chosen(lines)
    if len(of) > len(found):  # made by other means: nothing says which sentence is whose
        of = []
    claims, reasons = (found[: len(of)], found[len(of) :]) if of else (found, [])
    caveat = CORRECTED
    for place, one in enumerate(of):
        if one.changed:
            claims[place] = f"{claims[place].removesuffix('.')}; {caveat}."
            caveat = AS_WELL
    kept = most - len(reasons[:1])
    return " ".join([*claims[:kept], *reasons[:1]])


def chosen(lines: Sequence[Corrected], most: int = MOST) -> list[Corrected]:
    """The lines that a chapter's opening tells, as `signseg_utils.chapter.chapter.opening` does."""
    if not lines:
        return []
    stated = scoreboard.stated_in(int(lines[0].chapter.partition("_")[0]))
    found = [(one, scoreboard.claim_of(one.line.id, stated)) for one in lines]
    worded = [
        (one, claim.id if claim else one.line.id)
        for one, claim in found
        if (claim.worded if claim else one.line.role == "primary")
    ]
    ids = [(id, one.line.role == "primary") for one, id in worded]
    return [worded[place][0] for place in claims.first_told(ids, most)]


def box(answer: str) -> str:
    """HTML of an answer: a list of its sentences, for each tells a claim of its own."""
    told = "".join(f"<li>{html.escape(one)}</li>" for one in sentences(answer))
    return f'<ul class="answer">{told}</ul>' if told else ""


def parameters(cells: list[Cell]) -> list[Cell]:
    """The folded cells of parameters, taken out, to stand where the page tells how it was made."""
    kept = {"parameters", "injected-parameters"}
    found = [cell for cell in cells if kept & set(cell["metadata"].get("tags", []))]
    cells[:] = [cell for cell in cells if cell not in found]
    return found


def picture_first(cells: list[Cell]) -> None:
    """See to it that the first figure is not far from the title.

    The code before it is folded. Where much stands before it all the same, such as what another
    world measures, it is shown below the introduction.
    """
    before = 0.0
    for cell in cells:
        if cell["cell_type"] == "code":
            _fold(cell)
        for output in cell.get("outputs", []):
            shown = _FIGURE.search("".join(output.get("data", {}).get("text/html", "")))
            if not shown:
                continue
            if before > FAR:
                output["data"]["text/html"] = FROM_HERE
                note = '<p class="from-below">From further down this page:</p>'
                page = f"{note}{shown[0]}".replace("`", "&#96;")
                source = f"```{{raw}} html\n{page}\n```"
                cells.insert(_introduced(cells), _prose(source))
            return
        if not {"parameters", "injected-parameters"} & set(cell["metadata"].get("tags", [])):
            before += _height(cell)


def _prose(source: str) -> Cell:
    return {"cell_type": "markdown", "id": "first-figure", "metadata": {}, "source": source}


def _height(cell: Cell) -> float:
    """About how high a cell stands on a page 1,300 wide, in pixels, its code folded."""
    if cell["cell_type"] != "code":
        blocks = "".join(cell["source"]).split("\n\n")
        return sum(75 if one.startswith("#") else 17 + 27 * (len(one) // 88 + 1) for one in blocks)
    height = 60.0
    for output in cell["outputs"]:
        rows = "".join(output.get("text", "")).count("\n")
        page = "".join(output.get("data", {}).get("text/html", ""))
        height += 45 + 20 * rows + 35 * page.count("<tr")
    return height


def _introduced(cells: Sequence[Cell]) -> int:
    """The place behind the introduction: before the first code, or the first section."""
    for place, cell in enumerate(cells):
        if cell["cell_type"] == "code" or "".join(cell["source"]).startswith("## "):
            return place
    return len(cells)


def _fold(cell: Cell) -> None:
    tags = cell["metadata"].setdefault("tags", [])
    if "hide-input" not in tags:
        tags.append("hide-input")
    options = cell["metadata"].setdefault("mystnb", {})
    options.setdefault("code_prompt_show", "Code")
    options.setdefault("code_prompt_hide", "Code")


_EMBEDDED = re.compile(r'src="data:(image/[\w+]+);base64,([^"]+)"')
KINDS = {"image/svg+xml": "svg", "image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


def pictures_apart(cells: Sequence[Cell], images: Path, way: str) -> None:
    """Put embedded pictures into files of their own: a page is a third lighter, and read sooner.

    Parameters
    ----------
    images
        The folder that receives them; equal pictures are one file.
    way
        The way to it from the page.
    """

    def apart(found: re.Match[str]) -> str:
        content = base64.b64decode(found[2])
        name = f"{hashlib.sha256(content).hexdigest()[:20]}.{KINDS[found[1]]}"
        if not (images / name).exists():
            images.mkdir(parents=True, exist_ok=True)
            (images / name).write_bytes(content)
        return f'src="{way}/{name}"'

    for cell in cells:
        for output in cell.get("outputs", []):
            text = "".join(output.get("data", {}).get("text/html", ""))
            if "base64," in text:
                output["data"]["text/html"] = _EMBEDDED.sub(apart, text)
