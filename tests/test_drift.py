"""Two books compared: what differs is named, what does not is not."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from signseg_utils.chapter import ledger
from signseg_utils.cli import drift as cli
from signseg_utils.publishing import drift

LINE = ledger.Line(
    id="P-1",
    statement="A line rises.",
    reported="yes",
    measured=0.5,
    ci_low=0.25,
    ci_high=0.75,
    n=9,
    test="bootstrap",
    verdict="replicated",
    zoo="shapes",
    seed=0,
)


def page(folder: Path, *lines: ledger.Line, agreed: int = 2, torch: str = "2.4") -> Path:
    """A published page with one ledger and one audit; returns the book's folder."""
    home = folder / "shapes"
    home.mkdir(parents=True, exist_ok=True)
    ledger.write(lines, home / "01_a.ledger.json")
    audit = {"source": "shipped", "checked": 2, "agreed": agreed}
    run = {"versions": {"torch": torch}, "audit": audit}
    (home / "01_a.run.json").write_text(json.dumps(run))
    return folder


def test_what_is_shown_alike_is_no_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    one = page(tmp_path / "one", LINE)
    two = page(tmp_path / "two", replace(LINE, measured=0.5 + 1e-9), torch="2.5")
    assert drift.compare(one, two) == []
    assert cli.main([str(one), str(two)]) == 0
    said = capsys.readouterr().out
    assert "torch 2.4 -> 2.5" in said and "0 differences between 1 pages" in said


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"measured": 0.51}, "P-1, measured: 0.5 (0.25 to 0.75) -> 0.51 (0.25 to 0.75)"),
        ({"ci_low": -0.1}, "P-1, measured: 0.5 (0.25 to 0.75) -> 0.5 (−0.1 to 0.75)"),
        ({"verdict": "inconclusive"}, "P-1, verdict: replicated -> inconclusive"),
        ({"n": 8}, "P-1, n: 9 -> 8"),
    ],
)
def test_a_line_that_differs_is_named(tmp_path: Path, change: dict, what: str) -> None:
    one = page(tmp_path / "one", LINE)
    two = page(tmp_path / "two", replace(LINE, **change))
    assert [str(found) for found in drift.compare(one, two)] == [f"shapes/01_a: {what}"]


def test_lines_audits_and_pages_that_come_and_go_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    one = page(tmp_path / "one", LINE)
    two = page(tmp_path / "two", LINE, replace(LINE, id="P-2"), agreed=1)
    for kind in ("ledger", "run"):
        text = (two / f"shapes/01_a.{kind}.json").read_text()
        (two / f"shapes/02_b.{kind}.json").write_text(text)
    (two / "shapes/01_a.failure.json").write_text("{}")
    assert cli.main([str(one), str(two)]) == 1
    said = capsys.readouterr().out
    assert "shapes/02_b: page: absent -> there" in said
    assert "shapes/01_a: P-2, verdict: absent -> replicated" in said
    assert "shapes/01_a: audit, agreed: 2 of 2 -> 1 of 2" in said
    assert "shapes/01_a: last run: absent -> failed" in said


def test_a_folder_without_pages_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main([str(tmp_path), str(tmp_path)]) == 2
    assert re.search(r"expected executed chapters.*there are none", capsys.readouterr().err)
