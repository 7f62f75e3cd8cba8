"""Long work talks: what it says is true, nothing of it gets into a page, and every door does it."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import throwaway
import torch
import xarray as xr
from twocolours import TwoColours

from signseg_utils import zoos
from signseg_utils.analysis import images
from signseg_utils.basics import progress
from signseg_utils.basics.progress import Work, each
from signseg_utils.experiments import (
    base,
    channel_maps,
    class_accuracy,
    diverse_images,
    factorial,
    feature_images,
    occlusion,
    races,
    sweep,
)
from signseg_utils.experiments.recorded import ablated_models, localisation
from signseg_utils.experiments.recorded import encoding_accuracy as accuracy
from signseg_utils.experiments.recorded import encoding_signs as signs
from signseg_utils.experiments.sweep import estimating
from signseg_utils.neurons import recordings, simulated, stimuli
from signseg_utils.publishing import kernels, publish
from signseg_utils.publishing.publisher import Publisher
from signseg_utils.search.evolution import Search
from signseg_utils.training import classifier, decoder

Said = Callable[[], list[str]]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands still until ``now`` is set; lines begin as their works say."""
    hand = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress, "clock", lambda: hand.now)
    monkeypatch.delenv(progress.TITLE, raising=False)
    return hand


def test_it_says_beforehand_what_is_left_and_how_long_it_took(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture
) -> None:
    for _ in each(range(100), "neurons", "mine", resumes=True):
        clock.now += 10
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == (
        "mine: about 17 min in all; if stopped, the same command goes on from there"
    )
    assert lines[1] == "mine: 3 of 100 neurons, about 16 min left"
    assert lines[-1] == "mine: 100 of 100 neurons in 17 min"
    assert 10 < len(lines) < 40, "sensible intervals"


def test_the_gaps_between_lines_grow_and_end_at_five_minutes(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture
) -> None:
    times = []
    for _ in each(range(36_000), "steps"):
        clock.now += 1
        if capsys.readouterr().err:
            times.append(clock.now)
    gaps = np.diff(times)
    assert gaps.min() >= progress.NEXT and gaps.max() <= progress.LATEST + 1
    assert len(times) < 170  # of ten hours


def test_short_work_is_silent(clock: SimpleNamespace, capsys: pytest.CaptureFixture) -> None:
    for _ in each(range(90), "neurons"):
        clock.now += 0.1
    assert capsys.readouterr().err == ""


def test_work_that_stands_still_talks_once_it_moves(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture
) -> None:
    with Work(None, "MB", "file") as work:
        clock.now = 11
        work.advance(3.7)
        clock.now = 60
        work.advance(2)
    first, then, last = capsys.readouterr().err.splitlines()
    assert first == "file: 3 MB, no estimate yet"
    assert then == "file: 5 MB" and last == "file: 5 MB in 60 s"


def test_estimates_heed_preparation_costs_and_what_was_there(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture
) -> None:
    """Two studies of 30 and 10 units; of the first's three neurons one is there already.

    Its two others take 100 s each; the second study's three then are to take 100 s together.
    """
    foretold: list[float] = []
    with Work(2, "studies", "mine", costs=[30, 10]) as work:
        for left, cost in ((2, 30), (3, 10)):
            clock.now += 500  # to read images, once for each
            for _ in each(range(left), "neurons", there=3 - left):
                for _ in each(range(10), "images", fine=True):
                    if work.done == 0 and work.left is not None:
                        foretold.append(clock.now + work.left)
                    clock.now += cost / 3
            work.advance()
    assert len(foretold) == 19 and 790 < min(foretold) <= max(foretold) < 820  # 500 + 200 + 100
    said = capsys.readouterr().err
    assert "goes on from 1 of 3 neurons" in said
    assert "mine: 0 of 2 studies, 2 of 3 neurons, about " in said
    assert "mine: 1 of 2 studies, 0 of 3 neurons, about " in said
    assert "images" not in said


