"""Weights on disk: safetensors beside a manifest, written whole and checked on every load."""

import errno
import hashlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from signseg_utils import __version__
from signseg_utils.basics.refusals import BadFile, Refusal, first_line
from signseg_utils.files.paths import replacing, repository, write_text
from signseg_utils.files.reading import read_json

_RESTORE = "restore both files from the repository, or make them anew (make zoo)"


class DamagedWeights(BadFile):
    """The file is not the one that its manifest describes."""


class MissingWeights(Refusal, FileNotFoundError):
    """Weights or their manifest are not there; the message says which and how to get them."""


def sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names and values of tensors, whatever their order."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        total.update(name.encode())
        total.update(tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def code_version() -> str:
    """Package version and, in a git checkout, the commit (``+`` where files were changed)."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"],
            cwd=repository(),
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return __version__
    return f"{__version__} ({described})"


def save(path: Path, tensors: Mapping[str, Tensor], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``path`` (safetensors) and ``path`` with suffix ``.json`` (its manifest).

    The manifest gains ``sha256``, ``bytes`` and ``code_version``. Both files appear whole or
    not at all; the weights are read back before they replace an older file.
    """
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        try:
            safetensors.torch.save_file(contiguous, temporary)
        except safetensors.SafetensorError as error:  # a full disk, in its words
            raise OSError(errno.ENOSPC, str(error)) from error
        if set(safetensors.torch.load_file(temporary)) != set(contiguous):
            raise DamagedWeights(f"{path}: what was written does not read back; is the disk full?")
        complete = {
            **manifest,
            "sha256": sha256(temporary),
            "bytes": temporary.stat().st_size,
            "code_version": code_version(),
        }
    write_text(path.with_suffix(".json"), json.dumps(complete, indent=1, sort_keys=True) + "\n")
    return complete


def read_manifest(path: Path, alone: bool = False) -> dict[str, Any]:
    """Manifest of the weights at ``path``.

    Parameters
    ----------
    alone
        Whether it may lie there without its weights.

    Raises
    ------
    FileNotFoundError
        If weights or manifest are missing; the message says which and how to get them.
    signseg_utils.basics.refusals.BadFile
        If the manifest is no JSON object with a ``sha256``.
    """
    manifest = path.with_suffix(".json")
    for needed in (manifest,) if alone else (path, manifest):
        if not needed.exists():
            raise MissingWeights(
                f"expected weights and their manifest at {path} and .json; {needed.name} is "
                "missing; restore it from the repository or train it "
                "(make zoo, or one: signseg train --help)"
            )
    found = read_json(manifest, "a manifest of weights", _RESTORE)
    if not isinstance(found.get("sha256"), str):
        raise DamagedWeights(
            f"expected the manifest {manifest} to hold the sha256 of its weights; "
            f"got {found.get('sha256')!r}; {_RESTORE}"
        )
    return found


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read weights (as float32 where they are stored in half precision) and their manifest.

    Raises
    ------
    FileNotFoundError
        If either file is missing.
    DamagedWeights
        If the file's SHA-256 is not the one in the manifest.
    """
    manifest = read_manifest(path)
    found = sha256(path)
    if found != manifest.get("sha256"):
        raise DamagedWeights(
            f"expected {path} to have sha256 {manifest.get('sha256')}, as its manifest says; "
            f"got {found}; the file is damaged or was replaced: restore both or retrain (make zoo)"
        )
    try:
        tensors = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise DamagedWeights(
            f"expected {path} to hold weights as safetensors; got: {first_line(error)}; {_RESTORE}"
        ) from error
    broken = [k for k, v in tensors.items() if v.is_floating_point() and not v.isfinite().all()]
    if broken:
        raise DamagedWeights(
            f"expected finite weights in {path}; got NaN or infinity in {', '.join(broken[:5])}; "
            f"its training went astray: {_RESTORE}"
        )
    return {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}, manifest


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """What goes wrong in this block, in making a module of a file's contents, is the file's fault.

    Raises
    ------
    DamagedWeights
        The message names the file, its manifest, and what does not fit.
    """
    try:
        yield
    except (BadFile, FileNotFoundError):
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, MemoryError) as error:
        lacking = isinstance(error, KeyError) and not isinstance(error, Refusal)
        what = f"{error} is missing" if lacking else first_line(error)
        raise DamagedWeights(
            f"expected {path} and the module and config of its manifest {path.stem}.json to fit "
            f"each other and the zoo; got: {what}; {_RESTORE}"
        ) from error
