"""What agrees, what agrees within its bounds, and what is beyond them."""

import json
from pathlib import Path

import numpy as np
import pytest

from signseg_utils.chapter.results import record_audit
from signseg_utils.experiments.agreement import (
    AGREES,
    BEYOND,
    EXACTLY,
    WITHIN,
    Agreement,
    compare,
    notes,
    worst,
)

FEW = Agreement(cells=5, by=1)


@pytest.mark.parametrize(
    ("stored", "again", "how", "outcome", "differing"),
    [
        ([1, 2], [1, 2], EXACTLY, AGREES, 0),
        ([1, 2], [1, 3], EXACTLY, BEYOND, 1),
        ([1.0, 200.0], [1.0009, 200.1], Agreement(1e-3, 1e-3), AGREES, 0),
        ([1.0, 200.0], [1.002, 200.1], Agreement(1e-3, 1e-3), BEYOND, 1),
        ([0] * 1000, [0] * 995 + [1] * 5, FEW, WITHIN, 5),
        ([0] * 1000, [0] * 994 + [1] * 6, FEW, BEYOND, 6),  # too many
        ([0] * 1000, [0] * 999 + [2], FEW, BEYOND, 1),  # too much
        ([np.nan, 1], [np.nan, 1], EXACTLY, AGREES, 0),
        ([np.nan, 1], [0, 1], Agreement(9, 9, 1000, 9), BEYOND, 1),  # NaN is no number
        ([1, 1], [np.nan, 1], Agreement(9, 9, 1000, 9), BEYOND, 1),
        ([np.inf], [np.inf], EXACTLY, AGREES, 0),
        ([], [], EXACTLY, AGREES, 0),
    ],
)
def test_outcomes(stored, again, how, outcome, differing) -> None:
    found = compare("x", stored, again, how)
    assert (found.outcome, found.differing, found.cells) == (outcome, differing, len(stored))


def test_the_largest_difference_is_named() -> None:
    found = compare("shuffled", [[1, 2], [3, 4]], [[1, 3], [9, 4]], where="study a")
    assert (found.stored, found.again, found.difference) == (3, 9, 6)
    assert notes([found]) == [
        "shuffled of study a: 2 of 4 numbers differ, the most 3 as stored from 9 as computed here; "
        "they must be equal."
    ]


def test_the_worst_counts_and_comes_first() -> None:
    good, few = compare("a", [1], [1]), compare("b", [0] * 1000, [0] * 999 + [1], FEW)
    bad = compare("c", [1], [1.5])
    assert worst([]) == worst([good]) == AGREES
    assert worst([good, few]) == WITHIN
    assert worst([few, bad, good]) == BEYOND
    assert [note[0] for note in notes([few, good, bad])] == ["c", "b"]


def test_other_shapes_are_no_comparison() -> None:
    with pytest.raises(ValueError, match="expected x of shape"):
        compare("x", [1, 2], [1])


def record(folder: Path, **told) -> dict:
    plain = dict(source="shipped", shards=2, seed=0, tolerance=1e-3, folder=folder)
    path = record_audit("01_it", **plain, **told)
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_record_says_how_the_audit_ended(tmp_path: Path) -> None:
    few = compare("b", [0] * 1000, [0] * 999 + [1], FEW)
    found = record(tmp_path, comparisons=[few], damaged=["b.zarr.zip"])
    assert (found["checked"], found["agreed"], found["outcome"]) == (1000, 999, WITHIN)
    assert found["damaged"] == ["b.zarr.zip"] and found["notes"] == [f"{few}."]
    assert record(tmp_path, checked=3, agreed=2)["outcome"] == BEYOND
    assert record(tmp_path, checked=3, agreed=3)["outcome"] == AGREES


def test_what_could_not_be_audited_is_said(tmp_path: Path) -> None:
    found = record(tmp_path, comparisons=[])
    assert (found["checked"], found["outcome"]) == (0, AGREES)
    assert found["notes"] and "Not audited here" in found["notes"][0]