def test_a_stopped_work_says_how_far_it_came(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(KeyboardInterrupt), Work(9, "shards", "sweep", resumes=True) as work:
        clock.now = 30
        work.advance()
        raise KeyboardInterrupt
    assert capsys.readouterr().err.splitlines()[-1] == (
        "sweep: stopped at 1 of 9 shards after 30 s; the same command goes on from there"
    )


def test_a_loop_that_an_error_left_does_not_silence_what_comes_later(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture
) -> None:
    def fail() -> None:
        for _ in each(range(3), "broken"):
            raise RuntimeError

    with pytest.raises(RuntimeError) as kept:
        fail()
    for _ in each(range(3), "later"):
        clock.now += 20
    assert kept.traceback  # holds the frame, and so the loop
    said = capsys.readouterr().err
    assert "later: 3 of 3 later in 60 s" in said and "broken" not in said


def test_a_terminal_has_one_line_that_is_written_over(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown = Terminal()
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr(sys, "stderr", shown)
    for _ in each(range(30), "neurons", "mine"):
        clock.now += 1
    assert shown.getvalue().count("\n") == 2  # what was foretold, and the end
    assert shown.getvalue().count("\rmine: ") > 20


def test_times_in_words() -> None:
    said = [progress.words(s) for s in (0.2, 19, 42, 94, 400, 5600, 9000)]
    assert said == ["0 s", "19 s", "40 s", "95 s", "7 min", "93 min", "2.5 h"]


# ---------------------------------------------------------------- notebooks

TALK = """from signseg_utils.basics import progress
progress.SILENT = progress.JUDGED = progress.NEXT = progress.SHARE = 0
for _ in progress.each(range(3), "steps", "mine"):"""


def talkative(folder: Path) -> Path:
    """The throwaway chapter, with work that talks at every step."""
    notebooks = throwaway.write(folder)
    path = notebooks / f"{throwaway.NAME}.md"
    old = "from tqdm import tqdm\nfor _ in tqdm(range(3)):"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, TALK))
    return notebooks


