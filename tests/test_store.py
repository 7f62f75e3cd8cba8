"""The store keeps what was written, and never hands out anything else."""

import errno
import os
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from zarr.storage import ZipStore

from signseg_utils.files import store as store_module
from signseg_utils.files.store import (
    DamagedShard,
    ForeignShard,
    MissingShard,
    Store,
    UnwritableStore,
    content_sha256,
    provenance,
)

PROVENANCE = {"network": "toy", "seeds": (0, 1), "fingerprint": "abc", "alpha": 0.5}


def example(seed: int = 0) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    return xr.Dataset(
        {
            "codes": (("condition", "seed", "code"), rng.normal(size=(3, 2, 7)).astype("float16")),
            "activation": (("condition", "seed"), rng.normal(size=(3, 2)).astype("float32")),
            "trace": (("condition", "seed", "generation"), np.full((3, 2, 4), np.nan, "f4")),
        },
        coords={"condition": ["intact", "positive 0.5", "négatif"], "seed": [0, 1]},
        attrs={"note": "toy"},
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def test_round_trip_keeps_values_types_and_labels(store: Store) -> None:
    store.write("a", example(), PROVENANCE)
    back = store.read("a", PROVENANCE)
    for name, variable in example().variables.items():
        np.testing.assert_array_equal(back[name].values, variable.values)
        assert back[name].dtype.kind == variable.dtype.kind
    assert back["codes"].dtype == np.float16
    assert back.attrs["note"] == "toy"
    assert provenance(back) == {**PROVENANCE, "seeds": [0, 1]}
    assert store.keys() == ("a",)


def test_same_dataset_gives_same_bytes(store: Store) -> None:
    first = store.write("a", example(), PROVENANCE).read_bytes()
    time.sleep(0.01)
    second = store.write("b", store.read("a").drop_attrs().assign_attrs(note="toy"), PROVENANCE)
    assert second.read_bytes() == first
    assert store.write("a", example(seed=1), PROVENANCE).read_bytes() != first


def test_zarr_and_xarray_read_it_without_this_module(store: Store) -> None:
    path = store.write("a", example(), PROVENANCE)
    with ZipStore(path, mode="r") as opened:
        plain = xr.open_zarr(opened, consolidated=False, chunks=None).load()
    np.testing.assert_array_equal(plain["activation"], example()["activation"])


def test_codes_are_compressed(store: Store) -> None:
    smooth = xr.Dataset({"codes": (("row", "code"), np.zeros((100, 1000), "float32"))})
    assert store.write("a", smooth, {}).stat().st_size < 20_000


def test_missing_shard_is_named(store: Store) -> None:
    with pytest.raises(MissingShard, match="shard 'nowhere'"):
        store.read("nowhere")
    assert not store.has("nowhere")


@pytest.mark.parametrize("kept", [0, 1, 40, 0.5, 0.99])
def test_truncated_shard_is_refused(store: Store, kept: float) -> None:
    path = store.write("a", example(), PROVENANCE)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept < 1 else int(kept)])
    with pytest.raises(DamagedShard, match="shard 'a' is damaged"):
        store.read("a", PROVENANCE)
    assert not store.has("a", PROVENANCE)


