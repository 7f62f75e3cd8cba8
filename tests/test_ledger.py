"""The ledger: its keys are a promise to readers of the JSON."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from signseg_utils.analysis.stats import Equivalence, Estimate
from signseg_utils.chapter import ledger
from signseg_utils.chapter.ledger import WORDS, Cell, Line

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


UNTESTABLE = replace(
    LINE,
    id="P-19",
    measured=None,
    ci_low=None,
    ci_high=None,
    n=None,
    seed=None,
    test="no SimSiam",
    verdict="not testable",
)


def estimate(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high, n=10, seed=0)


def test_json_has_exactly_the_promised_keys(tmp_path: Path) -> None:
    path = ledger.write([LINE], tmp_path / "deep" / "03.ledger.json")
    assert list(json.loads(path.read_text())[0]) == [
        "id",
        "zoo",
        "statement",
        "reported",
        "measured",
        "ci_low",
        "ci_high",
        "n",
        "test",
        "seed",
        "verdict",
        "role",
        "units",
        "p",
        "detectable",
        "holding",
        "cells",
    ]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    lines = (LINE, UNTESTABLE)
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


@pytest.mark.parametrize(
    ("low", "high", "expected", "margin", "verdict"),
    [
        (0.1, 0.5, "positive", None, "replicated"),
        (0.1, 0.5, "negative", None, "reversed"),
        (-0.5, -0.1, "negative", None, "replicated"),
        (-0.5, -0.1, "positive", None, "reversed"),
        (-0.1, 0.2, "positive", None, "inconclusive"),
        (-0.1, 0.2, "positive", 0.3, "absent"),
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
    assert ledger.judge_direction(small, "positive", 0.1, p=0.06) == "absent"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.95, 1.05, "replicated"), (1.2, 1.4, "differs"), (1.05, 1.4, "inconclusive")],
)
def test_verdict_on_a_number(low: float, high: float, verdict: str) -> None:
    assert ledger.judge_number(estimate(low, high), 1.0, 0.1) == verdict


@pytest.mark.parametrize(
    ("low", "high", "p", "verdict"),
    [
        (-0.05, 0.05, 0.01, "replicated"),
        (0.2, 0.4, 0.9, "differs"),
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
    ("each", "together", "verdict"),
    [
        (["replicated"] * 3, "replicated", "replicated"),
        (["replicated"] * 3, "inconclusive", "inconclusive"),  # three networks may be too few
        (["replicated", "inconclusive"], "replicated", "replicated"),
        (["replicated", "reversed", "replicated"], "replicated", "networks disagree"),
        (["replicated", "absent"], "inconclusive", "networks disagree"),
        (["reversed", "absent"], "reversed", "reversed"),
    ],
)
def test_networks_agree_or_say_that_they_do_not(
    each: list[str], together: str, verdict: str
) -> None:
    assert ledger.agreed(each, together) == verdict


def test_agreement_needs_verdicts() -> None:
    with pytest.raises(ValueError, match="at least one verdict"):
        ledger.agreed([], "absent")
    with pytest.raises(ValueError, match="expected a verdict"):
        ledger.agreed(["true"], "absent")


def test_judges_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="expected a direction"):
        ledger.judge_direction(estimate(0, 1), "up")
    with pytest.raises(ValueError, match="tolerance"):
        ledger.judge_number(estimate(0, 1), 1.0, 0.0)


def test_table_says_every_verdict_in_words_and_escapes() -> None:
    lines = [replace(LINE, id=f"P-{i}", verdict=verdict) for i, verdict in enumerate(WORDS)]
    shown = ledger.table(lines)
    page = shown._repr_html_()
    for verdict in WORDS:
        assert f"</span> {verdict}</td>" in page
        assert verdict in str(shown)
    assert "falls &lt;monotonically&gt;" in page
    assert "−0.80 (−0.90 to −0.70)" in page
    assert page.count("<tr") == 1 + len(WORDS)


def test_table_of_an_untestable_claim_has_no_number() -> None:
    line = UNTESTABLE
    assert "no SimSiam" in ledger.table([line]).html
    assert ledger.measured(line) == "–"
    assert ledger.measured(replace(LINE, ci_low=None, ci_high=None)) == "−0.8"


def test_the_books_own_questions_have_words_of_their_own() -> None:
    assert ledger.own_word("replicated", "W-classes") == "yes"
    assert ledger.own_word("replicated", "Z-acc-vgg") == "meets its bar"
    assert {ledger.own_word(v, "W-x") for v in ("reversed", "absent", "differs")} == {"no"}
    assert ledger.own_word("networks disagree", "W-x") == ledger.own_word("inconclusive", "W-x")
    assert ledger.own_word("not testable", "W-x") == "not testable"


def test_a_line_tells_its_networks_and_what_could_be_seen(tmp_path: Path) -> None:
    cells = (Cell("vgg", -0.9, -1.0, -0.8, 12), Cell("resnet", 0.1, -0.1, 0.3, 12))
    line = replace(
        LINE,
        n=2,
        units=12,
        cells=cells,
        holding=1,
        verdict="networks disagree",
        p=0.03,
        detectable=0.25,
        role="control",
    )
    assert line.sample == "2 × 12" and line.found == "networks disagree (1 of 2)"
    page = ledger.table([line]).html
    assert "each of 2" in page and "resnet 0.10 (−0.10 to 0.30)" in page and "p = 0.03" in page
    assert "shapes, control" in page
    unsure = replace(line, verdict="inconclusive")
    assert unsure.found == "inconclusive (1 of 2); 0.25 would have been seen"
    assert ledger.read(ledger.write([line], tmp_path / "a.json")) == (line,)


def test_ledgers_of_before_are_still_lines(tmp_path: Path) -> None:
    """Fields that were added later have defaults."""
    path = ledger.write([LINE], tmp_path / "a.json")
    (row,) = json.loads(path.read_text())
    for name in ("role", "units", "p", "detectable", "holding", "cells"):
        del row[name]
    path.write_text(json.dumps([row]))
    assert ledger.read(path) == (LINE,)


@pytest.mark.parametrize(
    ("value", "low", "high", "told"),
    [
        (0.2481, 0.1232, 0.3721, "0.25 (0.12 to 0.37)"),
        (0.0144, -0.0198, 0.0486, "0.014 (−0.020 to 0.049)"),
        (-0.00587, -0.453, 0.443, "−0.01 (−0.45 to 0.44)"),
        (-0.0004, -0.4, 0.4, "0.00 (−0.40 to 0.40)"),
        (12.3, 2.1, 30.0, "12 (2 to 30)"),
        (0.2, 0.0007, 0.4, "0.20 (0.0007 to 0.40)"),  # a bound that is not 0 is not told as 0
        (0.5, 0.5, 0.5, "0.5 (0.5 to 0.5)"),
        (0.5, -float("inf"), 1.0, "0.5 (−inf to 1)"),
    ],
)
def test_numbers_are_as_precise_as_their_interval(
    value: float, low: float, high: float, told: str
) -> None:
    assert ledger.with_interval(value, low, high) == told
