"""A sweep survives kills, damage and foreign files, and says what it cannot trust."""

import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from conftest import checked, collected, made, make_tiny_zoo, sweep_words

from signseg_utils import selection, zoos
from signseg_utils.chapter import results
from signseg_utils.experiments import base, sweep
from signseg_utils.experiments.base import AuditError, State
from signseg_utils.experiments.sweep import Shard
from signseg_utils.files import reads, store
from signseg_utils.files.store import Store, UnwritableStore
from signseg_utils.search import evolution
from signseg_utils.search.evolution import Search
from signseg_utils.selection import ParameterError
from signseg_utils.units.ablation import ablate

SMALL = dict(
    signs=("positive", "negative"),
    alphas=(0.0, 1.0),
    seeds=(0, 1),
    search=Search(generations=4, population=4),
)


def small_plan(**changes: object) -> list[Shard]:
    settings = {**SMALL, **changes}
    return sweep.plan("shapes", ["alexnet"], ["scenes"], units(), **settings)  # type: ignore[arg-type]


def units() -> list[str]:
    return list(zoos.load_zoo("shapes").classes[:2])


@pytest.fixture(scope="module")
def finished(tiny_zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished small sweep; not to be written to."""
    folder = tmp_path_factory.mktemp("finished")
    made(small_plan(), folder, tiny_zoo)
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished sweep, to be spoilt."""
    folder = tmp_path / "results"
    folder.mkdir()
    for file in finished.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.glob("*.zarr.zip"))}


def test_plan_is_the_full_grid_with_distinct_keys() -> None:
    shards = sweep.plan("shapes", ["alexnet", "vgg"], ["scenes"], units(), **SMALL)  # type: ignore[arg-type]
    assert len(shards) == 4
    assert len({shard.key for shard in shards}) == 4
    assert [c.label for c in shards[0].conditions] == ["intact", "positive 1", "negative 1"]
    assert all(Shard.from_settings(shard.settings) == shard for shard in shards)


def test_plan_defaults_to_the_zoo() -> None:
    zoo = zoos.load_zoo("shapes")
    expected = len(zoo.networks) * len(zoo.generators) * len(zoo.default_units)
    assert len(sweep.plan("shapes")) == expected


def test_command_and_chapters_mean_the_same_defaults() -> None:
    """`make results` and a chapter that says alphas 0:1:0.1 name the same shards."""
    assert selection.fractions("0:1:0.1") == sweep.ALPHAS
    assert selection.integers("0-3") == Shard("", "", "", "").seeds


@pytest.mark.parametrize("what", ["networks", "generators", "units"])
def test_plan_refuses_unknown_names(what: str) -> None:
    with pytest.raises(ParameterError, match=f"expected a {what[:-1]} of zoo shapes"):
        sweep.plan("shapes", **{what: ["nowhere"]})


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": (0, 2)},
        {"alphas": (0.0, 0.9)},
        {"rule": "largest"},
        {"search": Search(generations=5, population=4)},
        {"dtype": "bfloat16"},
        {"unit": "other"},
    ],
)
def test_key_tells_settings_apart(change: dict) -> None:
    shard = small_plan()[0]
    assert replace(shard, **change).key != shard.key


def test_only_what_was_asked_for_is_found(finished: Path, tiny_zoo: Path, tmp_path: Path) -> None:
    zoo, shard = zoos.load_zoo("shapes", tiny_zoo), small_plan()[0]
    assert base.stored(shard, zoo, finished) is not None
    assert base.stored(small_plan(seeds=(0, 1, 2))[0], zoo, finished) is None
    assert base.stored(shard, zoo, tmp_path) is None


def test_result_has_named_dimensions(finished: Path, tiny_zoo: Path) -> None:
    found = collected(small_plan(), finished, tiny_zoo)
    assert dict(found.sizes) == {
        "shard": 2,
        "condition": 3,
        "seed": 2,
        "code": found.sizes["code"],
        "generation": 4,
    }
    assert found["codes"].dtype == np.float16
    assert found["activation"].dtype == np.float32
    assert list(found["unit"].values) == units()
    assert list(found["sign"].values) == ["none", "positive", "negative"]
    assert np.isfinite(found["activation"]).all()
    assert (found["trace"].diff("generation") >= 0).all()


def test_intact_response_is_the_activation_where_nothing_is_ablated(
    finished: Path, tiny_zoo: Path
) -> None:
    found = collected(small_plan(), finished, tiny_zoo)
    intact = found.sel(condition="intact")
    np.testing.assert_array_equal(intact["response"], intact["activation"])
    ablated = found.sel(condition="positive 1")
    assert (ablated["response"] != ablated["activation"]).all()