def test_pages_do_not_change_for_what_the_log_says(
    tmp_path: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a forked kernel speaks where its server does, which may have been started by another test
    monkeypatch.setattr(kernels, "safe_to_fork", lambda: False)
    chapter = throwaway.chapter(talkative(tmp_path))
    pages = [publish.publish(chapter, tmp_path / name, force=True) for name in ("one", "two")]
    said = capfd.readouterr().err
    assert said.count("shapes/01: 2 of 3 steps, about ") == 2
    assert said.count("shapes/01: 3 of 3 steps in ") == 2
    assert pages[0].read_bytes() == pages[1].read_bytes()
    assert "of 3 steps" not in pages[0].read_text()


def test_papermill_by_hand_says_it_in_its_log(tmp_path: Path) -> None:
    import jupytext

    notebook = jupytext.read(talkative(tmp_path) / f"{throwaway.NAME}.md")
    nbformat.write(notebook, tmp_path / "in.ipynb")
    done = subprocess.run(
        [sys.executable, "-m", "papermill", "in.ipynb", "out.ipynb", "-k", "python3"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "mine: 2 of 3 steps, about 0 s left\n" in done.stderr
    shown = (tmp_path / "out.ipynb").read_text()
    assert shown.count("mine: ") == 1  # as JupyterLab shows it below the cell: the last line
    assert "mine: 3 of 3 steps in 0 s" in shown


# ---------------------------------------------------------------- doors

FEW = dict(signs=("positive",), alphas=(0.0, 1.0), seeds=(0,))
CELLS = simulated.population(2, seed=1)


@pytest.fixture
def small(tiny_zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> zoos.Zoo:
    """The tiny zoo in place of the shipped one, and a recording of two neurons."""
    (tmp_path / "data" / "zoo").mkdir(parents=True)
    (tmp_path / "data" / "zoo" / "shapes").symlink_to(tiny_zoo)
    monkeypatch.setenv("SIGNSEG_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    zoo = zoos.load_zoo("shapes")
    pixels = zoo.images("val", 60).pixels
    found = simulated.record(CELLS, pixels, repeats=4)
    found["pixels"] = (("image", "channel", "row", "column"), pixels.numpy())
    found["session"] = ("neuron", ["one"] * 2)
    monkeypatch.setattr(recordings, "load", lambda name, sessions=(): found)
    zoo.network_configs = {name: zoo.config(name) for name in ("alexnet", "resnet")}
    monkeypatch.setattr(zoos, "load_zoo", lambda name, folder=None: zoo)
    for module in (localisation, ablated_models):
        monkeypatch.setattr(module, "twins", lambda recording, session, names: CELLS.pick(names))
    return zoo


def shards(**changes: object) -> list[sweep.Shard]:
    settings = {**FEW, "search": Search(generations=2, population=4), **changes}
    units = list(zoos.load_zoo("shapes").classes[:2])
    return sweep.plan("shapes", ["alexnet"], ["scenes"], units, **settings)  # type: ignore


def searched() -> xr.Dataset:
    plan = shards()
    zoo = zoos.load_zoo("shapes")
    return sweep.Shard.joined(plan, base.run(plan, zoo, Path("searched"), speaks=False))


def in_studies(kind: type, **changes: object) -> None:
    one = kind("r", "one", "shapes", "alexnet", **changes)
    base.run([one], zoos.load_zoo("shapes"), Path("out"))


def race(zoo: zoos.Zoo) -> None:
    plan = races.plan(
        "shapes",
        ["alexnet"],
        ["scenes"],
        list(zoo.classes[:1]),
        ["sphere_cma", "random_search"],
        seeds=(0,),
        generations=2,
    )
    base.run(plan, zoo, Path("out"))


def trained(train: Callable[[zoos.Zoo], object]) -> Callable[[zoos.Zoo], object]:
    def door(_: zoos.Zoo) -> object:
        zoo = TwoColours(Path("colours"))
        recipe = classifier.Recipe(epochs=1, batch=16, small_size=32)
        classifier.train(zoo, "alexnet", recipe, Path("scratch"))
        return train(zoo)

    return door


def decide(_: zoos.Zoo) -> None:
    levels = dict(classes=12, empty=0.15, context=0.0, hues="shared", loss="one_vs_rest")
    levels |= dict(optimizer="sgd", features=8, epochs=1, images=128)
    setting = factorial.Setting(row=0, **levels)  # type: ignore[arg-type]
    template = sweep.Shard(
        "factorial", "", "", "", alphas=(0.0, 1.0), seeds=(0,), search=Search(generations=2)
    )
    plan = factorial.plan([setting], ("red disc",), template)
    base.run(plan, zoos.load_zoo("shapes"), Path("out"))


class Brightness:
    def objectness(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((1, 2, 3))


DOORS: dict[str, tuple[Callable[[zoos.Zoo], object], str]] = {
    "a sweep": (lambda zoo: base.run(shards(), zoo, Path("out")), "2 shards"),
    "a sweep over channels": (
        lambda zoo: base.run(shards(layer="trunk.1"), zoo, Path("out")),
        "2 shards",
    ),
    "races": (race, "2 races"),
    "networks of the factorial experiment": (decide, "1 networks and gauges"),
    "looking at images": (
        lambda zoo: images.measure(searched(), zoo, ("alexnet",), detector=Brightness()),
        "2 units",
    ),
    "occlusion": (
        lambda zoo: base.obtain(occlusion.plan("shapes", ["alexnet"], limit=60), zoo),
        "1 networks",
    ),
    "channels": (lambda zoo: channel_maps.table(zoo, ["alexnet"], limit=40), "1 networks"),
    "accuracy of classes": (
        lambda zoo: class_accuracy.outputs(zoo, "alexnet", zoo.images("val", 120), 60),
        "2 batches",
    ),
    "diverse sets": (
        lambda zoo: base.obtain(
            [diverse_images.DiverseImages("shapes", ("alexnet", "resnet"), 20, 120, (0,), 3)],
            zoo,
            "out",
        ),
        "1 diverse sets",
    ),
    "images of features": (
        lambda zoo: base.obtain(
            [
                feature_images.FeatureImages(
                    "shapes", "alexnet", "scenes", (0, 1), seeds=(0,), generations=2
                )
            ],
            zoo,
            "out",
        ),
        "1 sets of features",
    ),
    "accuracy of neuron models": (
        lambda zoo: in_studies(
            accuracy.EncodingAccuracy, images=40, draws=2, components=(1,), folds=2, sides=(4,)
        ),
        "1 studies",
    ),
    "signs of neuron models": (
        lambda zoo: in_studies(
            signs.EncodingSigns,
            images=40,
            draws=2,
            folds=2,
            penalties=(0.5,),
            shuffles=2,
            least=-9.0,
        ),
        "1 studies",
    ),
    "places in images": (
        lambda zoo: base.run(
            [
                localisation.Localisation(
                    "r",
                    "one",
                    "shapes",
                    "alexnet",
                    "scenes",
                    images=40,
                    least_fit=-99.0,
                    generations=2,
                    discs=8,
                    least_change=-99.0,
                )
            ],
            zoo,
            Path("out"),
        ),
        "1 studies",
    ),
    "images of ablated models": (
        lambda zoo: in_studies(
            ablated_models.AblatedModels,
            images=40,
            least=-99.0,
            generator="scenes",
            generations=2,
            seeds=(0,),
            alphas=(0.0, 1.0),
        ),
        "1 studies",
    ),
    "files for a rig": (
        lambda zoo: stimuli.write_images(torch.rand(4, 3, 8, 8), list("abcd"), Path("to_show")),
        "4 images",
    ),
    "an estimate": (lambda zoo: estimating.measured(shards(), zoo, seconds=0.01), "1 networks"),
    "training a network": (trained(lambda zoo: None), "batches"),
    "training a decoder": (
        trained(
            lambda zoo: decoder.train(
                zoo, "decoder", decoder.DecoderRecipe(code_size=4, images=64, batch=16), Path("s")
            )
        ),
        "4 of 4 batches",
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_every_long_door_says_how_long_it_takes(door: str, small: zoos.Zoo, talking: Said) -> None:
    enter, what = DOORS[door]
    enter(small)
    lines = talking()
    assert any("in all" in line or "no estimate yet" in line for line in lines), lines
    assert any(f"{what} in " in line for line in lines), lines


def test_the_publisher_counts_its_pages(
    talking: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Publisher, "attempt", lambda *_: None)
    chapter = throwaway.chapter(throwaway.write(tmp_path))
    Publisher(tmp_path, {}).in_turn([chapter] * 3)
    assert talking()[-1].startswith("shapes: 3 of 3 pages in ")


def test_there_is_one_way_to_show_progress() -> None:
    package = throwaway.ROOT / "signseg_utils"
    others = [p.name for p in package.glob("**/*.py") if "import tqdm" in p.read_text()]
    assert not others, "count work with signseg_utils.basics.progress"


def test_neurons_one_at_a_time_are_what_they_are_together_and_go_on(
    small: zoos.Zoo, talking: Said
) -> None:
    study = ablated_models.AblatedModels(
        "r",
        "one",
        "shapes",
        "alexnet",
        images=40,
        least=-99.0,
        generator="scenes",
        generations=3,
        seeds=(0, 1),
        alphas=(0.0, 1.0),
    )
    found = recordings.load("r")
    own = ablated_models.fit(found, study, small)
    states: list[dict[str, torch.Tensor]] = []
    codes, scores = ablated_models.searched(
        own, study, small, None, lambda s: states.append(dict(s))
    )
    rows, seeds = ablated_models.bank(own.models, study)
    generator = small.generator("scenes")
    together = ablated_models.evolve(rows, own.backbone, generator, seeds, Search("sphere_cma", 3))
    assert torch.equal(codes.flatten(0, 2), together.codes)
    assert torch.equal(scores.flatten(), together.activations)
    assert len(states) == 2
    talking()
    again, _ = ablated_models.searched(own, study, small, states[0], lambda s: None)
    assert torch.equal(again, codes)
    assert any("goes on from 1 of 2 neurons" in line for line in talking())
