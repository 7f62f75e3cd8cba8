"""Primary claims of a zoo are one family: corrected together, and nothing else is touched."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from signseg_utils.chapter import ledger
from signseg_utils.chapter.ledger import Line
from signseg_utils.publishing import families

LINE = Line(
    "P-1", "shapes", "a claim", "rises", 0.5, 0.1, 0.9, 12, "t interval", None, "replicated", p=0.02
)


def test_one_claim_among_many_needs_a_smaller_p() -> None:
    alone = families.corrected({"03_a": [LINE]})
    assert [one.verdict for one in alone] == ["replicated"] and alone[0].p == pytest.approx(0.02)
    other = replace(LINE, id="P-2", p=0.9, verdict="inconclusive")
    strong = replace(LINE, id="P-3", p=1e-6)
    found = families.corrected({"03_a": [LINE, other], "04_b": [strong]})
    assert [one.verdict for one in found] == ["replicated", "inconclusive", "replicated"]
    weak = [replace(LINE, id=f"P-{i}", p=0.9, verdict="inconclusive") for i in range(4, 6)]
    found = families.corrected({"03_a": [LINE, *weak]})
    assert found[0].verdict == "inconclusive" and found[0].changed
    assert found[0].p == pytest.approx(0.06) and "before correction: replicated" in found[0].found


def test_controls_and_own_questions_are_outside() -> None:
    outside = [
        replace(LINE, id="P-1 random", role="control"),
        replace(LINE, id="W-x", verdict="yes"),
        replace(LINE, id="P-1a", role="arithmetic", verdict="arithmetic"),
        replace(LINE, id="P-9", p=None, verdict="not testable"),
    ]
    found = families.corrected({"03_a": [replace(LINE, p=0.04), *outside]})
    assert [one.p for one in found] == [0.04, None, None, None, None]
    assert not any(one.changed for one in found)


def test_absence_and_disagreement_are_no_false_alarms() -> None:
    lines = [
        replace(LINE, id=f"P-{v}", p=0.5, verdict=v)
        for v in ("absent", "differs", "networks disagree")
    ]
    assert not any(one.changed for one in families.corrected({"03_a": lines}))


def test_under_the_null_one_family_in_twenty_has_a_replicated_claim() -> None:
    rng = np.random.default_rng(0)
    false = 0
    for _ in range(20):
        lines = [
            replace(LINE, id=f"P-{i}", p=p, verdict="replicated" if p < 0.05 else "inconclusive")
            for i, p in enumerate(rng.uniform(size=25))
        ]
        false += any(one.verdict == "replicated" for one in families.corrected({"a": lines}))
    assert false <= 3  # of 20 one is expected; without correction it would be 14


def test_the_family_lies_beside_the_ledgers(tmp_path: Path) -> None:
    assert families.store(tmp_path / "none") is None
    ledger.write([LINE, replace(LINE, id="P-1 x", role="control")], tmp_path / "03_a.ledger.json")
    rows = json.loads(families.store(tmp_path).read_text())
    assert [row["id"] for row in rows] == ["P-1"] and rows[0]["corrected"] == "replicated"
    with pytest.raises(ValueError, match="lines of one zoo"):
        families.corrected({"a": [LINE, replace(LINE, zoo="tinyimagenet")]})
