"""What chapters call: claims as data, verdicts by kind, the opening; and how chapters read."""

import ast
import csv
import io
import json
import re
import tokenize
from pathlib import Path
from typing import Any

import jupytext
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from signseg_utils.analysis import stats
from signseg_utils.chapter import claims, ledger, open_chapter, parameters, reported
from signseg_utils.chapter.chapter import Chapter, opening

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.md"))


MOST_LINES_A_CELL = 12
CODE_LINES = range(40, 91)
MOST_IMPORTS = 6
LEAST_WORDS_A_LINE = 14

SAID = {verdict: f"It is {verdict} by {{value}}." for verdict in claims.TOLD}
ROW = {
    "id": "P-4",
    "role": "primary",
    "kind": "direction",
    "expected": "above 0",
    "margin": "0.1",
    "sample": "units",
    "statement": "similarity",
    "test": "bootstrap, above 0, margin {margin:g}",
    "reported": "falls",
    "condition": "",
    "source": "submission",
    "figure": "Fig. 4",
    "scale": "effect",
    **SAID,
}


def put(folder: Path, *rows: dict[str, str], columns: tuple[str, ...] = claims.COLUMNS) -> None:
    """``data/claims/99.csv`` of a data folder."""
    path = folder / "claims" / "99.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes claims of a chapter 99 and opens that chapter in a folder of its own."""
    monkeypatch.setenv("SIGNSEG_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def opened(*changed: dict[str, str]) -> Chapter:
        put(tmp_path, *({**ROW, **change} for change in changed))
        space = {"zoo": "shapes", "seed": 3, "__annotations__": {"zoo": str, "seed": int}}
        return open_chapter(space, "99_test")

    yield opened
    plt.close("all")


# ---------------------------------------------------------------- claims as data


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_claims_of_each_chapter_are_sound(chapter: str) -> None:
    found = claims.claims(int(chapter[:2]))
    assert any(claim.role == "primary" for claim in found.values())
    for claim in found.values():
        if claim.source != claims.OWN and not claim.reported and "{" not in claim.condition:
            assert reported.words(claim.stem, claim.condition or None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"role": "main"}, "role"),
        ({"kind": "directon"}, "did you mean 'direction'|direction"),
        ({"expected": "positive"}, "above 0"),
        ({"kind": "number", "expected": "many"}, "expected a number"),
        ({"kind": "alike", "margin": ""}, "expected a margin"),
        ({"margin": "small"}, "expected a margin"),
        ({"statement": " "}, "expected a statement"),
        ({"source": "nature"}, "source"),
        ({"reversed": ""}, "reversed: expected a sentence"),
        ({"reversed": "no capital."}, "capital to full stop"),
        ({"replicated": "P-4 holds."}, "no claim's id"),
    ],
)
def test_a_wrong_row_is_named(stated: Any, change: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        stated(change)
    assert "'P-4'" in str(caught.value) and "99.csv" in str(caught.value)


def test_claims_are_stated_once(stated: Any) -> None:
    with pytest.raises(ValueError, match="'P-4' twice"):
        stated({}, {})


def test_columns_are_those_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNSEG_DATA", str(tmp_path))
    put(tmp_path, ROW, columns=(*claims.COLUMNS[:-1], "untestable"))
    with pytest.raises(ValueError, match=r"unknown: \['untestable'\], missing: \['not testable'\]"):
        claims.claims(99)
    with pytest.raises(FileNotFoundError, match="stated before"):
        claims.claims(98)


def test_controls_need_no_sentences_but_primary_claims_do(stated: Any) -> None:
    chapter = stated({}, {"id": "P-4 x", "role": "control", **dict.fromkeys(SAID, "")})
    chapter.claim("P-4 x", np.full(8, 0.5))
    assert chapter.lines[0].verdict == "replicated"
    assert opening(chapter.judged) == ""


def test_an_unknown_claim_names_the_nearest(stated: Any) -> None:
    with pytest.raises(KeyError, match="among: P-4; got .*P-4 strict.*not stated beforehand"):
        stated({}).claim("P-4 strict", [1.0] * 8)


def test_a_field_beside_the_id_is_no_part_of_the_claim(stated: Any) -> None:
    chapter = stated({"id": "P-4{also}"}, {"id": "P-4 strict{also}"})
    chapter.claim("P-4{also}", [1.0] * 8, also=" vgg")
    assert chapter.lines[0].id == "P-4 vgg"
    assert [claim.stem for claim in claims.claims(99).values()] == ["P-4", "P-4"]


def test_a_missing_field_is_named(stated: Any) -> None:
    with pytest.raises(KeyError, match="statement of 'P-4'.*network"):
        stated({"statement": "similarity in {network}"}).claim("P-4", [1.0] * 8)


# ---------------------------------------------------------------- verdicts by kind


def rows(*means: float) -> xr.DataArray:
    """Values [network, unit] around means, eight units each."""
    spread = np.linspace(-0.05, 0.05, 8)
    values = np.array(means)[:, None] + spread
    coords = {"network": [f"n{place}" for place in range(len(means))]}
    return xr.DataArray(values, coords, dims=("network", "unit"))


def test_a_direction_gives_the_line_that_the_ledger_made(stated: Any) -> None:
    values = rows(0.4).values[0]
    chapter = stated({})
    chapter.claim("P-4", values)
    estimate = stats.mean(values)
    (line,) = chapter.lines
    told = estimate.value, estimate.low, estimate.high
    assert (line.measured, line.ci_low, line.ci_high) == told
    assert (line.n, line.p, line.detectable) == (8, estimate.p, estimate.detectable)
    assert line.verdict == ledger.judge_direction(estimate, "positive", 0.1) == "replicated"
    assert line.test == "bootstrap, above 0, margin 0.1" and line.reported == "falls"


@pytest.mark.parametrize(
    ("means", "verdict", "holding"),
    [
        ((0.4, 0.3, 0.4), "replicated", 3),
        ((0.4, -0.3, 0.4), "networks disagree", 2),
        ((-1, -1, -1.1), "reversed", 0),
        ((0.4, 0.05, 0.9), "inconclusive", 3),
    ],
)
def test_a_claim_about_each_network(
    stated: Any, means: tuple[float, ...], verdict: str, holding: int
) -> None:
    chapter = stated({"kind": "direction in each", verdict: "In {holding} of {cells}: {value}."})
    chapter.claim("P-4", rows(*means).transpose("unit", "network"))
    line = chapter.lines[0]
    assert (line.verdict, line.n, line.units, line.holding) == (verdict, 3, 8, holding)
    assert line.measured == pytest.approx(np.mean(means))
    assert [cell.name for cell in line.cells] == ["n0", "n1", "n2"]
    assert chapter.judged[0].sentence.startswith(f"In {holding} of 3: ")
    together = stats.Estimate(9.0, 8.0, 10.0, 8, 3)
    chapter.claim("P-4", {"a": rows(*means).values[0]}, together=together)
    assert chapter.lines[1].measured == 9.0


def test_further_dimensions_count_as_networks_do(stated: Any) -> None:
    chapter = stated({"kind": "direction in each"})
    both = xr.concat([rows(0.4, 0.3), rows(0.2, -0.3)], "fill").assign_coords(fill=["grey", "mean"])
    chapter.claim("P-4", both)
    assert list(chapter.judged[0].cells) == ["n0 grey", "n0 mean", "n1 grey", "n1 mean"]
    assert chapter.judged[0].cells["n1 mean"].value == pytest.approx(-0.3)
    assert chapter.lines[0].verdict == "networks disagree"
    assert (chapter.lines[0].n, chapter.lines[0].units) == (2, 8)  # networks, fills averaged


def test_one_network_of_a_kind_is_no_sample(stated: Any) -> None:
    chapter = stated({"kind": "direction over networks"}, {"id": "A", "kind": "alike in each"})
    chapter.claim("P-4", rows(0.4))
    line = chapter.lines[0]
    assert line.verdict == "not testable" and "does not tell" in line.test
    assert line.measured == pytest.approx(0.4) and line.ci_low is not None
    chapter.claim("A", (rows(0.4), rows(0.41)))
    assert chapter.lines[1].verdict == "not testable"


def test_the_mean_over_networks_may_hold_where_one_disagrees(stated: Any) -> None:
    chapter = stated({"kind": "direction over networks"})
    chapter.claim("P-4", rows(0.9, 0.8, 0.7, 0.9, 0.8, 0.9, -0.2))
    assert chapter.lines[0].verdict == "replicated" and chapter.lines[0].holding == 6


def test_a_test_that_the_other_condition_passes_says_nothing(stated: Any) -> None:
    chapter = stated({"kind": "alike over networks"})
    same, apart = (rows(0.5, 0.5, 0.5), rows(0.51, 0.5, 0.5)), (rows(0.5, 0.5), rows(0.9, 0.8))
    chapter.claim("P-4", same, other=apart)
    chapter.claim("P-4", same, other=same)
    assert [line.verdict for line in chapter.lines] == ["replicated", "not testable"]
    assert "uninformative" in chapter.lines[1].test


def test_what_had_to_come_out_so_is_called_arithmetic(stated: Any) -> None:
    chapter = stated({"kind": "direction in each", "role": "arithmetic"})
    chapter.claim("P-4", rows(0.4, 0.9))
    chapter.claim("P-4", rows(-0.4, 0.9))
    assert [line.verdict for line in chapter.lines] == ["arithmetic", "networks disagree"]


def test_what_the_book_asks_is_answered_and_marked(stated: Any) -> None:
    chapter = stated(
        {"id": "W-x", "source": "book", "reported": ""},
        {"id": "P-4 x", "source": "book", "role": "control", "reported": ""},
    )
    for id in ("W-x", "P-4 x"):
        chapter.claim(id, rows(0.4).values[0])
    assert [line.verdict for line in chapter.lines] == ["yes", "yes"]
    assert {line.reported for line in chapter.lines} == {"ours: no source asks"}
    assert chapter.lines[1].role == "control"
    assert chapter.judged[0].sentence == "It is replicated by 0.400."


def test_alike_numbers_and_bounds(stated: Any) -> None:
    chapter = stated(
        {"id": "A", "kind": "alike"},
        {"id": "B", "kind": "alike in each"},
        {"id": "C", "kind": "number", "expected": "{goal}", "margin": "{reach}"},
        {"id": "D-{network}", "kind": "at least", "expected": "0.9", "test": "bound"},
        {"id": "E", "kind": "none"},
    )
    near, far = rows(0.5, 0.5), rows(0.5, 0.9)
    wobble = xr.DataArray(np.tile([0.01, -0.01, 0.02, 0], 2), dims="unit")
    chapter.claim("A", (near.values[0], near.values[0] + wobble.values))
    chapter.claim("B", (near, far + wobble))
    chapter.claim("C", near.values[0], goal=0.5, reach=0.1)
    chapter.claim("D-{network}", 0.89, network="vgg", n=100)
    chapter.claim("E", 0.3, n=3)
    verdicts = ["replicated", "networks disagree", "replicated", "differs", "not testable"]
    assert [line.verdict for line in chapter.lines] == verdicts
    assert [line.id for line in chapter.lines] == ["A", "B", "C", "D-vgg", "E"]
    assert chapter.lines[3].n == 100 and chapter.lines[3].ci_low is None


def test_a_corrected_p_keeps_a_side_from_being_told(stated: Any) -> None:
    chapter = stated({"test": "Holm p = {p:.2g}"})
    chapter.claim("P-4", rows(0.4).values[0], p=0.2)
    assert chapter.lines[0].verdict == "inconclusive"
    assert chapter.lines[0].test == "Holm p = 0.2"


def test_what_cannot_be_measured_says_why(stated: Any) -> None:
    chapter = stated({})
    chapter.claim("P-4", None, why="too few models")
    (line,) = chapter.lines
    assert (line.verdict, line.test, line.measured) == ("not testable", "too few models", None)


# ---------------------------------------------------------------- the page


def test_close_writes_ledger_opening_forest_and_what_was_stated(
    stated: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chapter = stated({}, {"id": "P-5", "statement": "objects"}, {"id": "P-9", "scale": ""})
    chapter.claim("P-4", rows(0.4).values[0])
    chapter.claim("P-9", rows(0.1).values[0])
    capsys.readouterr()
    chapter.close()
    written = json.loads((tmp_path / "99_test.ledger.json").read_text())
    assert [line["id"] for line in written] == ["P-4", "P-9"]
    shown = capsys.readouterr().out
    assert shown.count("Figure: ") == 1  # one scale, one forest
    assert "not measured here" in shown and "objects" in shown


def test_the_opening_tells_each_row_before_any_twice(stated: Any) -> None:
    many = {"id": "A {name}", "replicated": "{name} has {value} ({interval}, {n} units)."}
    chapter = stated(many, {"id": "B", "replicated": "B is last."})
    for name in ("One", "Two", "Three", "Four"):
        chapter.claim("A {name}", np.full(8, 0.5), name=name)
    chapter.claim("B", np.full(8, 0.5))
    text = opening(chapter.judged, most=3)
    told = [f"{name} has 0.5 (0.5 to 0.5, 8 units)." for name in ("One", "Two")]
    assert text == " ".join([*told, "B is last."])


def test_the_opening_says_once_why_one_network_tells_nothing(stated: Any) -> None:
    rest = {"kind": "direction over networks", "not testable": "Nobody knows."}
    chapter = stated(rest, {**rest, "id": "B"})
    for id in ("P-4", "B"):
        chapter.claim(id, rows(0.4).isel(network=[0]))
    reason = "One network of its kind, trained once, does not tell what another would give."
    assert opening(chapter.judged) == f"Nobody knows. Nobody knows. {reason}"


def test_open_chapter_refuses_what_it_cannot_use(stated: Any) -> None:
    stated({})
    with pytest.raises(ValueError, match="expected a name like"):
        open_chapter({}, "test")
    wrong = {"zoo": "shapes", "seed": "x", "__annotations__": {"zoo": str, "seed": int}}
    with pytest.raises(parameters.ParameterError, match="seed"):
        open_chapter(wrong, "99_test")


def test_tables_show_what_was_measured(stated: Any, capsys: pytest.CaptureFixture[str]) -> None:
    chapter = stated({})
    with pytest.raises(ValueError, match="expected a line"):
        chapter.table("P-4")
    chapter.claim("P-4", rows(0.4).values[0])
    chapter.table("P-4")
    assert "similarity" in capsys.readouterr().out


# ---------------------------------------------------------------- how chapters read


def code_lines(source: str) -> int:
    """Lines of code that hold more than text, comments and closing brackets."""
    counted: set[int] = set()
    inside = 0  # of formatted strings, whose parts are tokens from Python 3.12 on
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.tok_name[token.type]
        inside += (kind == "FSTRING_START") - (kind == "FSTRING_END")
        if inside:
            continue
        plain = token.type in (tokenize.NAME, tokenize.NUMBER)
        if plain or (token.type == tokenize.OP and token.string not in "()[]{},:"):
            counted.add(token.start[0])
    return len(counted)


def nested(source: str) -> list[int]:
    """Lines with a lambda, or with a comprehension inside a comprehension."""
    kinds = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    found = []
    for node in ast.walk(ast.parse(source)):
        inner = [n for n in ast.walk(node) if isinstance(n, kinds) and n is not node]
        several = isinstance(node, kinds) and (inner or len(node.generators) > 1)
        if isinstance(node, ast.Lambda) or several:
            found.append(node.lineno)
    return found


def words(source: str) -> int:
    """Words of prose in a markdown cell, formulas left out."""
    text = re.sub(r"\$\$.*?\$\$", " ", source, flags=re.DOTALL)
    return len(re.findall(r"[A-Za-z][\w'’-]*", re.sub(r"\$[^$]*\$", " x ", text)))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_chapter_reads(chapter: str) -> None:
    notebook = jupytext.read(ROOT / "notebooks" / f"{chapter}.md")
    code = [
        cell.source
        for cell in notebook.cells
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", [])
    ]
    for source in code:
        assert code_lines(source) <= MOST_LINES_A_CELL, source
        assert not nested(source), source
    whole = "\n".join(code)
    imports = [n for n in ast.parse(whole).body if isinstance(n, ast.Import | ast.ImportFrom)]
    assert len(imports) <= MOST_IMPORTS
    lines = sum(map(code_lines, code))
    assert lines in CODE_LINES
    prose = sum(words(cell.source) for cell in notebook.cells if cell.cell_type == "markdown")
    assert prose / lines >= LEAST_WORDS_A_LINE
    assert "chapter.close()" in whole or "chapter.close(" in whole
    for name in ("Line(", "Line.of", "ledger.", "plots.forest", "display("):
        assert name not in whole, f"{name} is what chapter.claim and chapter.close do"
    title = next(line for line in notebook.cells[0].source.split("\n") if line.startswith("# "))
    assert title.endswith("?"), "the title is the chapter's question"


def test_lines_of_text_do_not_count() -> None:
    source = 'chapter.figure(\n    plot,\n    alt="words "\n    f"of {a}",\n)\n# why\n'
    assert code_lines(source) == 3
    assert nested("x = [[a for a in b] for b in c]\n") and nested("f = lambda: 0\n")
    assert not nested("x = [a for a in b]\n")
