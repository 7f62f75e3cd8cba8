"""The public macaque V4 recordings of Cowley et al. (2023): one session, one pair of files.

``images_<session>.zip`` holds images of 112 pixels, ``responses_<session>.npy`` spike counts of
100 ms, [neuron, image] averaged over repeats or [neuron, image, repeat] with NaN where there were
fewer. The number in an image's file name, from 1, is its column, whatever the order in the zip.

Source: github.com/cowleygroup/V4_compact_models, GPL-3.0; doi:10.1101/2023.11.22.568315. Neither
images nor responses are part of this project: every user gets them from there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from signseg_utils.files import paths
from signseg_utils.files.images import open_zip
from signseg_utils.neurons.recordings import (
    RecordingError,
    RecordingMissing,
    _distinct,
    joined,
    recording,
)
from signseg_utils.neurons.tables import read_arrays

if TYPE_CHECKING:
    from signseg_utils.files.fetch import Remote

SOURCE = "github.com/cowleygroup/V4_compact_models (Cowley et al. 2023)"
LICENCE = "GPL-3.0"
ANIMALS = {"19": "WE", "20": "PE", "2102": "PE", "2103": "PE", "2106": "RA", "211": "RA"}
# Sessions that this project works with: each with 1,200 images.
SESSIONS = ("190923", "190925", "190928", "210225")
REPEATED = ("201016", "210325")  # with single repeats, too
_NUMBER = re.compile(r"(\d+)\.(?:jpe?g|png)$", re.IGNORECASE)


def folder() -> Path:
    """Where the files lie: ``v4`` in the folder of datasets."""
    return paths.dataset_folder() / "v4"


def read(sessions: Sequence[str] = (), where: Path | None = None) -> xr.Dataset:
    """Some sessions (default: all that are there) as one recording.

    Raises
    ------
    RecordingMissing
        If the files are not there.
    RecordingError
        If images and responses do not belong together.
    """
    where = folder() if where is None else where
    there = where.glob("responses_[0-9]*.npy")  # responses_raw_* hold single repeats
    found = sorted(path.stem.removeprefix("responses_") for path in there)
    wanted = list(_distinct("session", sessions)) or found
    for session in wanted or ["190923"]:
        for name in files(session):
            if not (where / name).exists():
                raise RecordingMissing(
                    f"expected {name} in {where}; it is not there; set SIGNSEG_DATASETS to the "
                    "folder that holds v4/, or fetch the files with 'signseg fetch "
                    "--v4 " + " ".join(sessions or SESSIONS) + "'"
                )
    return joined([read_session(session, where) for session in wanted])


def files(session: str, repeats: bool = False) -> tuple[str, str]:
    """Names of the two files of a session: images, responses (mean, or with single repeats)."""
    if not re.fullmatch(r"\w+", session, re.ASCII):
        raise RecordingError(
            f"expected the name of a session, letters and digits such as {SESSIONS[0]}, because it "
            f"becomes a file name; got {session!r}"
        )
    return f"images_{session}.zip", f"responses_{'raw_' if repeats else ''}{session}.npy"


def read_repeats(session: str, where: Path | None = None) -> xr.Dataset:
    """One session with its single repeats, of those that were published so (`REPEATED`).

    Raises
    ------
    RecordingMissing
        If the files are not there.
    RecordingError
        If images and responses do not belong together.
    """
    where = folder() if where is None else where
    for name in files(session, repeats=True):
        if not (where / name).exists():
            raise RecordingMissing(
                f"expected {name} in {where}, responses with single repeats; it is not there; "
                f"sessions {' and '.join(REPEATED)} were published so: set SIGNSEG_DATASETS to the "
                f"folder that holds v4/, and take the file from {SOURCE}"
            )
    return read_session(session, where, repeats=True)


def read_session(session: str, where: Path | None = None, repeats: bool = False) -> xr.Dataset:
    """One session. Errors as in `read`; `read_repeats` says which have single repeats."""
    where = folder() if where is None else where
    archive, table = (where / name for name in files(session, repeats))
    values = read_arrays(table).get("", np.empty(0))
    if values.ndim not in (2, 3):
        raise RecordingError(
            f"expected {table.name} as [neuron, image] or [neuron, image, repeat]; "
            f"got shape {values.shape}; are both files of one session, as published?"
        )
    members = _members(archive)
    expected = set(range(1, values.shape[1] + 1))
    if set(members) != expected:
        lacking = sorted(expected - set(members))
        raise RecordingError(
            f"expected images 1 to {values.shape[1]} in {archive.name}, one for each column of "
            f"{table.name}; got {len(members)}"
            + (f", without number {lacking[0]}" if lacking else "")
            + "; are both files of one session, and whole?"
        )
    ordered = [members[number] for number in sorted(members)]
    return recording(
        np.moveaxis(values, 0, 1),
        [f"{session}/{Path(name).name}" for name in ordered],
        neurons=[f"{session}/{i}" for i in range(values.shape[0])],
        paths=[str(archive / name) for name in ordered],
        about={"area": "V4", "animal": animal(session), "session": session},
        source=SOURCE,
        licence=LICENCE,
    )


def animal(session: str) -> str:
    """The animal of a session (the source's table of sessions); empty if not known."""
    known = [prefix for prefix in ANIMALS if session.startswith(prefix)]
    return ANIMALS[max(known, key=len)] if known else ""


def fetch(sessions: Sequence[str] = SESSIONS, where: Path | None = None) -> list[Path]:
    """Download sessions, checked : SHA-256, mirror folder, offline mode.

    Sessions other than `SESSIONS` have no hash on record: the first download records one, and
    another content is refused from then on.

    Raises
    ------
    signseg_utils.files.fetch.FetchError
        If a file cannot be had.
    """
    from signseg_utils.files import fetch as fetching  # what it imports is slow and seldom needed

    registry = remotes(sessions)
    where = folder() if where is None else where
    return [fetching.fetch(name, where, registry=registry) for name in registry]


def remotes(sessions: Sequence[str]) -> Mapping[str, Remote]:
    """Entries of the checked download for the files of sessions, hashes where they are known."""
    from signseg_utils.files import fetch as fetching

    base = "https://raw.githubusercontent.com/cowleygroup/V4_compact_models/HEAD/data_V4_responses"
    kinds = ("images", "responses_repeat_averaged")
    found = {}
    for session in sessions:
        for kind, name in zip(kinds, files(session), strict=True):
            size, digest = _KNOWN.get(name, (None, None))
            hashed = None if digest is None else f"sha256:{digest}"
            found[name] = fetching.Remote(f"{base}/{kind}/{name}", hashed, size, LICENCE)
    return found


def _members(archive: Path) -> dict[int, str]:
    """Number in the file name -> member of the archive."""
    with open_zip(archive) as opened:
        names = [name for name in opened.namelist() if not name.endswith("/")]
    found: dict[int, str] = {}
    for name in names:
        number = _NUMBER.search(name)
        if number is None or "__MACOSX" in name:
            continue
        if int(number[1]) in found:
            raise RecordingError(
                f"expected each number once in {archive.name}; got {found[int(number[1])]} and "
                f"{name}; which of them was shown?"
            )
        found[int(number[1])] = name
    return found


_KNOWN: Mapping[str, tuple[int, str]] = {
    "images_190923.zip": (
        4_024_034, "e99a4df1c7476bdc4d565ff4408bc421976ecc3a22c41af6bfd0cfbddb508c0c"),
    "images_190925.zip": (
        3_967_665, "765b4d4372302d4ed72c3382d41ece5ca55d7dcc3d84da7402091253529b87d1"),
    "images_190928.zip": (
        4_186_920, "6d90fdf2341e038beb57c16ce85f48c3a2bdfd450bc1c6440489529aead0f161"),
    "images_210225.zip": (
        4_137_526, "79bfb1066949a7f7bbd3c632ab420c2230b966b80cade76593d8745aea49b7f6"),
    "responses_190923.npy": (
        316_928, "741672d36541ce39930c8a3b5bd1cfd33c187aa47b1549c9c5569bc21aa97a28"),
    "responses_190925.npy": (
        345_728, "2f94d7bcef0f68fecdb7472f509737fafac92477cf6b11a4966162b1b1072529"),
    "responses_190928.npy": (
        230_528, "41707e2d31ace45da6d181ad28a91c299971d42430c91cc738602523e7d7eda6"),
    "responses_210225.npy": (
        528_128, "853f196247504fa2526b507f56ee5237711ed166f295f7cb23ec5441a7bf789b"),
}  # fmt: skip
