"""Shared by the tests: one thread, a tiny zoo, and honest skips where data are missing.

A run ends with a list of what was skipped and why. Only what asks for data that are not here
(`needs_data`) may be: any other skip fails the run, because `make install` brings all else.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from browsing import browser as browser
from browsing import pages as pages
from browsing import view as view

from signseg_utils import zoos
from signseg_utils.basics import progress, registry
from signseg_utils.experiments import base
from signseg_utils.files import weights

TINY = {"alexnet": dict(widths=(4, 6), depths=(1,)), "resnet": dict(widths=(4, 6), depths=(1,))}

DATA = "needs data: "  # begins the reason of a skip that fails no run


def needs_data(why: object) -> NoReturn:
    """Skip a test whose data are not on this machine; ``why`` says which, and how to get them."""
    pytest.skip(f"{DATA}{why}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one file run in one process, so that its fixtures are made once.

    Chapters share nothing: each is run wherever a process is free.
    """
    for item in items:
        alone = item.name.startswith("test_chapter_runs[")
        group = item.nodeid if alone else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group.replace("@", "_")))


def skips(reporter: pytest.TerminalReporter) -> Counter[str]:
    """How many tests were skipped, for each reason."""
    reports = reporter.stats.get("skipped", [])
    return Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in reports)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run in which anything but `needs_data` was skipped has not tested what it says."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(session.config, "workerinput"):
        return
    if session.exitstatus == pytest.ExitCode.OK and any(
        not why.startswith(DATA) for why in skips(reporter)
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what was skipped, by reason."""
    found = skips(terminalreporter)
    groups = {
        "not run, because their data are not here": [w for w in found if w.startswith(DATA)],
        "NOT RUN, and therefore this run fails; `make install` brings what tests need": [
            w for w in found if not w.startswith(DATA)
        ],
    }
    for title, reasons in groups.items():
        if reasons:
            terminalreporter.section(title)
            for why in sorted(reasons):
                terminalreporter.line(f"{found[why]} x {why.removeprefix(DATA)}")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """One thread for torch: tests neither fight for cores nor differ by the order of sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_tiny_zoo(folder: Path, seed: int = 0) -> Path:
    """Random small networks for zoo ``shapes`` (12 features); its renderer needs no weights."""
    zoo = zoos.load_zoo("shapes", folder)
    for number, (name, sizes) in enumerate(TINY.items()):
        config = dict(family=name, features=12, image_size=24, **sizes)
        with torch.random.fork_rng():
            torch.manual_seed(100 * seed + number)
            backbone = registry.load("networks", "small")(config)
            readout = torch.nn.Linear(12, len(zoo.classes))
        tensors = dict(backbone.state_dict())
        tensors |= {"readout.weight": readout.weight, "readout.bias": readout.bias}
        manifest = dict(name=name, kind="network", zoo="shapes", module="small", seed=seed)
        plain = dataclasses.asdict(backbone.config)
        weights.save(zoo.path(name), tensors, {**manifest, "config": plain})
    return folder


def made(plan: Sequence[Any], folder: Path, zoo: Path | None, *more: Any, **options: Any) -> Any:
    """Results of a plan, joined: what the folder does not hold is computed with a zoo's weights."""
    opened = zoos.load_zoo(plan[0].zoo, zoo)
    found = base.run(plan, opened, folder, *more, **{"speaks": False, **options})
    return type(plan[0]).joined(plan, found)


def collected(plan: Sequence[Any], folder: Path, zoo: Path | None) -> Any:
    """Results of a plan that a folder holds, joined."""
    return type(plan[0]).joined(plan, base.read(plan, zoos.load_zoo(plan[0].zoo, zoo), folder))


def checked(plan: Sequence[Any], folder: Path, zoo: Path | None, **options: Any) -> int:
    """How many numbers a folder holds of a plan are made again; AuditError if they differ."""
    opened = zoos.load_zoo(plan[0].zoo, zoo)
    return base.demand(base.audit(plan, base.read(plan, opened, folder), opened, **options))


def sweep_words(zoo: Path, out: Path, generations: int, *more: str) -> list[str]:
    """What `signseg sweep` is told of a small sweep of two units with a zoo's weights."""
    asked = {
        "--zoo": "shapes",
        "--networks": "alexnet",
        "--generators": "scenes",
        "--units": ",".join(zoos.load_zoo("shapes").classes[:2]),
        "--signs": "positive,negative",
        "--alphas": "0,1",
        "--seeds": "0-1",
        "--generations": str(generations),
        "--population": "4",
        "--zoo-folder": str(zoo),
        "--out": str(out),
        "--checkpoint-seconds": "0",
    }
    return [*chain.from_iterable(asked.items()), *more]


@pytest.fixture(scope="session")
def tiny_zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a zoo ``shapes`` with tiny random networks "alexnet" and "resnet"."""
    return make_tiny_zoo(tmp_path_factory.mktemp("zoo") / "shapes")


class TinyZoo(type(zoos.load_zoo("shapes"))):  # type: ignore[misc]
    """Zoo shapes of the folder `tiny_zoo`: its standard networks are the two that lie there."""

    networks = ("alexnet", "resnet")


@pytest.fixture
def talking(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> Callable[[], list[str]]:
    """Work of any length talks, at every step; call it for the lines said since the last call."""
    for name in ("SILENT", "JUDGED", "NEXT", "SHARE"):
        monkeypatch.setattr(progress, name, 0.0)
    monkeypatch.delenv(progress.TITLE, raising=False)

    def said() -> list[str]:
        return str(capsys.readouterr().err).splitlines()

    return said


@pytest.fixture(scope="session")
def images_or_skip() -> Callable[..., zoos.Images]:
    """Images of a zoo; the test is skipped, with the zoo's own advice, where there are none."""

    def images(zoo: str, split: str = "val", limit: int | None = None) -> zoos.Images:
        try:
            return zoos.load_zoo(zoo).images(split, limit)
        except zoos.DatasetMissing as missing:
            needs_data(missing)

    return images