def test_sweep_is_the_loop_under_the_stored_ablation(finished: Path, tiny_zoo: Path) -> None:
    shard = small_plan()[1]
    zoo = zoos.load_zoo("shapes", tiny_zoo)
    network, generator = zoo.network("alexnet"), zoo.generator("scenes")
    bank = ablate(network.readout.rows([shard.unit]), shard.conditions[2])
    alone = evolution.evolve(bank, network.backbone, generator, [1], shard.search)
    stored = collected([shard], finished, tiny_zoo).isel(shard=0)
    run = stored.sel(condition="negative 1", seed=1)
    np.testing.assert_array_equal(run["codes"], alone.codes[0].half())
    np.testing.assert_allclose(run["activation"], alone.activations[0], rtol=1e-6)


def test_finished_shards_are_not_repeated(
    copied: Path, tiny_zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evolution, "evolve", None)
    before = {file.name: file.stat().st_mtime_ns for file in copied.iterdir()}
    made(small_plan(), copied, tiny_zoo)
    assert {file.name: file.stat().st_mtime_ns for file in copied.iterdir()} == before


@pytest.mark.parametrize("spoil", ["truncate", "flip", "text"])
def test_damaged_shard_is_named_and_recomputed(
    copied: Path, finished: Path, tiny_zoo: Path, spoil: str
) -> None:
    shard = small_plan()[0]
    file = Store(copied).path(shard.key)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    spoilt = {"truncate": content[:-100], "flip": content, "text": b"not a shard"}[spoil]
    file.write_bytes(spoilt)
    with pytest.warns(UserWarning, match=f"shard '{shard.key}' is damaged") as warned:
        made(small_plan(), copied, tiny_zoo)
    assert len(warned) == 1
    assert contents(copied) == contents(finished)


def test_foreign_weights_are_named_and_recomputed(copied: Path, tmp_path: Path) -> None:
    other = make_tiny_zoo(tmp_path / "other", seed=1)
    plan = small_plan()[:1]
    before = contents(copied)
    with pytest.warns(UserWarning, match="is foreign.*network_sha256"):
        found = made(plan, copied, other)
    assert contents(copied) != before
    assert checked(plan, copied, other, sample=3) == 3
    assert found.sizes["shard"] == 1


