"""A sweep on a cluster, killed again and again, on a full disk, or cut off: nothing is lost."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from conftest import made, sweep_words

from signseg_utils import zoos
from signseg_utils.cli.sweep import main
from signseg_utils.experiments import base, cluster, sweep
from signseg_utils.experiments.sweep import Shard
from signseg_utils.files import store
from signseg_utils.files.store import Store
from signseg_utils.search import evolution
from signseg_utils.search.evolution import Search

GENERATIONS = 12


def small_plan() -> list[Shard]:
    return sweep.plan(
        "shapes",
        ["alexnet"],
        ["scenes"],
        zoos.load_zoo("shapes").classes[:2],
        signs=("positive", "negative"),
        alphas=(0.0, 1.0),
        seeds=(0, 1),
        search=Search(generations=GENERATIONS, population=4),
    )


def command(zoo: Path, out: Path, *more: str) -> list[str]:
    return sweep_words(zoo, out, GENERATIONS, *more)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.glob("*.zarr.zip"))}


class Counter:
    """Counts calls of functions from the first generation on; may kill its own process."""

    def __init__(self, last: int = 0) -> None:
        self.calls, self.last, self.begun = 0, last, False

    def __call__(self, frame: object, event: str, argument: object) -> None:
        code = getattr(frame, "f_code", None)
        self.begun = self.begun or code is evolution.Loop.step.__code__
        self.calls += self.begun
        if self.last and self.calls == self.last:
            os.kill(os.getpid(), signal.SIGKILL)


def sweep_until(last: int, folder: Path, zoo: Path) -> int:
    """Run the sweep, but die at call number ``last``; returns the number of calls."""
    torch.set_num_threads(1)
    counter = Counter(last)
    sys.setprofile(counter)
    try:
        made(small_plan(), folder, zoo, checkpoint_seconds=0)
    finally:
        sys.setprofile(None)
    return counter.calls


@pytest.fixture(scope="module")
def uninterrupted(
    tiny_zoo: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, bytes], int]]:
    """Files of a sweep that ran through, and how many calls it made."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    calls = sweep_until(0, folder, tiny_zoo)
    yield contents(folder), calls


def test_sweep_killed_ten_times_equals_one_that_ran_through(
    tiny_zoo: Path, tmp_path: Path, uninterrupted: tuple[dict[str, bytes], int]
) -> None:
    """SIGKILL at seeded random calls: within a generation, a checkpoint, the write of a shard."""
    expected, calls = uninterrupted
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["signseg_utils.experiments.sweep"])
    rng = np.random.default_rng(7)
    for _ in range(10):
        last = int(rng.integers(1, calls // 8))
        process = context.Process(target=sweep_until, args=(last, tmp_path, tiny_zoo))
        process.start()
        process.join(300)
        assert process.exitcode == -signal.SIGKILL
    assert len(contents(tmp_path)) < len(expected), "it had ended before the last kill"
    assert list(tmp_path.glob("*.partial.safetensors")) or contents(tmp_path), "nothing was kept"
    sweep_until(0, tmp_path, tiny_zoo)
    assert contents(tmp_path) == expected
    assert not list(tmp_path.glob("*.partial.safetensors"))


def test_full_disk_ends_with_a_message_and_the_same_command_continues(
    tiny_zoo: Path,
    tmp_path: Path,
    uninterrupted: tuple[dict[str, bytes], int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    room = iter([None] * (GENERATIONS + 5))
    real = os.fsync

    def full(handle: int) -> None:
        if next(room, "none") == "none":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    with monkeypatch.context() as patched:
        patched.setattr(store.os, "fsync", full)
        with pytest.raises(SystemExit) as caught:
            main(command(tiny_zoo, tmp_path))
    message = str(caught.value.code)
    second = small_plan()[1].key
    assert "the disk is full" in message and "give the same command" in message
    assert f"in {second}" in message
    assert len(contents(tmp_path)) == 1
    assert Store(tmp_path).read_partial(second) is not None
    main(command(tiny_zoo, tmp_path))
    assert contents(tmp_path) == uninterrupted[0]
    shown = capsys.readouterr()
    assert "2 shards in" in shown.out


@pytest.mark.slow
def test_killed_worker_of_a_cluster_loses_nothing(
    tiny_zoo: Path,
    tmp_path: Path,
    uninterrupted: tuple[dict[str, bytes], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`--cluster local:2`; the busier worker gets SIGKILL as soon as there is a checkpoint."""
    pytest.importorskip("distributed", reason="extra 'cluster' is not installed")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    killed: list[int] = []
    ended = threading.Event()

    def workers() -> list[psutil.Process]:
        children = psutil.Process().children(recursive=True)
        return [p for p in children if "spawn_main" in " ".join(p.cmdline())]

    def kill() -> None:
        while not ended.is_set():
            if list(tmp_path.glob("*.partial.safetensors")):
                victim = max(workers(), key=lambda p: p.cpu_times().user)
                victim.send_signal(signal.SIGKILL)
                killed.append(victim.pid)
                return
            time.sleep(0.002)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        main(command(tiny_zoo, tmp_path, "--cluster", "local:2"))
    finally:
        ended.set()
        thread.join()
    assert killed, "the sweep ended before a worker could be killed"
    assert contents(tmp_path) == uninterrupted[0]


@pytest.mark.slow
def test_lost_connection_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="extra 'cluster' is not installed")
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 20)
    file = tmp_path / "scheduler.json"
    scheduler = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "distributed.cli.dask_scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-dashboard",
            "--scheduler-file",
            str(file),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 200
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        with (
            pytest.raises(cluster.ClusterError, match="connection was lost.*same command again"),
            cluster.connected(str(file)) as executor,
        ):
            waiting = executor.submit(time.sleep, 600)  # there is no worker: it waits
            scheduler.kill()
            waiting.result(timeout=300)
    finally:
        scheduler.kill()
        scheduler.wait()


@pytest.mark.parametrize("address", ["local:", "local:0", "local:two"])
def test_wrong_number_of_processes_is_refused(
    address: str, tiny_zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed", reason="extra 'cluster' is not installed")
    with pytest.raises(SystemExit):
        main(command(tiny_zoo, tmp_path, "--cluster", address))
    said = " ".join(capsys.readouterr().err.split())
    assert "expected cluster like tcp://" in said and "local:N with N of 1 or more" in said
    assert repr(address) in said


def test_nobody_at_the_address(
    tiny_zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed", reason="extra 'cluster' is not installed")
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    with pytest.raises(SystemExit, match="expected a Dask scheduler at.*dask scheduler"):
        main(command(tiny_zoo, tmp_path, "--cluster", "tcp://127.0.0.1:1"))


def test_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(cluster.ClusterError, match=r"signseg-utils\[cluster\]"),
        cluster.connected("local:1"),
    ):
        pass


def test_a_chapter_searches_through_dask_and_gets_the_same_bits(
    tiny_zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What parameter ``cluster`` of a chapter does; its folder of results may be relative."""
    pytest.importorskip("distributed", reason="extra 'cluster' is not installed")
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo/shapes").symlink_to(tiny_zoo)
    monkeypatch.setenv("SIGNSEG_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    zoo = zoos.load_zoo("shapes")
    here = base.obtain(small_plan(), zoo, "here").found
    there = base.obtain(small_plan(), zoo, "there", cluster="local:2")
    assert (there.folder, there.source) == (Path("there"), "recomputed")
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert all(one.identical(two) for one, two in zip(there.found, here, strict=True))


def test_workers_and_cluster_exclude_each_other(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["--workers", "2", "--cluster", "local:2"])
    assert "not both" in capsys.readouterr().err
