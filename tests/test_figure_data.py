"""Each figure's data as a table: what is drawn is what is written; every column is explained."""

import csv
import io
import re
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from signseg_utils import plots
from signseg_utils.chapter import claims, ledger, reported
from signseg_utils.chapter.chapter import Chapter
from signseg_utils.experiments import factorial
from signseg_utils.plots import drawn
from signseg_utils.publishing import changes, scoreboard
from signseg_utils.publishing.families import Corrected

ROOT = Path(__file__).resolve().parents[1]
X = np.array([0.0, 0.5, 1.0])


@pytest.fixture(autouse=True)
def closed():
    with matplotlib.rc_context():
        plots.use_style()
        yield
    plt.close("all")


def estimate(value: Any, below: float = 0.1, above: float = 0.2) -> SimpleNamespace:
    return SimpleNamespace(value=value, low=np.subtract(value, below), high=np.add(value, above))


def table(figure: Any) -> pd.DataFrame:
    """What is written of a figure, read as a reader reads it."""
    return pd.read_csv(io.StringIO(drawn.as_csv(drawn.table(figure))))


# ---------------------------------------------------------------- what is drawn


def test_curves_have_their_bands_and_panels_their_labels() -> None:
    panels = {
        "alexnet": {"positive": (X, estimate(1 - X)), "negative": (X, estimate(1 + X))},
        "vgg": {"positive": (X, estimate(1 - X / 2))},
    }
    found = table(plots.curve_panels(panels, ylabel="activation", levels={"chance": 0.3}))
    assert set(found["y_label"]) == {"activation"}  # also where the neighbour bears the label
    own = found.query("panel == 'alexnet' and series == 'negative'")
    np.testing.assert_allclose(own[["x", "y", "y_low", "y_high"]].T, [X, 1 + X, 0.9 + X, 1.2 + X])
    assert set(own["mark"]) == {"curve"}
    levels = found.query("panel == 'vgg' and mark == 'level'")
    assert dict(zip(levels["series"], levels["y"], strict=True)) == {"intact": 1.0, "chance": 0.3}
    assert levels["x"].isna().all()


def test_dots_stand_in_their_group_and_bars_keep_to_their_own_whiskers() -> None:
    figure, ax = plt.subplots()
    groups = {"positive": [1.0, 1.0, 1.0, 3.0], "negative": [2.0]}
    estimates = {"positive": estimate(1.5), "negative": estimate(2.0)}
    plots.unit_dots(ax, groups, estimates=estimates)
    ax.plot([1.6, 2.1], "kD", label="manifest")  # drawn over the whiskers; they are not its own
    found = table(figure)
    dots = found[found["mark"] == "dot"]
    assert {name: sorted(own["y"]) for name, own in dots.groupby("x")} == groups
    bars = found.query("mark == 'point' and series.isna()").set_index("x")
    assert bars.loc["positive", ["y", "y_low", "y_high"]].tolist() == [1.5, 1.4, 1.7]
    other = found[found["series"] == "manifest"]
    assert other["y"].tolist() == [1.6, 2.1] and other["y_low"].isna().all()


def test_a_forest_names_effect_and_network() -> None:
    figure, ax = plt.subplots()
    ax.set_xlabel("effect, s.d.")
    effects = {
        "P-4": {"vgg": estimate(1.0), "alexnet": estimate(-1.0)},
        "P-5": {"vgg": estimate(2.0)},
    }
    plots.forest(ax, effects)
    found = table(figure)
    rows = found[found["mark"] == "point"].set_index(["y", "series"]).sort_index()
    assert rows.loc[("P-4", "alexnet"), ["x", "x_low", "x_high"]].tolist() == [-1.0, -1.1, -0.8]
    assert list(rows.index) == [("P-4", "alexnet"), ("P-4", "vgg"), ("P-5", "vgg")]
    assert set(found["x_label"]) == {"effect, s.d."}
    assert found[found["mark"] == "level"]["x"].tolist() == [0.0]


def test_names_beside_dots_and_edges_of_bars_are_told() -> None:
    figure, ax = plt.subplots()
    plots.scatter(ax, [1, 2], [3, 4], names=["disc", "star"], identity=True)
    found = table(figure)
    assert found[["name", "x", "y"]].values.tolist() == [["disc", 1, 3], ["star", 2, 4]]
    studies = SimpleNamespace(value=X, low=X - 1, high=X + 1)
    bars = table(plots.small_studies(studies, bins=2)).query("mark == 'bar'")
    assert bars["y"].sum() == 3
    assert (bars["x_low"] < bars["x_high"]).all() and (bars["y_low"] == 0).all()


