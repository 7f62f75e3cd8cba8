"""The reported numbers: complete, traceable, and what the papers say."""

from pathlib import Path

import numpy as np
import pytest

from signseg_utils.chapter.reported import COLUMNS, SOURCES, reported, words

CLAIMS = """
P-T2 P-1a P-1b P-2/3 P-4 P-5 P-6 P-7 P-Tab1 P-14 P-15 P-19/20 P-21a P-21b P-acc P-12 P-13 P-16
P-8a P-8b P-9 P-10a P-10b P-10c P-17 P-18 P-loc F-D1 F-D2 F-D3 F-L1 F-L2 F-S F-bg
C-1 C-2 C-3 C-4 C-5 C-6 C-7 N-1 N-2 E-opt
""".split()


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_claim_is_there_with_its_place(claim: str) -> None:
    table = reported(claim)
    assert (table["value"] != "").all()
    assert (table["place"] != "").all()
    assert set(table["source"]) <= set(SOURCES)
    assert words(claim)


def test_no_claim_is_unknown_to_the_list() -> None:
    assert set(reported()["id"]) == set(CLAIMS)


def test_no_fact_is_there_twice() -> None:
    assert not reported().duplicated(["id", "quantity", "condition", "source"]).any()


def test_ratio_of_signs_is_as_in_table_2() -> None:
    table = reported("P-T2").set_index("condition")
    assert table.loc["AlexNet", "number"] == 1.03
    assert table.loc["AlexNet", "spread"] == 0.08
    assert len(table) == 8
    assert words("P-T2", "VGG16") == "VGG16: 1.01 ± 0.09"


def test_correlations_are_as_in_table_1() -> None:
    table = reported("P-Tab1", "submission")
    assert len(table) == 20
    positive = table[table["condition"].str.startswith("positive")]["number"]
    np.testing.assert_array_equal(
        positive, [-0.17, -0.39, -0.34, -0.38, -0.47, -0.48, -0.51, -0.5, -0.48, -0.47]
    )
    assert words("P-Tab1", "negative 0.9", "submission") == "negative 0.9: -0.62 (p = 2e-08)"


def test_final_version_agrees_with_the_submission_on_table_1() -> None:
    both = reported("P-Tab1").pivot(index="condition", columns="source", values="number").dropna()
    assert len(both) == 2
    assert (both["iclr2026"] == both["submission"]).all()


def test_directions_are_not_numbers() -> None:
    assert reported("P-1a")["number"].isna().all()
    assert words("P-1a") == "positive ablation, 8 networks: falls"


def test_unknown_names_are_refused() -> None:
    with pytest.raises(KeyError, match="did you mean P-1"):
        reported("P-1")
    with pytest.raises(KeyError, match="expected a source"):
        reported(source="nature")
    with pytest.raises(KeyError, match="condition of P-T2"):
        words("P-T2", "VGG19")


def test_missing_or_foreign_files_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNSEG_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="'submission'"):
        reported()
    (tmp_path / "reported").mkdir()
    (tmp_path / "reported" / "submission.csv").write_text("id,value\nP-1a,1\n")
    with pytest.raises(ValueError, match=COLUMNS[1]):
        reported()
