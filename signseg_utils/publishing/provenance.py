"""What is known of a page: ``NN_title.run.json``, which is written last and vouches for the rest.

It holds what the page was made from (parameters, hashes, commit), with what (versions, hardware),
what it took, and how its audit ended.
"""

import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata as distributions
from pathlib import Path
from typing import Any

import psutil

from signseg_utils.basics.refusals import BadFile
from signseg_utils.experiments import agreement
from signseg_utils.files import paths, reads
from signseg_utils.files.reading import read_json
from signseg_utils.publishing import notices

VERSIONS = ("torch", "numpy", "scipy", "matplotlib", "papermill", "signseg-utils")


def file_of(output: Path) -> Path:
    """Where it is written what is known of the page ``output``."""
    return output.with_suffix(".run.json")


def read(output: Path) -> dict[str, Any]:
    """What is known of the page ``output``.

    Raises
    ------
    BadFile
        If it is damaged or half-written, so that nothing vouches for the page.
    FileNotFoundError
        If there is nothing.
    """
    file, advice = file_of(output), "make the page again"
    run = read_json(file, "what is known of a page", advice)
    for part, kind in (("audit", dict | None), ("reads", dict)):
        if not isinstance(run.get(part), kind):
            raise BadFile(
                f"expected {part} as a JSON object in {file}; got {run.get(part)!r}; {advice}"
            )
    return run


def is_current(output: Path, expected_key: str) -> bool:
    """Whether ``output`` was made by a run with ``expected_key`` and nobody has touched it.

    Nor may the shipped results that it asked for have changed.

    A page whose audit was beyond its bounds is never current: it is tried again.
    """
    if not (output.exists() and output.with_suffix(".ledger.json").exists()):
        return False
    try:
        run = read(output)
    except (BadFile, FileNotFoundError):
        return False
    same = hashlib.sha256(output.read_bytes()).hexdigest() == run.get("sha256")
    if not same or run.get("key") != expected_key or beyond(run):
        return False
    return reads.unchanged(run["reads"])


def beyond(run: Mapping[str, Any]) -> bool:
    """Whether a page's stored results differ from what this machine computes, beyond bounds."""
    return notices.outcome(run.get("audit")) == agreement.BEYOND


def here() -> dict[str, Any]:
    """What a page made now is made with: commit, versions, hardware."""
    return {"commit": commit(), "versions": _versions(), "hardware": hardware()}


def commit() -> str:
    """Short hash of the checkout's commit, ``+`` appended if files differ from it."""
    root = paths.repository()

    def git(*words: str) -> str:
        run = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
        return run.stdout.strip() if run.returncode == 0 else ""

    short = git("rev-parse", "--short=10", "HEAD")
    if not short:
        return "unknown"
    return short + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")


def hardware() -> dict[str, Any]:
    """What the run was computed on, in general words."""
    found: dict[str, Any] = {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }
    try:
        import torch

        found["gpu"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    except ImportError:
        found["gpu"] = None
    return found


def _versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide numbers."""
    found = {"python": platform.python_version()}
    for name in VERSIONS:
        try:
            found[name] = distributions.version(name)
        except distributions.PackageNotFoundError:
            continue
    return found
