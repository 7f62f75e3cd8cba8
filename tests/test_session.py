"""A session with a rig: the same search as in the computer, resumable after being killed."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from signseg_utils.generators.spectral import Spectral
from signseg_utils.neurons.simulated import Cell, Simulated
from signseg_utils.search.evolution import Search, evolve
from signseg_utils.search.rig import MANIFEST, Session, SessionError, read_images

GENERATIONS = 5
SEARCH = Search(generations=GENERATIONS, population=6)


def make_generator():
    return Spectral.pink(24, components=9)


def make_neuron():
    return Simulated({"n": Cell(0.5, 0.5, 0.3, "red disc")}, image_size=24)


def make(folder, **changes):
    given = dict(generator=make_generator(), search=SEARCH, seeds=(1, 2), labels=("a", "b"))
    return Session(folder, **{**given, **changes})


def rates_of(batch):
    """What the rig measures: two repeats of each image, one lost now and then."""
    rates = make_neuron().responses(read_images(batch))[:, 0].double().numpy()
    repeats = np.stack([rates * 1.1, rates * 0.9], 1)
    repeats[3, 0] = np.nan if batch.generation else repeats[0, 0]
    return repeats


def write_rates(path, batch, repeats):
    lines = ["name,rate,repeat"]
    for name, row in zip(batch.names, repeats, strict=True):
        lines += [f"{name},{'' if np.isnan(v) else repr(float(v))},{i}" for i, v in enumerate(row)]
    path.write_text("\n".join(lines) + "\n")


def drive(session, repeats=rates_of):
    while not session.done:
        batch = session.ask()
        session.tell(repeats(batch) if len(batch.names) > 3 else np.ones(len(batch.names)))
    return session.found()


def test_images_and_manifest_lie_in_the_folder(tmp_path):
    session = make(tmp_path)
    session.tell(np.arange(len(session.ask().names)))
    batch = session.ask()
    assert batch.generation == 1 and len(batch.names) == 2 * 6
    rows = list(csv.DictReader((batch.folder / MANIFEST).open()))
    assert [row["name"] for row in rows] == list(batch.names)
    assert [row["label"] for row in rows] == ["a"] * 6 + ["b"] * 6
    codes = session.optimizer.ask()
    shown = make_generator()(codes.reshape(12, -1))
    assert (read_images(batch).float() / 255 - shown).abs().max() <= 0.5 / 255 + 1e-6
    with Image.open(batch.files[0]) as image:
        assert image.size == (24, 24) and image.mode == "RGB"
    assert not [file for file in batch.folder.iterdir() if file.name.startswith(".")]


def test_the_same_search_as_in_the_computer(tmp_path):
    """Scores without rounding to 8 bits: a session and evolve() ask for the same codes."""
    neuron, generator = make_neuron(), make_generator()
    session = Session(tmp_path, generator, SEARCH, seeds=(1,))
    while not session.done:
        session.ask()
        codes = session.optimizer.ask()[0]
        session.tell(neuron.responses(torch.cat([generator(code[None]) for code in codes]))[:, 0])
    within = evolve(neuron.readout(), neuron, generator, (1,), SEARCH)
    assert torch.equal(session.found().codes.half().float(), within.codes)
    best = session.found().trace.cummax(1).values
    torch.testing.assert_close(best, within.trace, rtol=1e-4, atol=1e-5)


def test_csv_mapping_and_array_agree(tmp_path):
    forms = {"array": [], "csv": [], "mapping": []}
    for form, kept in forms.items():
        session = make(tmp_path / form)
        while not session.done:
            batch = session.ask()
            repeats = rates_of(batch) if batch.generation else np.ones((len(batch.names), 2))
            if form == "csv":
                write_rates(batch.folder / "rates.csv", batch, repeats[:, ::-1])
                session.tell()
            elif form == "mapping":
                session.tell(dict(reversed(list(zip(batch.names, repeats, strict=True)))))
            else:
                session.tell(repeats)
        kept.append(session.found())
    for form in ("csv", "mapping"):
        assert torch.equal(forms[form][0].final_codes, forms["array"][0].final_codes)
        assert torch.equal(forms[form][0].codes, forms["array"][0].codes)


def test_rates_grow_and_are_averaged_over_repeats(tmp_path):
    session = make(tmp_path, search=Search(generations=12, population=10))
    found = drive(session)
    assert (found.mean_trace[:, -1] > 1.05 * found.mean_trace[:, 0]).all()
    assert torch.equal(found.trace.max(1).values, found.rates)
    told = list(csv.DictReader((tmp_path / "generation_003" / "told.csv").open()))
    batch_rates = [float(row["rate"]) for row in told]
    assert max(batch_rates[:10]) == pytest.approx(found.trace[0, 3].item(), rel=1e-5)
    assert told[3]["repeats"] == "1" and told[4]["repeats"] == "2"


def test_lost_images_rank_last(tmp_path):
    lost, worst = make(tmp_path / "lost"), make(tmp_path / "worst")
    for session, value in ((lost, np.nan), (worst, -50.0)):
        while not session.done:
            batch = session.ask()
            rates = rates_of(batch)[:, 1] if batch.generation else np.ones(len(batch.names))
            if batch.generation:
                rates[[2, 7, 8]] = value
            session.tell(rates)
    assert torch.equal(lost.found().final_codes, worst.found().final_codes)
    assert lost.found().mean_trace.isfinite().all()
    assert (lost.found().mean_trace[:, 1:] > worst.found().mean_trace[:, 1:]).all()


def test_a_session_goes_on_after_each_generation(tmp_path):
    whole = drive(make(tmp_path / "whole"))
    for _ in range(GENERATIONS):
        session = make(tmp_path / "parts")
        batch = session.ask()
        again = make(tmp_path / "parts")  # another process: images asked for, rates told by it
        again.tell(rates_of(batch) if batch.generation else np.ones(len(batch.names)))
    parts = make(tmp_path / "parts")
    assert parts.done
    for name in ("codes", "final_codes", "rates", "trace", "mean_trace"):
        assert torch.equal(getattr(parts.found(), name), getattr(whole, name)), name


def test_asking_again_or_after_a_loss_gives_the_same_images(tmp_path):
    session = make(tmp_path)
    session.tell(np.arange(len(session.ask().names)))
    batch = session.ask()
    before = read_images(batch)
    batch.files[4].unlink()  # killed or tidied away before all were shown
    (batch.folder / MANIFEST).unlink()
    again = make(tmp_path).ask()
    assert again.names == batch.names and torch.equal(read_images(again), before)


def test_killed_at_any_moment_and_resumed_equals_uninterrupted(tmp_path):
    """A process asks and tells, and is killed without warning; another one goes on."""
    whole = drive(make(tmp_path / "whole"))
    folder = tmp_path / "killed"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    worker = subprocess.Popen([sys.executable, __file__, str(folder)], env=environment)
    while worker.poll() is None:
        if len(list((folder / "generation_002").glob("*.png"))) >= 5:  # amid writing, or just after
            worker.send_signal(signal.SIGKILL)
            break
        time.sleep(0.001)
    assert worker.wait(timeout=60) == -signal.SIGKILL
    resumed = make(folder)
    assert 2 <= resumed.generation < GENERATIONS
    drive(resumed)
    for name in ("codes", "final_codes", "rates", "trace"):
        assert torch.equal(getattr(resumed.found(), name), getattr(whole, name)), name


def test_wrong_rates_are_refused_and_nothing_changes(tmp_path):
    session = make(tmp_path)
    with pytest.raises(FileNotFoundError, match="ask"):
        session.tell([1.0, 2.0])
    session.tell([1.0, 2.0] if len(session.ask().names) == 2 else np.ones(12))
    batch = session.ask()
    good = dict.fromkeys(batch.names, 1.0)
    with pytest.raises(FileNotFoundError, match="rates.csv"):
        session.tell()
    with pytest.raises(SessionError, match="of 12 images"):
        session.tell(np.ones(11))
    with pytest.raises(SessionError, match="another generation"):
        session.tell({**good, "gen000_00_000.png": 1.0})
    with pytest.raises(SessionError, match="1 are missing, such as gen001_01_005.png"):
        session.tell(dict.fromkeys(batch.names[:-1], 1.0))
    with pytest.raises(SessionError, match="all are NaN"):
        session.tell(np.full(12, np.nan))
    half = np.arange(12.0)
    half[6:10] = np.nan
    with pytest.raises(SessionError, match="images of b .*67% are NaN"):
        session.tell(half)
    with pytest.raises(SessionError, match="infinity for gen001_00_001.png"):
        session.tell(np.where(np.arange(12) == 1, np.inf, 1.0))
    wrong = tmp_path / "wrong.csv"
    wrong.write_text(f"name,rate\n{batch.names[0]},many\n")
    with pytest.raises(SessionError, match="line 2 .*'many'"):
        session.tell(wrong)
    wrong.write_text(f"image,rate\n{batch.names[0]},1\n")
    with pytest.raises(SessionError, match="columns name and rate"):
        session.tell(wrong)
    assert session.generation == 1 == make(tmp_path).generation
    session.tell(good)
    assert make(tmp_path).generation == 2


def test_another_session_or_a_damaged_state_is_refused(tmp_path):
    session = make(tmp_path)
    session.tell(np.ones(len(session.ask().names)))
    with pytest.raises(SessionError, match="seeds"):
        make(tmp_path, seeds=(1, 3))
    with pytest.raises(SessionError, match="population"):
        make(tmp_path, search=Search(generations=GENERATIONS, population=8))
    with pytest.raises(SessionError, match="generator weights"):
        make(tmp_path, generator=Spectral.pink(20, components=9))
    with pytest.raises(SessionError, match="one label for each"):
        make(tmp_path, labels=("a",))
    state = next(tmp_path.glob("*.safetensors"))
    content = bytearray(state.read_bytes())
    content[-3] ^= 1
    state.write_bytes(bytes(content))
    with pytest.raises(SessionError, match="restore it from a backup"):
        make(tmp_path)


def test_a_finished_session_asks_no_more(tmp_path):
    session = make(tmp_path, search=Search(generations=1, population=6))
    drive(session)
    with pytest.raises(SessionError, match="all 1 were told"):
        session.ask()


if __name__ == "__main__":  # the process that test_killed_at_any_moment... kills
    torch.set_num_threads(1)
    drive(make(Path(sys.argv[1])))