def test_every_flipped_bit_is_noticed(store: Store) -> None:
    path = store.write("a", example(), PROVENANCE)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    places = {0, len(content) - 1, len(content) - 72, *rng.integers(0, len(content), 60).tolist()}
    for place in places:
        altered = bytearray(content)
        altered[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(altered)
        with pytest.raises(DamagedShard, match="shard 'a'"):
            store.read("a", PROVENANCE)


def test_what_is_no_shard_is_refused(store: Store, tmp_path: Path) -> None:
    store.folder.mkdir()
    store.path("text").write_text("not a zip")
    with pytest.raises(DamagedShard, match="shard 'text'"):
        store.read("text")
    with zipfile.ZipFile(store.path("zip"), "w") as archive:
        archive.writestr("zarr.json", "{}")
    with pytest.raises(DamagedShard, match="shard 'zip'"):
        store.read("zip")


def test_resealed_but_altered_values_are_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checksum inside holds even if somebody repacks the file with a fresh seal."""
    wrong = example().assign_attrs(provenance="{}", content_sha256=content_sha256(example()))
    store.folder.mkdir()
    store.path("a").write_bytes(store_module._sealed_zip(wrong))
    with pytest.raises(DamagedShard, match="checksum inside"):
        store.read("a")


@pytest.mark.parametrize(
    ("field", "value"),
    [("network", "other"), ("seeds", (0, 1, 2)), ("alpha", 0.6), ("unheard_of", 1)],
)
def test_foreign_shard_is_refused_and_the_field_named(
    store: Store, field: str, value: object
) -> None:
    store.write("a", example(), PROVENANCE)
    with pytest.raises(ForeignShard, match=rf"shard 'a' is foreign.*{field}: expected"):
        store.read("a", {**PROVENANCE, field: value})
    assert store.has("a", {"network": "toy"})


def test_shard_under_another_name_is_foreign(store: Store) -> None:
    store.write("a", example(), {**PROVENANCE, "key": "a"})
    shutil.copy(store.path("a"), store.path("b"))
    with pytest.raises(ForeignShard, match="shard 'b'.*key"):
        store.read("b", {"key": "b"})


def test_unwritable_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnwritableStore, match="nothing stored before is lost"):
        Store(tmp_path / "file").write("a", example(), PROVENANCE)


def test_full_disk_loses_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = store.write("a", example(), PROVENANCE).read_bytes()
    store.write_partial("a", {"mean": torch.ones(3)}, PROVENANCE)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store_module.os, "fsync", full)
    with pytest.raises(UnwritableStore, match="the disk is full") as caught:
        store.write("a", example(seed=1), PROVENANCE)
    assert caught.value.errno == errno.ENOSPC
    assert store.path("a").read_bytes() == before
    assert store.read_partial("a", PROVENANCE) is not None
    assert {file.name for file in store.folder.iterdir()} == {
        store.path("a").name,
        store.partial_path("a").name,
    }


def test_a_write_that_does_not_verify_is_not_renamed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_sealed_zip", lambda _: b"half a shard")
    with pytest.raises(DamagedShard):
        store.write("a", example(), PROVENANCE)
    assert store.keys() == ()
    assert list(store.folder.iterdir()) == []


def test_old_temporary_files_are_cleared(store: Store) -> None:
    store.folder.mkdir()
    old = store.folder / f".{store.path('a').name}.dead.tmp"
    young = store.folder / f".{store.path('a').name}.busy.tmp"
    for file in (old, young):
        file.write_text("")
    os.utime(old, (0, 0))
    store.write("a", example(), PROVENANCE)
    assert not old.exists()
    assert young.exists()


def test_partial_round_trip_and_end(store: Store) -> None:
    assert store.read_partial("a") is None
    state = {
        "mean": torch.randn(4, 3),
        "half": torch.randn(2).to(torch.bfloat16),
        "generation": 7,
        "sigma": 0.1 + 0.2,
    }
    store.write_partial("a", state, PROVENANCE)
    back = store.read_partial("a", PROVENANCE)
    assert back is not None
    assert back["generation"] == 7
    assert back["sigma"] == state["sigma"]
    assert torch.equal(back["mean"], state["mean"])
    assert torch.equal(back["half"], state["half"])
    store.write("a", example(), PROVENANCE)
    assert store.read_partial("a") is None


def test_partial_damaged_or_foreign_is_refused(store: Store) -> None:
    path = store.write_partial("a", {"mean": torch.randn(64), "generation": 3}, PROVENANCE)
    with pytest.raises(ForeignShard, match="network: expected"):
        store.read_partial("a", {"network": "other"})
    content = bytearray(path.read_bytes())
    content[-5] ^= 4
    path.write_bytes(content)
    with pytest.raises(DamagedShard, match="shard 'a'"):
        store.read_partial("a", PROVENANCE)
    path.write_bytes(content[:30])
    with pytest.raises(DamagedShard, match="shard 'a'"):
        store.read_partial("a", PROVENANCE)


@pytest.mark.parametrize("key", ["", ".hidden", "a/b", "../a", "a b"])
def test_keys_that_are_no_file_names_are_refused(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="expected a key"):
        store.write(key, example(), {})


def test_provenance_must_be_plain(store: Store) -> None:
    with pytest.raises(TypeError, match="expected provenance"):
        store.write("a", example(), {"network": object()})
