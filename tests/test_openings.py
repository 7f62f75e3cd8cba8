"""Pages open with an answer: few plain sentences, no claim's id, no number by itself."""

import json
import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from conftest import needs_data

from signseg_utils.chapter.ledger import Line
from signseg_utils.publishing import families
from signseg_utils.publishing.families import Corrected

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path
    for path in (ROOT / "book" / "executed").glob("*/[0-9][0-9]_*.ipynb")
    if ".failed" not in path.name
)
ID = re.compile(r"\b[A-Z]-(?:[A-Z]*\d|[a-zA-Z]{2,})")
COUNT = re.compile(r"\d[\d,]*(?:\.\d+)?\s*(?:%|-|[A-Za-z])|\b\d+ of (?:\d+|them)|of \d+\b|10\b")
LINE = Line(
    "P-4", "shapes", "similarity", "falls", 0.2, 0.1, 0.3, 3, "t interval", None, "replicated"
)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    return import_module("answers")


def faults(text: str, sentences: list[str]) -> list[str]:
    """What a reader who knows no claim's id would stumble over."""
    found = [f"a claim's id: {match}" for match in ID.findall(text)]
    if not 1 <= len(sentences) <= 4:
        found.append(f"{len(sentences)} sentences")
    for one in sentences:
        if not (one[0].isupper() and one[-1] == "." and len(one.split()) >= 5):
            found.append(f"no sentence: {one}")
        if re.search(r"\d\.\d", one) and "interval" not in one and "%" not in one:
            found.append(f"a number without unit or interval: {one}")
        for number in re.finditer(r"(?<![\w.,−])\d+(?![\d.,]*\d)", one):
            if "interval" not in one and not COUNT.match(one[number.start() :]):
                found.append(f"a bare number {number[0]}: {one}")
    return found


@pytest.mark.parametrize(
    "page", PAGES or [None], ids=lambda path: f"{path.parent.name}/{path.stem}" if path else "none"
)
def test_an_executed_page_opens_with_plain_sentences(answers: Any, page: Path | None) -> None:
    if page is None:
        needs_data("no chapter was run in this checkout; make book runs them")
    cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
    lines = [one for one in families.of_folder(page.parent) if one.chapter == page.stem]
    told = answers.told(answers.taken(cells), lines)
    assert not faults(told, answers.sentences(told)), told


@pytest.mark.parametrize(
    "text",
    [
        "It holds (P-4) in all networks.",
        "The cosine differs by 0.31.",
        "It holds in 3.",
        "One is so. Two are so. Three are so. Four are so. Five are so.",
        "rho of activation",
    ],
)
def test_what_no_page_may_open_with_is_found(answers: Any, text: str) -> None:
    assert faults(text, answers.sentences(text))


def corrected(*ids: str, lost: str = "", role: str = "primary") -> list[Corrected]:
    return [
        Corrected(
            "03_x",
            replace(LINE, id=id, role=role),
            0.5,
            "inconclusive" if id in lost.split() else LINE.verdict,
        )
        for id in ids
    ]


def test_a_sentence_whose_verdict_correction_took_says_so(answers: Any) -> None:
    told = answers.told("Images change. Objects go.", corrected("P-4", "P-5", lost="P-5"))
    first, second = answers.sentences(told)
    assert first == "Images change." and second == f"Objects go; {answers.CORRECTED}."
    several = answers.told(
        "A is. B is. C is. D is.", corrected("P-2/3", "P-4", "P-5", "P-9", lost="P-2/3 P-5")
    )
    assert answers.sentences(several) == [
        f"A is; {answers.CORRECTED}.",
        "B is.",
        f"C is; {answers.AS_WELL}.",
        "D is.",
    ]


def test_the_reason_why_nothing_can_be_told_is_kept(answers: Any) -> None:
    lines = corrected("P-2/3", "P-4", "P-5", "P-9")
    told = answers.told("A is open. B is open. C is open. D is open. One tells nothing.", lines)
    assert answers.sentences(told)[-2:] == ["C is open.", "One tells nothing."]
    assert len(answers.sentences(told)) == 4


def code(source: str, **data: str) -> dict[str, Any]:
    outputs = [
        {"output_type": "display_data", "data": {k.replace("_", "/"): v}, "metadata": {}}
        for k, v in data.items()
    ]
    return {"cell_type": "code", "source": source, "metadata": {}, "outputs": outputs}


def prose(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "source": source, "metadata": {}}


def test_the_opening_leaves_its_cell(answers: Any) -> None:
    cells = [prose("# T"), code("chapter = open_chapter(globals())", text_markdown="It holds.")]
    assert answers.taken(cells) == "It holds." and not cells[1]["outputs"]
    assert answers.taken(cells) == ""


def test_code_before_the_first_figure_is_folded(answers: Any) -> None:
    cells = [prose("# T"), code("a"), code("b", text_html="<figure>x</figure>"), code("c")]
    answers.picture_first(cells)
    assert [bool(c["metadata"].get("tags")) for c in cells[1:]] == [True, True, False]


def test_a_figure_far_below_is_shown_behind_the_introduction(answers: Any) -> None:
    far = prose("x" * 88 * (answers.FAR // 27 + 1))
    cells = [prose("# T"), code("a"), far, code("b", text_html="<figure>x</figure>")]
    answers.picture_first(cells)
    assert "<figure>x</figure>" in cells[1]["source"]
    assert cells[-1]["outputs"][0]["data"]["text/html"] == answers.FROM_HERE


def test_pictures_become_files(answers: Any, tmp_path: Path) -> None:
    cells = [code("a", text_html='<img src="data:image/png;base64,AAAA" alt="x">')]
    answers.pictures_apart(cells, tmp_path / "_images", "../_images")
    (file,) = (tmp_path / "_images").iterdir()
    assert file.read_bytes() == b"\0\0\0"
    text = cells[0]["outputs"][0]["data"]["text/html"]
    assert text == f'<img src="../_images/{file.name}" alt="x">'