def test_images_have_no_table() -> None:
    assert drawn.table(plots.image_grid(np.zeros((1, 2, 3, 8, 8)))) == []


def test_a_page_writes_and_links_what_its_figures_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown: list[Any] = []
    monkeypatch.setattr("signseg_utils.chapter.chapter.display", shown.append)
    chapter = Chapter("99_test", SimpleNamespace(zoo="shapes"), {})
    chapter.figure(plots.image_grid(np.zeros((1, 2, 3, 8, 8))), alt="Images.")
    figure, ax = plt.subplots()
    ax.plot(X, 2 * X, label="twice")
    chapter.figure(figure, alt="A line.", caption="The line.")
    assert [path.name for path in tmp_path.iterdir()] == ["99_test.figure-2.csv"]
    assert ".csv" not in shown[0].html
    assert "The line." in shown[1].html and 'href="99_test.figure-2.csv" download' in shown[1].html
    found = pd.read_csv(tmp_path / "99_test.figure-2.csv")
    assert found["y"].tolist() == [0, 1, 2] and set(found["series"]) == {"twice"}


# ---------------------------------------------------------------- what columns mean


def words() -> dict[str, dict[str, dict[str, str]]]:
    """File to column to row of the dictionary."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    with open(ROOT / "data" / "dictionary.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            assert row["column"] not in found.get(row["file"], {}), f"{row} is told twice"
            assert row["meaning"], f"{row} has no meaning"
            found.setdefault(row["file"], {})[row["column"]] = row
    return found


def test_every_column_of_figures_is_explained() -> None:
    told = words()["NN_title.figure-N.csv"]
    assert tuple(told) == drawn.COLUMNS
    assert all(mark in told["mark"]["meaning"] for mark in drawn.MARKS)
    numbers = [name for name in drawn.COLUMNS if re.fullmatch(r"[xy](_low|_high)?", name)]
    assert all(told[name]["unit"] == f"that of {name[0]}_label" for name in numbers)


def test_every_column_of_the_ledger_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    ledger_page = import_module("ledger_page")
    line = ledger.Line("P-4", "shapes", "a", "falls", 1, 0, 2, 3, "t", 0, "replicated")
    row = SimpleNamespace(
        words="a", chapter=SimpleNamespace(number=3, world=str), caveat="", figure=""
    )
    record = ledger_page.record(row, Corrected("03_the_ablation_sweep", line, None, "replicated"))
    assert list(words()["ledger.csv"]) == ledger_page.as_csv([record]).splitlines()[0].split(",")


def test_every_column_of_tables_in_the_repository_is_explained() -> None:
    told = words()
    stated = {
        "data/claims/NN.csv": claims.COLUMNS,
        "data/claims/scoreboard.csv": scoreboard.COLUMNS,
        "data/reported/*.csv": reported.COLUMNS,
        "data/changes_of_verdict.csv": changes.COLUMNS,
    }
    for file, columns in stated.items():
        assert tuple(told[file]) == columns, file
    for path in (ROOT / "data").rglob("*.csv"):
        name = path.relative_to(ROOT).as_posix()
        name = re.sub(r"claims/\d\d\.csv", "claims/NN.csv", name)
        name = re.sub(r"reported/\w+\.csv", "reported/*.csv", name)
        assert name in {*told, "data/dictionary.csv"}, f"{name} is in no row of data/dictionary.csv"


def test_tables_that_chapters_write_are_explained() -> None:
    told = words()
    runs = [factor.name for factor in factorial.FACTORS] + ["accuracy", "sign ratio"]
    runs += [*factorial.KINDS, *(f"{kind}, centred" for kind in factorial.KINDS)]
    for kind in factorial.KINDS[1:]:
        signs = (f"without {sign}" for sign in ("positive", "negative", "random"))
        runs += [f"{kind} {word}" for word in ("intact", *signs)]
    assert list(told["09_what_decides.runs.csv"]) == runs
    for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.md"):
        for end in re.findall(r"\.to_csv\(f\"\{chapter\.name\}(\.[^\"]+)\"", path.read_text()):
            assert f"{path.stem}{end}" in told
    for path in (ROOT / "book" / "executed").glob("*/*.csv"):
        name = re.sub(r"^\d\d_\w+\.figure-\d+\.csv$", "NN_title.figure-N.csv", path.name)
        assert name in told, f"{path.name} is in no row of data/dictionary.csv"
