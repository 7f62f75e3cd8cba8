"""Bad input is refused in words at every door; nothing is run, lost or written elsewhere."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import bad_inputs
import numpy as np
import pytest
import torch
from bad_inputs import DOORS, ROWS, Bad, Site
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from signseg_utils.basics.refusals import Refusal
from signseg_utils.chapter import parameters
from signseg_utils.files import images, store
from signseg_utils.neurons import recordings

SECONDS = 20  # no door takes as long to refuse anything


@pytest.fixture
def site(tmp_path: Path, tiny_zoo: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Folders of one row, and a process that finds nothing but them and the shipped weights."""
    for name in ("folder", "out", "elsewhere", "data"):
        (tmp_path / name).mkdir()
    (tmp_path / "data" / "zoo").symlink_to(bad_inputs.ROOT / "data" / "zoo")
    for name, value in {
        "SIGNSEG_DATA": tmp_path / "data",
        "SIGNSEG_CACHE": tmp_path / "out" / "cache",
        "SIGNSEG_DATASETS": tmp_path / "out" / "datasets",
        "SIGNSEG_OFFLINE": "1",
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("SIGNSEG_MIRROR", raising=False)
    monkeypatch.chdir(tmp_path / "elsewhere")
    return Site(tmp_path / "folder", tmp_path / "out", tiny_zoo)


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    def late(*_: object) -> None:
        raise AssertionError(f"expected a refusal within {SECONDS} s; there was none")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def held(site: Site) -> dict[str, tuple[int, int]]:
    """Everything in the folders of a row but what lies in its output: path to size and time."""
    found = {}
    for folder, folders, files in os.walk(site.folder.parent):
        if Path(folder) == site.folder.parent:
            folders.remove(site.out.name)
        for name in (*folders, *files):
            path = Path(folder, name)
            about = path.lstat()
            size = 0 if path.is_dir() else about.st_size
            found[str(path)] = (size, 0 if path.is_dir() else about.st_mtime_ns)
    return found


def refusal(site: Site, row: Bad) -> str:
    """What the door says; asserts that it refuses, and that nothing outside its output changed."""
    given = row.make(site)
    before = held(site)
    with pytest.raises(row.error) as caught:
        DOORS[row.door](site, given)
    assert isinstance(caught.value, Refusal | bad_inputs.Refused), "not meant for a user"
    assert held(site) == before
    assert not Path(bad_inputs.EXECUTED).exists()
    return str(caught.value)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_bad_input_is_refused_in_words(row: Bad, site: Site) -> None:
    said = refusal(site, row)
    missing = [word for word in row.words if word not in said]
    assert not missing, f"{missing} not in: {said}"
    usage = row.door == "command" and "usage:" in said  # what the command itself expects
    assert usage or "expected" in said, said


def test_the_table_is_large_and_names_each_row_once() -> None:
    assert len(ROWS) >= 120
    twice = [name for name, count in Counter(map(str, ROWS)).items() if count > 1]
    assert not twice
    assert {row.door for row in ROWS} == set(DOORS)


# ---------------------------------------------------------------- fuzzing

# Door -> what is good there, made in a site; its file is spoilt, byte by byte.
GOOD = {
    "csv": bad_inputs.table,
    "npz": bad_inputs._arrays(),
    "nwb": bad_inputs._nwb(),
    "notebook": bad_inputs._notebook(bad_inputs._PARAMETERS),
    "ledger": bad_inputs._text("a.ledger.json", "[]"),
    "image": lambda site: (bad_inputs.table(site), site.folder / "3.png")[1],
    "network": lambda site: bad_inputs._weights()(site) / "alexnet.safetensors",
    "manifest": lambda site: bad_inputs._weights()(site) / "alexnet.json",
    "user's weights": bad_inputs._torch(bad_inputs._GOOD),
    "compact model": bad_inputs._torch(bad_inputs._GOOD, zipped=False),
    "shard": lambda site: bad_inputs._stored()(site).path("a"),
    "checkpoint": lambda site: bad_inputs._checkpoint()(site).partial_path("a"),
    "profile": lambda site: (
        bad_inputs._profile(
            "03_the_ablation_sweep:\n  shapes: {seeds: '0,1', units: [a, b], generations: 3}\n"
        )(site)
        / "profiles"
        / "mine.yaml"
    ),
    "rig": lambda site: bad_inputs._begun()(site)["folder"] / "session.partial.safetensors",
}
# What the door takes, given that file.
TAKEN = {
    "image": lambda path: path.with_name("mine.csv"),
    "network": lambda path: path.parent,
    "manifest": lambda path: path.parent,
    "shard": lambda path: store.Store(path.parent),
    "checkpoint": lambda path: store.Store(path.parent),
    "profile": lambda path: path.parent.parent,
    "rig": lambda path: {"folder": path.parent},
}
SEALED = ("shard", "checkpoint", "rig", "network")  # any changed byte is refused

PLACE = st.floats(0, 1, exclude_max=True)
EDIT = st.one_of(
    st.tuples(st.just("flip"), PLACE, st.integers(1, 255)),
    st.tuples(st.just("cut"), PLACE, st.just(0)),
    st.tuples(st.just("insert"), PLACE, st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("drop"), PLACE, st.integers(1, 40)),
)


def spoilt(content: bytes, edits: list[tuple]) -> bytes:
    for kind, share, how in edits:
        place = int(share * len(content))
        if kind == "flip" and content:
            content = content[:place] + bytes([content[place] ^ how]) + content[place + 1 :]
        elif kind == "cut":
            content = content[:place]
        elif kind == "insert":
            content = content[:place] + how + content[place:]
        elif kind == "drop":
            content = content[:place] + content[place + how :]
    return content


@pytest.mark.parametrize("door", GOOD)
def test_spoilt_files_are_read_or_refused_in_words(door: str, site: Site) -> None:
    path = GOOD[door](site)
    taken = TAKEN.get(door, lambda path: path)(path)
    good = path.read_bytes()
    knock = DOORS["network" if door == "manifest" else door]
    knock(site, taken)  # what is good passes

    @settings(max_examples=25, deadline=None, derandomize=True, database=None)
    @given(st.lists(EDIT, min_size=1, max_size=3))
    def try_it(edits: list[tuple]) -> None:
        content = spoilt(good, edits)
        path.write_bytes(content)
        before = held(site)
        try:
            knock(site, taken)
            assert content == good or door not in SEALED, "took a file with a changed byte"
        except Refusal as error:
            assert "expected" in str(error)
        assert held(site) == before

    try_it()


VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.text("0123456789.,:-einfa ", max_size=12),
    st.lists(st.floats(), max_size=3),
    st.lists(st.text(max_size=4), max_size=3),
    st.dictionaries(st.text(max_size=2), st.floats()),
)


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.sampled_from(range(1, 16)), st.data())
def test_any_value_of_a_parameter_is_taken_or_refused_by_name(
    site: Site, number: int, data: st.DataObject
) -> None:
    declared = bad_inputs._declared(number)
    name = data.draw(st.sampled_from(sorted(declared)))
    value = data.draw(VALUE)
    try:
        parameters.cast(declared, {name: value})
    except Refusal as error:
        assert "expected" in str(error) and name.rstrip("s") in str(error)


# ---------------------------------------------------------------- what is unusual but good


def test_tables_of_other_programs_are_read(site: Site) -> None:
    plain = recordings.load(str(bad_inputs.table(site)))
    text = (site.folder / "mine.csv").read_text()
    for how in (
        text.encode("utf-8-sig"),
        text.replace("\n", "\r\n").encode(),
        text.replace(",", " , ").encode(),
        text.replace("path,n1", '"path","n1"').encode(),
        (text + "\n\n").encode(),
    ):
        (site.folder / "mine.csv").write_bytes(how)
        assert recordings.load(str(site.folder / "mine.csv")).identical(plain)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
def test_opaque_images_of_8_bits_keep_their_pixels(mode: str) -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8) * 3
    image = Image.fromarray(grey).convert(mode)
    shown = images.decode(bad_inputs._saved(image, "PNG"), "a.png")
    assert torch.equal(shown, torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1))
