"""The ledger: its keys are a promise to readers of the JSON."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from signseg_utils.analysis.stats import Equivalence, Estimate, bootstrap, equivalence
from signseg_utils.chapter import ledger
from signseg_utils.chapter.ledger import VERDICTS, Line

LINE = Line(
    id="P-1a",
    zoo="shapes",
    statement="positive ablation lowers the maximum activation",
    reported="falls <monotonically>",
    measured=-0.8,
    ci_low=-0.9,
    ci_high=-0.7,
    n=12,
    test="bootstrap over units",
    seed=0,
    verdict="replicated",
)


def estimate(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high, n=10, seed=0)


def test_json_has_exactly_the_promised_keys(tmp_path: Path) -> None:
    path = ledger.write([LINE], tmp_path / "deep" / "03.ledger.json")
    assert list(json.loads(path.read_text())[0]) == [
        "id", "zoo", "statement", "reported", "measured", "ci_low", "ci_high",
        "n", "test", "seed", "verdict",
    ]  # fmt: skip


def test_what_is_written_is_read(tmp_path: Path) -> None:
    lines = (LINE, ledger.not_testable("P-19", "shapes", "SimSiam too", "direction", "no SimSiam"))
    assert ledger.read(ledger.write(lines, tmp_path / "a.json")) == lines
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]  # nothing temporary is left


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first = ledger.write([LINE], tmp_path / "a.json").read_bytes()
    assert ledger.write([LINE], tmp_path / "a.json").read_bytes() == first


def test_numpy_numbers_become_plain(tmp_path: Path) -> None:
    numbers: dict[str, Any] = {"measured": np.float32(0.5), "ci_high": np.float64(1)}
    line = replace(LINE, **numbers, ci_low=0, n=np.int64(3).item())
    assert ledger.read(ledger.write([line], tmp_path / "a.json"))[0].n == 3


def test_same_claim_twice_is_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    path = ledger.write([LINE], tmp_path / "a.json")
    with pytest.raises(ValueError, match="P-1a twice in shapes"):
        ledger.write([LINE, LINE], path)
    assert ledger.read(path) == (LINE,)


@pytest.mark.parametrize("text", ["{", "{}", "[1]", '[{"id": "P-1a"}]'])
def test_foreign_files_are_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "foreign.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"foreign\.json"):
        ledger.read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verdict": "replicates"}, "did you mean replicated"),
        ({"measured": float("nan")}, "finite measured"),
        ({"measured": None}, "expected measured and n"),
        ({"n": None}, "expected measured and n"),
        ({"ci_low": 1.0, "ci_high": 0.0}, "ci_low <= ci_high"),
        ({"ci_low": None}, "both ends"),
        ({"statement": " "}, "expected a statement"),
    ],
)
def test_impossible_lines(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(LINE, **change)


def test_line_of_an_estimate() -> None:
    found = bootstrap([1.0, 2.0, 3.0], seed=4)
    words = dict.fromkeys(("id", "zoo", "statement", "reported", "test"), "x")
    words["verdict"] = "replicated"
    line = Line.of(found, **words)
    assert (line.measured, line.ci_low, line.ci_high, line.n, line.seed) == (
        found.value, found.low, found.high, 3, 4,
    )  # fmt: skip
    alike = equivalence([1.0, 2.0, 3.5], [1.0, 2.1, 3.3], 0.5)
    assert Line.of(alike, **words).measured == alike.value


@pytest.mark.parametrize(
    ("low", "high", "expected", "margin", "verdict"),
    [
        (0.1, 0.5, "positive", None, "replicated"),
        (0.1, 0.5, "negative", None, "reversed"),
        (-0.5, -0.1, "negative", None, "replicated"),
        (-0.5, -0.1, "positive", None, "reversed"),
        (-0.1, 0.2, "positive", None, "inconclusive"),
        (-0.1, 0.2, "positive", 0.3, "not replicated"),
        (-0.1, 0.4, "negative", 0.3, "inconclusive"),
    ],
)
def test_verdict_on_a_direction(
    low: float, high: float, expected: str, margin: float | None, verdict: str
) -> None:
    assert ledger.judge_direction(estimate(low, high), expected, margin) == verdict


def test_one_direction_among_many_needs_a_corrected_p() -> None:
    sure, small = estimate(0.1, 0.5), estimate(0.01, 0.05)
    assert ledger.judge_direction(sure, "positive", 0.1, p=0.04) == "replicated"
    assert ledger.judge_direction(sure, "positive", 0.1, p=0.06) == "inconclusive"
    assert ledger.judge_direction(sure, "negative", 0.1, p=0.06) == "inconclusive"
    assert ledger.judge_direction(small, "positive", 0.1, p=0.06) == "not replicated"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.95, 1.05, "replicated"), (1.2, 1.4, "not replicated"), (1.05, 1.4, "inconclusive")],
)
def test_verdict_on_a_number(low: float, high: float, verdict: str) -> None:
    assert ledger.judge_number(estimate(low, high), 1.0, 0.1) == verdict


@pytest.mark.parametrize(
    ("low", "high", "p", "verdict"),
    [
        (-0.05, 0.05, 0.01, "replicated"),
        (0.2, 0.4, 0.9, "not replicated"),
        (0.0, 0.4, 0.6, "inconclusive"),
    ],
)
def test_verdict_on_alike(low: float, high: float, p: float, verdict: str) -> None:
    result = Equivalence((low + high) / 2, low, high, margin=0.1, p=p, n=9)
    assert ledger.judge_alike(result) == verdict


def test_few_units_give_no_verdict() -> None:
    clear = replace(estimate(0.5, 0.6), n=ledger.FEWEST_UNITS - 1)
    assert ledger.judge_direction(clear, "positive") == "inconclusive"
    assert ledger.judge_number(clear, 0.55, 0.2) == "inconclusive"
    enough = replace(clear, n=ledger.FEWEST_UNITS)
    assert ledger.judge_direction(enough, "positive") == "replicated"
    assert ledger.judge_number(enough, 0.55, 0.2) == "replicated"


@pytest.mark.parametrize(
    ("each", "verdict"),
    [
        (["replicated"] * 3, "replicated"),
        (["reversed"] * 3, "reversed"),
        (["replicated", "reversed", "replicated"], "not replicated"),
        (["replicated", "not replicated"], "not replicated"),
        (["replicated", "inconclusive"], "inconclusive"),
    ],
)
def test_a_claim_about_each_network_needs_each(each: list[str], verdict: str) -> None:
    assert ledger.agreed(each) == verdict


def test_agreement_needs_verdicts() -> None:
    with pytest.raises(ValueError, match="at least one verdict"):
        ledger.agreed([])
    with pytest.raises(ValueError, match="expected a verdict"):
        ledger.agreed(["true"])


def test_judges_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="expected a direction"):
        ledger.judge_direction(estimate(0, 1), "up")
    with pytest.raises(ValueError, match="tolerance"):
        ledger.judge_number(estimate(0, 1), 1.0, 0.0)


def test_table_says_every_verdict_in_words_and_escapes() -> None:
    lines = [replace(LINE, id=f"P-{i}", verdict=verdict) for i, verdict in enumerate(VERDICTS)]
    shown = ledger.table(lines)
    page = shown._repr_html_()
    for verdict in VERDICTS:
        assert f"</span> {verdict}</td>" in page
        assert verdict in str(shown)
    assert "falls &lt;monotonically&gt;" in page
    assert "−0.8 (−0.9 to −0.7)" in page
    assert page.count("<tr") == 1 + len(VERDICTS)


def test_table_of_an_untestable_claim_has_no_number() -> None:
    line = ledger.not_testable("P-19", "shapes", "SimSiam too", "direction", "no SimSiam")
    assert "no SimSiam" in ledger.table([line]).html
    assert ledger.measured(line) == "–"
    assert ledger.measured(replace(LINE, ci_low=None, ci_high=None)) == "−0.8"


def test_summary_begins_with_what_failed_and_names_every_claim() -> None:
    lines = [replace(LINE, id=f"P-{i}", verdict=verdict) for i, verdict in enumerate(VERDICTS)]
    parts = ledger.summary(lines).split("\n\n")
    assert [part.split(" here:**")[0] for part in parts] == [
        "**Reversed", "**Not replicated", "**Inconclusive", "**Replicated", "**Not testable",
    ]  # fmt: skip
    assert all(any(f"({line.id})" in part for part in parts) for line in lines)
    assert ledger.summary([LINE]).count("**") == 2  # verdicts that nothing got are not mentioned
