"""A reader's run beside the book: the same claims, and nothing else, with both verdicts."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from signseg_utils.basics.refusals import BadFile
from signseg_utils.chapter import ledger
from signseg_utils.cli import main as signseg
from signseg_utils.publishing import compare

LINE = ledger.Line(
    id="P-1",
    zoo="shapes",
    statement="A line rises.",
    reported="yes",
    measured=0.5,
    ci_low=0.25,
    ci_high=0.75,
    n=9,
    test="bootstrap",
    seed=0,
    verdict="replicated",
)
NATURAL = replace(LINE, zoo="tinyimagenet", verdict="inconclusive", measured=0.1, ci_low=-0.1)
OWN = replace(LINE, zoo="mine", measured=0.9, ci_low=0.8, ci_high=1.0)
CONTROL = replace(OWN, id="P-1 random", role="control")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A reader's folder and the book's."""
    mine, book = tmp_path / "out", tmp_path / "executed"
    for folder, line in ((book / "shapes", LINE), (book / "tinyimagenet", NATURAL)):
        folder.mkdir(parents=True)
        ledger.write([line], folder / "01_a.ledger.json")
        ledger.write([line], folder / "02_b.ledger.json")
    mine.mkdir()
    ledger.write([OWN, CONTROL], mine / "01_a.ledger.json")
    return mine, book


def test_each_line_meets_those_of_its_own_chapter(folders: tuple[Path, Path]) -> None:
    first, control = compare.compare(*folders)
    assert [line.zoo for line in first.book] == ["shapes", "tinyimagenet"] and not control.book
    assert not first.verdict_shared and not control.verdict_shared
    assert [first.apart(line) for line in first.book] == [True, True]
    assert not first.apart(replace(LINE, ci_high=0.85))
    assert not first.apart(replace(LINE, ci_low=None, ci_high=None))
    assert compare.Beside("01_a", OWN, (LINE,)).verdict_shared


def test_the_command_says_both_sides(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, book = folders
    table = tmp_path / "beside.csv"
    assert signseg(["compare", str(mine), "--book", str(book), "--csv", str(table)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("01_a") and "02_b" not in said and "P-1 random" not in said
    assert "0.90 (0.80 to 1.00)" in said and "inconclusive" in said
    assert said.count("the intervals do not meet") == 2
    assert "0 of 1 lines have the verdict of all the book's pages" in said
    rows = list(csv.DictReader(table.open()))
    assert [row["whose"] for row in rows] == ["yours", "shapes", "tinyimagenet"]
    assert rows[2]["verdict"] == "inconclusive" and float(rows[0]["low"]) == 0.8
    one = mine / "01_a.ledger.json"
    assert signseg(["compare", str(one), "--book", str(book), "--all"]) == 0
    assert "the book has no such line" in capsys.readouterr().out


def test_what_is_missing_or_misnamed_is_said(folders: tuple[Path, Path], tmp_path: Path) -> None:
    mine, book = folders
    with pytest.raises(FileNotFoundError, match="make book"):
        compare.compare(mine, tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="papermill"):
        compare.compare(tmp_path / "nowhere", book)
    (mine / "01_a.ledger.json").rename(mine / "mine.ledger.json")
    with pytest.raises(BadFile, match=r"03_the_ablation_sweep.*mine\.ledger\.json"):
        compare.compare(mine, book)
