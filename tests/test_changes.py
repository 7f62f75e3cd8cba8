"""Nothing changes silently: each line of the first version is accounted for."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from signseg_utils.chapter import claims
from signseg_utils.chapter.ledger import Line
from signseg_utils.publishing import changes, families

LINE = Line("P-4", "shapes", "a claim", "falls", 0.3, 0.2, 0.4, 12, "t", None, "absent", p=0.4)


def row(**changed: str) -> dict[str, str]:
    told = ("shapes", "03_a", "P-4", "replicated", "0.35", "0.3", "0.4", "12", "P-4", "Pairs.")
    return dict(zip(changes.COLUMNS, told, strict=True)) | changed


def test_every_line_of_the_first_version_stands_there_with_a_reason() -> None:
    table = changes.stated()
    assert len(table) == 428 and table["why"].str.endswith(".").all()
    assert not table.duplicated(["zoo", "old_id"]).any()


def test_what_stands_in_its_place_is_stated_today() -> None:
    """By the words of its id, for ids of claims may hold fields."""
    known = {number: " ".join(claims.claims(number)) for number in range(1, 16)}
    for one in changes.stated().to_dict("records"):
        if one["id"]:
            assert one["id"].split()[0].split("-")[0] in known[int(one["chapter"][:2])]


def test_a_change_tells_both_verdicts() -> None:
    (now,) = families.corrected({"03_a": [LINE]})
    table = pd.DataFrame([row(), row(old_id="P-5", id="")])
    first, gone = changes.changes([now], table)
    assert (first.was, first.now.verdict, first.same) == ("replicated", "absent", False)
    assert first.was_measured == "0.35 (0.30 to 0.40)"
    assert gone.now is None and not gone.same


def test_another_word_for_the_same_is_no_change() -> None:
    own = replace(LINE, id="W-x", verdict="yes")
    (now,) = families.corrected({"03_a": [own]})
    (one,) = changes.changes([now], pd.DataFrame([row(id="W-x")]))
    assert one.same


def test_a_row_without_a_reason_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    pd.DataFrame([row(why=" ")]).to_csv(path, index=False)
    with pytest.raises(ValueError, match="a why in each row"):
        changes.stated(path)
    pd.DataFrame([row()]).drop(columns="why").to_csv(path, index=False)
    with pytest.raises(ValueError, match="expected the columns"):
        changes.stated(path)
