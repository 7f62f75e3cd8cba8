"""Weights on disk: safetensors beside a manifest, written whole and checked on every load."""

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from signseg_utils import __version__
from signseg_utils.files.paths import repository, write_text
from signseg_utils.refusals import Refusal


class DamagedWeights(Refusal, ValueError):
    """The file is not the one that its manifest describes."""


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
            cwd=repository(), capture_output=True, text=True, timeout=10, check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return __version__
    return f"{__version__} ({described})"


def save(path: Path, tensors: Mapping[str, Tensor], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``path`` (safetensors) and ``path`` with suffix ``.json`` (its manifest).

    The manifest gains ``sha256``, ``bytes`` and ``code_version``. Both files appear whole or
    not at all; the weights are read back before they replace an older file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        safetensors.torch.save_file(contiguous, temporary)
        if set(safetensors.torch.load_file(temporary)) != set(contiguous):
            raise DamagedWeights(f"{path}: what was written does not read back; is the disk full?")
        complete = {
            **manifest,
            "sha256": sha256(temporary),
            "bytes": temporary.stat().st_size,
            "code_version": code_version(),
        }
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    write_text(path.with_suffix(".json"), json.dumps(complete, indent=1, sort_keys=True) + "\n")
    return complete


def read_manifest(path: Path) -> dict[str, Any]:
    """Manifest of the weights at ``path``.

    Raises
    ------
    FileNotFoundError
        If weights or manifest are missing; the message says which and how to get them.
    """
    for needed in (path, path.with_suffix(".json")):
        if not needed.exists():
            raise FileNotFoundError(
                f"expected weights and their manifest at {path} and .json; {needed.name} is "
                "missing; restore it from the repository or train it (make zoo)"
            )
    manifest: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    return manifest


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
    tensors = safetensors.torch.load_file(path)
    return {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}, manifest
