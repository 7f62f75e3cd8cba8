"""Recordings: what fits is read as it is, what does not fit is refused or told."""

import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from conftest import needs_data
from PIL import Image

from signseg_utils.files import fetch
from signseg_utils.neurons import pictures, recordings, tables, v4


def made(images: int = 30, neurons: int = 4, repeats: int = 0, seed: int = 0) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    shape = (images, neurons, repeats) if repeats else (images, neurons)
    names = [f"{i}.png" for i in range(images)]
    about = {"area": "V4", "animal": ["a", "b"] * (neurons // 2), "session": "s1"}
    return recordings.recording(rng.poisson(5, shape), names, paths=names, about=about)


def v4_files(folder: Path, images: int = 25, neurons: int = 3, first: int = 1) -> np.ndarray:
    """Files as the source has them; pixel values tell the number, the zip's order is reversed."""
    values = np.random.default_rng(0).poisson(4, (neurons, images)).astype(float)
    np.save(folder / "responses_190923.npy", values)
    with zipfile.ZipFile(folder / "images_190923.zip", "w") as archive:
        archive.writestr("images_190923/", b"")
        for number in reversed(range(first, images + first)):
            Image.new("RGB", (8, 8), (10 * number, 0, 0)).save(folder / "one.png")
            archive.write(folder / "one.png", f"images_190923/image{number:04d}.png")
    return values


def test_v4_images_go_by_number_not_by_order(tmp_path: Path) -> None:
    values = v4_files(tmp_path)
    found = v4.read(["190923"], tmp_path)
    assert np.array_equal(found["response"].values, values.T)
    seen = pictures.pictures(found)
    assert seen.shape == (25, 3, 8, 8)
    assert seen[:, 0, 0, 0].tolist() == [10 * number % 256 for number in range(1, 26)]
    assert set(found["animal"].values) == {"WE"} and set(found["area"].values) == {"V4"}
    assert pictures.pictures(found, 4).shape == (25, 3, 4, 4)


def test_v4_refuses_images_that_do_not_match(tmp_path: Path) -> None:
    v4_files(tmp_path, first=0)  # numbered from 0: column and image would be off by one
    with pytest.raises(recordings.RecordingError, match="without number 25"):
        v4.read_session("190923", tmp_path)
    with pytest.raises(recordings.RecordingMissing, match="signseg fetch --v4 190925"):
        v4.read(["190925"], tmp_path)


def test_v4_as_published() -> None:
    try:
        found = recordings.load("v4", ["190923", "210225"])
    except recordings.RecordingMissing as missing:
        needs_data(missing)
    own = dict(recordings.by_session(found))
    assert own["190923"]["response"].shape == (1200, 33)
    assert own["210225"]["response"].shape == (1200, 55)
    assert not np.isnan(own["210225"]["response"]).any()
    assert set(own["210225"]["animal"].values) == {"PE"}
    for name in v4.files("190923"):  # what is on record is what is published
        entry = v4.remotes(["190923"])[name]
        assert (v4.folder() / name).stat().st_size == entry.size


def test_v4_download_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    v4_files(mirror)
    monkeypatch.setenv(fetch.MIRROR, str(mirror))
    monkeypatch.setenv(fetch.OFFLINE, "1")
    with pytest.raises(fetch.WrongHash, match="published"):
        v4.fetch(["190923"], tmp_path / "got")
    unknown = "responses_210305.npy"  # no hash is published: the first one is recorded
    (mirror / unknown).write_bytes(b"one")
    (mirror / "images_210305.zip").write_bytes(b"two")
    v4.fetch(["210305"], tmp_path / "got")
    (mirror / unknown).write_bytes(b"another")
    with pytest.raises(fetch.WrongHash, match="recorded"):
        v4.fetch(["210305"], tmp_path / "got")


@pytest.mark.parametrize("repeats", [0, 3])
def test_tables_give_back_what_was_written(tmp_path: Path, repeats: int) -> None:
    found = made(repeats=repeats)
    if repeats:
        found["response"][3, :, 2] = np.nan  # shown twice only
    else:
        found["response"][3, 1] = np.nan
    found["path"] = ("image", [str(tmp_path / f"{i}.png") for i in range(30)])
    found = found.set_coords("path")
    again = recordings.load(str(tables.write_csv(found, tmp_path / "one.csv")))
    np.testing.assert_array_equal(again["response"], found["response"])
    for key in ("neuron", "path", *recordings.ABOUT):
        assert again[key].values.tolist() == found[key].values.tolist(), key
    assert "/" not in (tmp_path / "one.csv").read_text()  # paths are relative to the table
    assert recordings.load(str(tables.write_npz(found, tmp_path / "two.npz"))).equals(found)


def test_npz_brings_pixels_along(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (30, 3, 6, 6)).astype(np.uint8)
    found = recordings.recording(np.ones((30, 2)), [str(i) for i in range(30)], pixels=pixels)
    again = recordings.load(str(tables.write_npz(found, tmp_path / "one.npz")))
    assert torch.equal(pictures.pictures(again), torch.from_numpy(pixels))


def test_table_names_the_bad_cell(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("path,n1\na.png,1\nb.png,many\n")
    with pytest.raises(recordings.RecordingError, match="'many' in row 3"):
        recordings.load(str(tmp_path / "a.csv"))
    (tmp_path / "b.csv").write_text("file,n1\na.png,1\n")
    with pytest.raises(recordings.RecordingError, match="column 'path'"):
        recordings.load(str(tmp_path / "b.csv"))


def test_what_is_left_out_is_told() -> None:
    found = made()
    found["response"][:, 1] = 0  # silent
    found["response"][:15, 2] = np.nan  # half of its images missing
    found["response"][4, 0] = np.nan  # one image
    whole = recordings.complete(found)
    assert whole["neuron"].values.tolist() == ["neuron0", "neuron3"]
    assert whole.sizes["image"] == 29 and not np.isnan(whole["response"]).any()
    reasons = recordings.excluded(whole)
    assert set(reasons) == {"neuron neuron1", "neuron neuron2", "image 4.png"}
    assert "silent" in reasons["neuron neuron1"] and "50%" in reasons["neuron neuron2"]


def test_too_little_is_refused() -> None:
    with pytest.raises(recordings.RecordingError, match="expected 20 images or more.*got 10"):
        recordings.complete(made(images=10))
    found = made()
    found["response"][:] = 3
    with pytest.raises(recordings.RecordingError, match="all 4 are left out.*silent"):
        recordings.complete(found)
    with pytest.raises(recordings.RecordingError, match="expected 30 images.*got 29"):
        recordings.recording(np.ones((30, 2)), [str(i) for i in range(29)])
    with pytest.raises(recordings.RecordingError, match="got none but NaN"):
        recordings.recording(np.full((30, 2), np.nan), [str(i) for i in range(30)])
    with pytest.raises(recordings.RecordingError, match="more than once"):
        recordings.recording(np.ones((2, 2)), ["a", "a"])
    with pytest.raises(recordings.RecordingError, match="among: v4, simulated"):
        recordings.load("v5")


def test_repeats_are_averaged_where_they_are() -> None:
    found = made(repeats=3)
    found["response"][2, :, 1:] = np.nan
    mean = recordings.averaged(found)
    assert mean["repeats"].values[2].tolist() == [1] * 4 and mean["repeats"].values[1, 0] == 3
    np.testing.assert_allclose(mean["response"][2], found["response"][2, :, 0])
    np.testing.assert_allclose(mean["response"][1], found["response"][1].mean("repeat"))


def test_sessions_join_and_come_apart() -> None:
    first, second = made(seed=1), made(images=25, seed=2)
    second = second.assign_coords(
        image=[f"t{i}" for i in range(25)],
        neuron=[f"m{i}" for i in range(4)],
        session=("neuron", ["s2"] * 4),
    )
    both = recordings.joined([first, second])
    assert both["response"].shape == (55, 8)
    apart = dict(recordings.by_session(both))
    np.testing.assert_array_equal(apart["s1"]["response"], first["response"])
    np.testing.assert_array_equal(apart["s2"]["response"], second["response"])
    with pytest.raises(recordings.RecordingError, match="by_session"):
        recordings.complete(both)
    with pytest.raises(recordings.RecordingError, match="more than once"):
        recordings.joined([first, first])


def nwb_file(path: Path, column: str = "image") -> None:
    """Two units, three images twice each; unit 0 fires (image number) spikes, unit 1 one more."""
    from pynwb import NWBHDF5IO, NWBFile
    from pynwb.file import Subject

    content = NWBFile("test", "id1", datetime(2020, 1, 1, tzinfo=UTC), session_id="s9")
    content.subject = Subject(subject_id="m7", species="Macaca mulatta")
    content.add_trial_column(column, "image shown")
    content.add_unit_column("area", "where the unit lies")
    spikes: list[list[float]] = [[], []]
    for trial, image in enumerate([0, 1, 2, 2, 1, 0]):
        onset = float(trial)
        content.add_trial(onset, onset + 0.1, **{column: f"{image}.png"})
        for unit in range(2):
            spikes[unit] += [onset + 0.06 + 0.01 * k for k in range(image + unit)]
            spikes[unit] += [onset + 0.02, onset + 0.5]  # outside the window
    for unit, area in enumerate(("V1", "V4")):
        content.add_unit(spike_times=sorted(spikes[unit]), area=area)
    with NWBHDF5IO(str(path), "w") as file:
        file.write(content)


def test_nwb_counts_spikes_in_the_window(tmp_path: Path) -> None:
    pytest.importorskip("pynwb", reason="pip install 'signseg-utils[nwb]'")
    nwb_file(tmp_path / "a.nwb")
    found = recordings.load(str(tmp_path / "a.nwb"))
    assert found["response"].shape == (3, 2, 2)
    expected = np.array([[0, 1], [1, 2], [2, 3]])
    np.testing.assert_array_equal(found["response"], np.stack([expected] * 2, -1))
    assert found["area"].values.tolist() == ["V1", "V4"]
    assert set(found["animal"].values) == {"m7"} and set(found["session"].values) == {"s9"}
    assert found["path"].values[2] == str(tmp_path / "2.png")
    nwb_file(tmp_path / "b.nwb", column="picture")
    with pytest.raises(recordings.RecordingError, match="picture.*column="):
        recordings.load(str(tmp_path / "b.nwb"))


def test_nwb_without_pynwb_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.nwb").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pynwb", None)
    with pytest.raises(ImportError, match=r"signseg-utils\[nwb\]"):
        recordings.load(str(tmp_path / "a.nwb"))