def test_foreign_algorithm_is_refused(
    copied: Path, tiny_zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signseg_utils.experiments.sweep.shards.ALGORITHM_VERSION", -1)
    with pytest.raises(store.ForeignShard, match="algorithm_version: expected -1"):
        collected(small_plan(), copied, tiny_zoo)


class Killed(Exception):
    """Stands for the end of the process."""


def test_stopped_in_a_shard_continues_from_its_checkpoint(
    finished: Path, tmp_path: Path, tiny_zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard, zoo = small_plan()[0], zoos.load_zoo("shapes", tiny_zoo)
    step, steps = evolution.Loop.step, []

    def counted(loop: evolution.Loop) -> None:
        steps.append(loop.generation)
        if steps == [0, 1, 2]:
            raise Killed
        step(loop)

    monkeypatch.setattr(evolution.Loop, "step", counted)
    with pytest.raises(Killed):
        base.compute_one(shard, zoo, tmp_path, checkpoint_seconds=0)
    assert Store(tmp_path).read_partial(shard.key) is not None
    base.compute_one(shard, zoo, tmp_path)
    assert steps == [0, 1, 2, 2, 3], "the generations of the checkpoint were repeated"
    assert contents(tmp_path) == {
        name: content for name, content in contents(finished).items() if shard.key in name
    }
    assert not Store(tmp_path).partial_path(shard.key).exists()


def test_checkpoints_are_no_more_frequent_than_asked(
    tmp_path: Path, tiny_zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[State] = []
    monkeypatch.setattr(Store, "write_partial", lambda store, key, state, _: written.append(state))
    for seconds, expected in ((0, 3), (1000, 3)):
        made(small_plan()[:1], tmp_path / str(seconds), tiny_zoo, checkpoint_seconds=seconds)
        assert len(written) == expected


def test_damaged_checkpoint_is_named_and_not_used(
    finished: Path, tmp_path: Path, tiny_zoo: Path
) -> None:
    shard = small_plan()[0]
    Store(tmp_path).partial_path(shard.key).write_bytes(b"rubbish")
    with pytest.warns(UserWarning, match=f"{shard.key}.*damaged.*starts anew"):
        made([shard], tmp_path, tiny_zoo)
    assert contents(tmp_path).items() <= contents(finished).items()


def test_unwritable_folder_stops_with_the_shard_named(tmp_path: Path, tiny_zoo: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableStore) as caught:
        made(small_plan(), tmp_path / "file", tiny_zoo)
    assert any(small_plan()[0].key in note for note in caught.value.__notes__)


def test_threads_give_the_same_files(finished: Path, tmp_path: Path, tiny_zoo: Path) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        made(small_plan(), tmp_path, tiny_zoo, pool)
    assert contents(tmp_path) == contents(finished)


def test_failure_in_a_worker_names_the_shard(tmp_path: Path, tiny_zoo: Path) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool, pytest.raises(ValueError) as caught:
        plan = small_plan(search=Search(generations=2, sigma=float("nan")))
        made(plan, tmp_path, tiny_zoo, pool)
    assert "in alexnet-scenes-" in caught.value.__notes__[0]


def test_dask_cluster_gives_the_same_files(finished: Path, tmp_path: Path, tiny_zoo: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="extra 'cluster' is not installed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        made(small_plan(), tmp_path, tiny_zoo, client.get_executor(), threads=1)
    assert contents(tmp_path) == contents(finished)


def test_a_sweep_says_what_is_done_and_left_and_notes_its_cost(
    tmp_path: Path, tiny_zoo: Path, talking: Callable[[], list[str]]
) -> None:
    made(small_plan()[:1], tmp_path, tiny_zoo)
    assert not talking()
    made(small_plan(), tmp_path, tiny_zoo, speaks=True)
    first, *rest, last = talking()
    assert "goes on from 1 of 2 shards; if stopped, the same command goes on" in first
    assert any(line.startswith("shapes: 1 of 2 shards, about ") for line in rest)
    assert "2 of 2 shards in " in last
    costs = base.timings(tmp_path)
    assert set(costs["key"]) == {shard.key for shard in small_plan()}
    assert (costs["images"] > 0).all()


def test_audit_agrees_and_is_reproducible(finished: Path, tiny_zoo: Path) -> None:
    zoo = zoos.load_zoo("shapes", tiny_zoo)
    found = base.read(small_plan(), zoo, finished)
    drawn = base.audit(small_plan(), found, zoo, sample=5, seed=3)
    assert base.demand(drawn) == 5
    assert checked(small_plan()[::-1], finished, tiny_zoo, sample=100, seed=3) == 2 * 3 * 2
    assert drawn == base.audit(small_plan(), found, zoo, sample=5, seed=3)


@pytest.mark.parametrize("wrong", ["activation", "code", "condition"])
def test_audit_finds_what_does_not_belong(copied: Path, tiny_zoo: Path, wrong: str) -> None:
    shard = small_plan()[0]
    results = Store(copied)
    dataset = results.read(shard.key)
    provenance = store.provenance(dataset)
    if wrong == "activation":
        dataset["activation"][1, 0] += 0.01
    elif wrong == "code":
        dataset["codes"][:] = dataset["codes"].values[:, ::-1]
    else:
        dataset["codes"][:] = dataset["codes"].values[::-1]
    results.write(shard.key, dataset.drop_attrs(), provenance)
    with pytest.raises(AuditError, match=f"of {shard.key}: . of 6 numbers differ.*recompute"):
        checked([shard], copied, tiny_zoo, sample=6)


def test_shards_of_different_shape_are_not_mixed(finished: Path, tiny_zoo: Path) -> None:
    other = replace(small_plan()[0], seeds=(5,), search=Search(generations=1))
    found = base.read(small_plan(), zoos.load_zoo("shapes", tiny_zoo), finished)
    with pytest.raises(ValueError, match="same conditions"):
        Shard.joined([*small_plan(), other], [*found, found[0]])


def test_codes_of_different_sizes_are_padded(
    finished: Path, tiny_zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = small_plan()
    read = Store.read

    def shorter(self: Store, key: str, expect: dict) -> xr.Dataset:
        dataset = read(self, key, expect)
        return dataset.isel(code=slice(10)) if key == plan[1].key else dataset

    monkeypatch.setattr(Store, "read", shorter)
    found = collected(plan, finished, tiny_zoo)
    assert found["codes"].dtype == np.float16
    assert found["code_size"].values.tolist() == [found.sizes["code"], 10]
    assert np.isnan(found["codes"].values[1, ..., 10:]).all()
    assert np.isfinite(found["codes"].values[0]).all()


def command(zoo: Path, out: Path, *more: str) -> list[str]:
    words = sweep_words(zoo, out, 16, "--threads", "1", *more)
    return [sys.executable, "-m", "signseg_utils", "sweep", *words]


def test_killed_command_given_again_equals_the_uninterrupted_one(
    tiny_zoo: Path, tmp_path: Path
) -> None:
    """SIGKILL while the second shard runs; the first is not repeated, the files are equal."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    first, second = (
        replace(shard, search=Search(generations=16, population=4)).key for shard in small_plan()
    )
    process = subprocess.Popen(
        command(tiny_zoo, killed), env=environment, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    partial = Store(killed).partial_path(second)
    while not partial.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the sweep ended before it could be killed"
    assert partial.exists()
    assert not Store(killed).path(second).exists()
    untouched = Store(killed).path(first).stat().st_mtime_ns

    again = subprocess.run(
        command(tiny_zoo, killed, "--audit", "4"), env=environment, capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    assert "audit: 4 activations agree" in again.stdout
    assert Store(killed).path(first).stat().st_mtime_ns == untouched
    assert not partial.exists()

    made(small_plan(search=Search(generations=16, population=4)), whole, tiny_zoo)
    assert contents(killed) == contents(whole)


def test_command_refuses_what_does_not_exist(
    tmp_path: Path, tiny_zoo: Path, capsys: pytest.CaptureFixture
) -> None:
    from signseg_utils.cli.sweep import main

    for option, value, said in (
        ("--units", "red disk", "unit of zoo shapes"),
        ("--alphas", "1.2", "between 0 and 1"),
        ("--zoo", "shape", "zoo among"),
    ):
        with pytest.raises(SystemExit):
            main([option, value, "--out", str(tmp_path)])
        assert said in capsys.readouterr().err


def test_command_runs_in_process(
    tmp_path: Path, tiny_zoo: Path, capsys: pytest.CaptureFixture
) -> None:
    from signseg_utils.cli.sweep import main

    arguments = command(tiny_zoo, tmp_path)[4:]
    arguments[arguments.index("--generations") + 1] = "2"
    main([*arguments, "--audit", "2"])
    shown = capsys.readouterr().out
    assert "2 shards in" in shown
    assert "audit: 2 activations agree" in shown


def test_missing_weights_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make zoo"):
        made(small_plan(), tmp_path, tmp_path / "empty")


def test_a_chapter_obtains_shipped_searches_or_makes_its_own(
    tiny_zoo: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo/shapes").symlink_to(tiny_zoo)
    (tmp_path / "results").mkdir()
    (tmp_path / "results/shapes").symlink_to(finished)
    monkeypatch.setenv("SIGNSEG_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(reads.VARIABLE, str(tmp_path / "reads.txt"))
    plan, zoo = small_plan(), zoos.load_zoo("shapes")
    shown = base.obtain(plan, zoo)
    assert shown.source == "shipped" and shown.folder == tmp_path / "results/shapes"
    asked = reads.told(tmp_path / "reads.txt")
    assert set(asked) == {f"shapes/{one.key}.zarr.zip" for one in plan}
    assert reads.unchanged(asked) and reads.ABSENT not in asked.values()
    other = base.obtain(plan, zoo, recompute=True)
    assert other.source == "recomputed" and other.folder == Path("runs/shapes")
    for one, two in zip(shown.found, other.found, strict=True):
        xr.testing.assert_equal(one, two)
    mine = base.obtain(plan, zoo, tmp_path / "mine")
    assert (mine.folder, mine.source) == (tmp_path / "mine", "recomputed")


def test_a_damaged_shipped_shard_is_made_anew_beside_it(
    tiny_zoo: Path, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data/results").mkdir(parents=True)
    (tmp_path / "data/results/shapes").symlink_to(copied)
    monkeypatch.setenv("SIGNSEG_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    plan, zoo = small_plan(), zoos.load_zoo("shapes", tiny_zoo)
    whole = base.read(plan, zoo, copied)
    file = Store(copied).path(plan[1].key)
    file.write_bytes(file.read_bytes()[:-1])
    before = contents(copied)
    with pytest.warns(UserWarning, match=f"{plan[1].key}.*damaged"):
        own = base.obtain(plan, zoo)
    assert own.source == "recomputed" and contents(copied) == before
    assert own.damaged == [file.name] and not own.unfit
    assert set(contents(own.folder)) == {file.name}
    for one, two in zip(own.found, whole, strict=True):
        xr.testing.assert_equal(one, two)
    assert own.told == "shipped but for 1"
    results._record("03_a", [results.Audited(plan, own, [])], 0)
    record = json.loads(Path("03_a.audit.json").read_text())
    assert record["source"] == "shipped" and record["shards"] == len(plan) - 1
    assert record["damaged"] == [file.name]


def test_shipped_shards_of_other_weights_are_named(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data/results").mkdir(parents=True)
    (tmp_path / "data/results/shapes").symlink_to(copied)
    monkeypatch.setenv("SIGNSEG_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    plan, zoo = small_plan()[:1], zoos.load_zoo("shapes", make_tiny_zoo(tmp_path / "other", 1))
    with pytest.warns(UserWarning, match="recomputed now"):
        own = base.obtain(plan, zoo)
    assert own.told == own.source == "recomputed"
    assert own.unfit == [Store(copied).path(plan[0].key).name] and not own.damaged
