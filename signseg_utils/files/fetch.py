"""Every download of the project, checked; `signseg_utils.files.sources` lists what there is.

A file is looked for, in this order, in the folder of earlier downloads, in a mirror folder
(``$SIGNSEG_MIRROR``, by file name, used in place), and on the network, unless
``SIGNSEG_OFFLINE=1``. It is always verified. Where nobody published a whole hash, the first
download records one beside the file, and any other content is refused from then on.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import pooch
import requests
from filelock import FileLock

from signseg_utils.basics.progress import Work
from signseg_utils.basics.refusals import Refusal, UnknownName
from signseg_utils.basics.registry import unknown
from signseg_utils.files import paths
from signseg_utils.files.sources import REGISTRY, Remote

MIRROR, OFFLINE = "SIGNSEG_MIRROR", "SIGNSEG_OFFLINE"
_ATTEMPTS = 3
_BLOCK = 1 << 18  # bytes

__all__ = [
    "MIRROR",
    "OFFLINE",
    "REGISTRY",
    "FetchError",
    "Offline",
    "Remote",
    "WrongHash",
    "fetch",
    "located",
]


class FetchError(Refusal, RuntimeError):
    """A file could not be had; the message says how to get it by hand."""


class Offline(FetchError):
    """The network is switched off and the file is not at hand."""


class WrongHash(FetchError, ValueError):
    """The content is not what was published or recorded."""


def fetch(
    name: str,
    folder: Path | None = None,
    *,
    registry: Mapping[str, Remote] = REGISTRY,
    progress: bool = True,
) -> Path:
    """Path of a verified file, downloaded if need be.

    Parameters
    ----------
    name
        File name in ``registry``.
    folder
        Where downloads are kept; default ``downloads/`` in the cache folder.

    Raises
    ------
    KeyError
        If the registry has no such file.
    Offline
        If it is not at hand and ``SIGNSEG_OFFLINE=1``.
    WrongHash
        If a download or a mirrored file is not what was published.
    FetchError
        If the network fails; what arrived is kept and the next attempt continues from there.
    """
    if name not in registry:
        raise UnknownName(unknown("file", name, tuple(registry)))
    if Path(name).name != name:
        raise FetchError(f"expected the name of a file, not a path; got {name!r}; give the name")
    remote = registry[name]
    folder = Path(folder) if folder is not None else paths.cache_folder() / "downloads"
    target = folder / name
    if folder.exists() and not folder.is_dir():
        raise FetchError(f"expected a folder for downloads at {folder}; got a file; give another")
    mirror = os.environ.get(MIRROR)
    if mirror and not Path(mirror).is_dir():
        raise FetchError(
            f"expected a folder at {MIRROR}={mirror}, where {name} may lie; there is no such "
            "folder; mend it, or unset it"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{name}.lock"):
        if target.exists():
            _verify(target, remote, folder, "move it away, then the file is fetched anew")
            return target
        mirrored = _mirrored(name)
        if mirrored is not None and os.path.lexists(mirrored):
            _verify(mirrored, remote, folder, f"mend the mirror, or unset {MIRROR}")
            return mirrored
        if not remote.url:
            raise FetchError(
                f"expected {name} at {target}, because nobody publishes it; it is not there; make "
                f"it as the zoo that asks for it says, and put it there"
            )
        if os.environ.get(OFFLINE, "0") not in ("", "0"):
            raise Offline(
                f"expected {name} at {target}{f' or {mirrored}' if mirrored else ''}, because "
                f"{OFFLINE}={os.environ[OFFLINE]} switches downloads off; it is not there; put "
                f"the file from {remote.url} ({megabytes(remote.size)}) there, or unset {OFFLINE}"
            )
        _download(name, remote, target, progress)
        return target


def located(name: str, folder: Path | None = None) -> Path:
    """Where `fetch` finds a file, or would put it; nothing is fetched, nothing verified."""
    target = (Path(folder) if folder is not None else paths.cache_folder() / "downloads") / name
    mirrored = _mirrored(name)
    return mirrored if mirrored and mirrored.exists() and not target.exists() else target


def _mirrored(name: str) -> Path | None:
    return Path(os.environ[MIRROR]) / name if os.environ.get(MIRROR) else None


def _download(name: str, remote: Remote, target: Path, progress: bool) -> None:
    if progress:
        print(f"fetching {name} from {remote.url} ({megabytes(remote.size)}; {remote.licence})")
    part = target.with_name(f"{name}.part")
    resumed = part.exists()
    _continue_download(remote, part, progress)
    try:
        _verify(part, remote, target.parent, "it was thrown away: try again, or fetch it by hand")
    except WrongHash:
        part.unlink()
        if not resumed:
            raise
        _download(name, remote, target, progress)  # the older part may have been another version
        return
    os.replace(part, target)


def _continue_download(remote: Remote, part: Path, progress: bool) -> None:
    """Append to ``part`` until it is whole; a few attempts, each from where the last one ended."""
    for attempt in range(_ATTEMPTS):
        try:
            _stream(remote, part, progress)
            return
        except requests.RequestException as error:
            status = getattr(error.response, "status_code", None)
            if attempt + 1 == _ATTEMPTS or (status is not None and 400 <= status < 500):
                done = part.stat().st_size if part.exists() else 0
                raise FetchError(
                    f"expected to download {remote.url}; got: {error}; {done:,} bytes are kept "
                    f"and the next attempt continues; or put the file into a folder and set "
                    f"{MIRROR} to it"
                ) from error


def _stream(remote: Remote, part: Path, progress: bool) -> None:
    done = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    headers["Accept-Encoding"] = "identity"
    with requests.get(remote.url, headers=headers, stream=True, timeout=30) as answer:
        if answer.status_code == 416:  # nothing beyond what is here: let the hash decide
            return
        answer.raise_for_status()
        if "text/html" in answer.headers.get("Content-Type", ""):
            raise FetchError(
                f"expected a file at {remote.url}; got a web page, perhaps one that asks to log "
                f"in; fetch the file by hand and set {MIRROR} to its folder"
            )
        if answer.status_code != 206:
            done = 0
        length = answer.headers.get("Content-Length")
        whole = done + int(length) if length else remote.size
        with (
            open(part, "ab" if done else "wb") as file,
            Work(
                whole and whole / 1e6,
                "MB",
                part.stem,
                there=done / 1e6,
                resumes=True,
                speaks=progress,
            ) as work,
        ):
            for block in answer.iter_content(_BLOCK):
                file.write(block)
                work.advance(len(block) / 1e6)
    size = part.stat().st_size
    if whole is not None and size < whole:
        raise requests.ConnectionError(f"the connection ended after {size:,} of {whole:,} bytes")


def _verify(file: Path, remote: Remote, folder: Path, advice: str) -> None:
    """Compare with the published hash; what that leaves open, with the recorded one (or record)."""
    if not file.is_file():
        got = (
            "a folder" if file.is_dir() else "a link that leads nowhere: what it names is not there"
        )
        raise FetchError(f"expected the file {file.name} at {file}; got {got}; {advice}")
    size = f"({megabytes(file.stat().st_size)})"
    algorithm, digest = (remote.hash or "sha256:").split(":")
    actual = pooch.file_hash(str(file), alg=algorithm)
    if not actual.startswith(digest):
        raise WrongHash(_other(f"{file} {size}", algorithm, digest, "published", actual, advice))
    if len(digest) == len(actual):
        return
    record = folder / f"{file.name.removesuffix('.part')}.sha256"
    if not record.exists():
        paths.write_text(record, actual + "\n")
        return
    digest = record.read_bytes().decode("ascii", "replace").strip()
    if actual != digest:
        origin = f"recorded at the first download ({record})"
        raise WrongHash(_other(f"{file} {size}", algorithm, digest, origin, actual, advice))


def _other(file: str, algorithm: str, digest: str, origin: str, actual: str, advice: str) -> str:
    return (
        f"expected {file} to have the {algorithm} {digest} {origin}; got {actual}; it is "
        f"truncated, damaged or another version; {advice}"
    )


def megabytes(size: int | None) -> str:
    return "size not known" if size is None else f"{size / 1e6:.1f} MB"
