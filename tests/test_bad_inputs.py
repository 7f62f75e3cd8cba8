"""Bad input is refused in words, wherever it comes in; nothing is run, lost or written elsewhere."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import bad_inputs
import pytest
from bad_inputs import DOORS, ROWS, Bad, Site

from signseg_utils.refusals import Refusal

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
