"""The scoreboard: rows of what was written down, cells of ledgers, and nothing typed."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from signseg_utils.basics.refusals import BadFile, Refusal
from signseg_utils.chapter import claims, ledger
from signseg_utils.chapter.ledger import Cell, Line
from signseg_utils.cli import scoreboard as cli
from signseg_utils.publishing import scoreboard, stories
from signseg_utils.publishing.families import Corrected

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = (Cell("a", 0.3, 0.2, 0.4), Cell("b", 0.2, 0.1, 0.3), Cell("c", 0.1, -0.1, 0.3))
LINE = Line(
    "P-4",
    "shapes",
    "similarity",
    "falls",
    0.2,
    0.1,
    0.3,
    3,
    "t interval",
    None,
    "replicated",
    units=12,
    p=1e-4,
    holding=2,
    cells=NETWORKS,
)


def book(folder: Path, *lines: Line, chapter: str = "03_the_ablation_sweep") -> Path:
    """Ledgers of one chapter, a file a zoo."""
    for zoo in {line.zoo for line in lines}:
        (folder / zoo).mkdir(exist_ok=True)
        own = [line for line in lines if line.zoo == zoo]
        ledger.write(own, folder / zoo / f"{chapter}.ledger.json")
    return folder


def row_of(folder: Path, id: str) -> scoreboard.Row:
    (found,) = [row for row in scoreboard.of_book(folder) if row.id == id]
    return found


def test_a_cell_tells_verdict_effect_interval_and_share(tmp_path: Path) -> None:
    row = row_of(book(tmp_path, LINE), "P-4")
    cell = row.cells["shapes"]
    assert (cell.verdict, cell.effect, cell.share) == ("replicated", "0.20 [0.10, 0.30]", "2/3")
    assert scoreboard.plain(cell) == "✓ holds 0.20 [0.10, 0.30], 2/3"
    assert cell.page == "shapes/03_the_ablation_sweep" and row.figure == "Fig.\xa04"


def test_the_verdict_is_the_corrected_one(tmp_path: Path) -> None:
    others = [replace(LINE, id=id, p=0.9, verdict="inconclusive") for id in ("P-2/3", "P-5")]
    row = row_of(book(tmp_path, replace(LINE, p=0.04), *others), "P-4")
    assert row.cells["shapes"].verdict == "inconclusive"


@pytest.mark.parametrize(
    ("zoo", "name"),
    [
        ("tinyimagenet", "natural images"),
        ("efficientnet", "public ImageNet networks"),
        ("another", "another"),
    ],
)
def test_every_world_with_a_ledger_is_a_column(tmp_path: Path, zoo: str, name: str) -> None:
    row = row_of(book(tmp_path, LINE, replace(LINE, zoo=zoo)), "P-4")
    assert set(row.cells) == {"shapes", zoo} and row.chapter.world(zoo) == name
    heads = scoreboard.markdown([row]).split("\n")[0]
    assert name in heads and "rendered scenes" in heads


def test_networks_and_neurons_call_a_world_by_what_they_ask() -> None:
    sweep = stories.question("03_the_ablation_sweep")
    neurons = stories.question("13_ablated_models_shown_to_neurons")
    assert sweep.world("tinyimagenet") == "natural images"
    assert neurons.world("tinyimagenet") == "macaque V4" and neurons.recorded


def test_chapters_tell_their_story() -> None:
    names = [path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.md")]
    told = {name: stories.question(name) for name in names}
    assert told["03_the_ablation_sweep"].story == stories.NETWORKS
    assert told["12_signs_in_neuron_models"].story == stories.NEURONS
    assert told["09_what_decides"].story == stories.BEYOND
    assert told["15_which_optimizer"].story == stories.METHOD
    assert all(one.title.endswith("?") for one in told.values())


def test_random_ablation_that_does_as_much_is_the_caveat(tmp_path: Path) -> None:
    control = replace(LINE, id="P-4 random", role="control", verdict="open", p=None)
    both = [LINE, control, replace(LINE, zoo="tinyimagenet")]
    held = replace(control, zoo="tinyimagenet", verdict="yes")
    row = row_of(book(tmp_path, *both, held), "P-4")
    assert row.caveat == "no more than random ablation: rendered scenes"
    row = row_of(book(tmp_path, LINE, replace(control, verdict="yes")), "P-4")
    assert row.caveat == ""


def lines(*verdicts: str) -> list[Corrected]:
    return [
        Corrected("11_x", replace(LINE, id=f"P-16 {n}", verdict=v), None, v)
        for n, v in enumerate(verdicts)
    ]


@pytest.mark.parametrize(
    ("verdicts", "together", "share"),
    [
        (("replicated", "replicated"), "replicated", "2/2"),
        (("replicated", "inconclusive", "inconclusive"), "inconclusive", "1/3"),
        (("replicated", "reversed"), "networks disagree", "1/2"),
        (("yes", "no"), "open", "1/2"),
    ],
)
def test_several_lines_are_counted(verdicts: tuple[str, ...], together: str, share: str) -> None:
    cell = scoreboard.together(lines(*verdicts))
    assert (cell.verdict, cell.share) == (together, share)


def test_a_line_belongs_to_the_most_literal_claim() -> None:
    stated = claims.claims(11)
    for id, own in (("P-13 resnet", "P-13{also}"), ("P-13 all resnet", "P-13 all{also}")):
        found = scoreboard.claim_of(id, stated)
        assert found is not None and found.id == own


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("3,P-4,,similar,one two three four five six seven eight nine", "at most 8 words"),
        ("3,P-99,,similar,", "expected a claim of chapter 3"),
        ("3,P-4,,,", "in plain words"),
    ],
)
def test_what_is_written_down_is_checked(tmp_path: Path, row: str, why: str) -> None:
    path = tmp_path / "scoreboard.csv"
    path.write_text(f"{','.join(scoreboard.COLUMNS)}\n{row}\n")
    with pytest.raises(BadFile, match=why):
        scoreboard.named(path)


def test_what_is_written_down_holds_no_id_and_no_number() -> None:
    rows = scoreboard.named()
    assert 20 <= len(rows) and 3 <= sum(row["main"] == "yes" for row in rows) <= 6
    for row in rows:
        assert not re.search(r"\d\.\d|\b[A-Z]-\w*\d", row["words"] + row["caveat"]), row


def test_numbers_have_two_digits_and_a_true_minus() -> None:
    told = [scoreboard.short(value) for value in (0.123, -0.004, -1.2, 34.56)]
    assert told == ["0.12", "0.00", "−1.20", "35"]


# ---------------------------------------------------------------- README


def test_readme_holds_what_the_ledgers_say() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    told = text.split(scoreboard.START)[1].split(scoreboard.END)[0].strip().split("\n")
    main = [row["words"] for row in scoreboard.named() if row["main"] == "yes"]
    assert [row.split(" (")[0].removeprefix("| ") for row in told[2:]] == main
    rows = scoreboard.of_book(ROOT / "book" / "executed")
    if sum(row.main for row in rows) == len(main):  # `make book` was run
        assert scoreboard.markdown(rows).split("\n") == told, "signseg scoreboard --write README.md"


def test_the_command_writes_between_the_markers(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{scoreboard.START}\nSTALE\n{scoreboard.END}\nafter\n")
    words = ["--executed", str(book(tmp_path, LINE)), "--write", str(readme)]
    assert cli.main(words) == 0
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "STALE" not in text
    assert "✓ holds 0.20 [0.10, 0.30], 2/3" in text
    assert cli.main(words) == 0 and readme.read_text() == text
    with pytest.raises(BadFile, match="once each"):
        scoreboard.between("no markers", "table")
    (tmp_path / "none").mkdir()
    with pytest.raises(Refusal, match="make book"):
        cli.main(["--executed", str(tmp_path / "none")])
