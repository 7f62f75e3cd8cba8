"""Checkpoints that others publish: read without running code, and fitted key by key."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from signseg_utils.files.weights import DamagedWeights


class UnsafeCheckpoint(DamagedWeights):
    """The file can only be read by running code that it names; nothing was run."""


def read(path: Path, allowed: tuple[str, ...] = ()) -> Any:
    """What ``torch.save`` wrote, on the CPU, with ``weights_only``: tensors and plain values.

    Parameters
    ----------
    path
        The file; ``.safetensors`` is read as such.
    allowed
        Classes that may be built too, or packages whose classes may: ``"torch.nn.modules"``.

    Raises
    ------
    UnsafeCheckpoint
        If the file names anything else that would have to be run.
    DamagedWeights
        If it is truncated, or no checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        got = "a folder" if path.is_dir() else "no such file"
        raise DamagedWeights(
            f"expected weights in the file {path}; got {got}; mend the path, or fetch the file"
        )
    if path.suffix == ".safetensors":
        return _safetensors(path)
    try:
        with torch.serialization.safe_globals(_classes(path, allowed)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not _names_code(error):
            raise DamagedWeights(_no_checkpoint(path, error)) from error
        raise UnsafeCheckpoint(
            f"expected {path} to hold tensors and plain values, because nothing else is read "
            f"without running code from the file; got: {_first(error)}; load it with "
            "torch.load(path, weights_only=False) in a place where it can do no harm, write its "
            f"state dict with safetensors.torch.save_file, and put that beside it as "
            f"{path.name}.safetensors"
        ) from error
    except Exception as error:  # torch's readers raise of many kinds: IndexError, struct.error, ...
        raise DamagedWeights(_no_checkpoint(path, error)) from error


def state_dict(checkpoint: Any, *entries: str, source: str = "the checkpoint") -> dict[str, Tensor]:
    """The state dict of a checkpoint: under the first of ``entries`` that it has, or itself.

    Raises
    ------
    DamagedWeights
        If what is found there are not tensors by name.
    """
    for entry in entries:
        if isinstance(checkpoint, Mapping) and entry in checkpoint:
            checkpoint = checkpoint[entry]
            break
    whole = isinstance(checkpoint, Mapping) and all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in checkpoint.items()
    )
    if not whole or not checkpoint:
        got = list(checkpoint)[:5] if isinstance(checkpoint, Mapping) else type(checkpoint).__name__
        raise DamagedWeights(
            f"expected {source} to hold tensors by name{_under(entries)}; got {got}; is it the "
            "file that its entry in signseg_utils.files.sources means?"
        )
    return dict(checkpoint)


def fit(module: nn.Module, tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """Put ``tensors`` into ``module``: the same keys, the same shapes, or nothing at all.

    Raises
    ------
    DamagedWeights
        The message names each key that is missing, not expected or of another shape.
    """
    wanted = module.state_dict()
    missing = sorted(wanted.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - wanted.keys())
    shapes = [
        f"{key} {tuple(tensors[key].shape)} where {tuple(wanted[key].shape)} is expected"
        for key in wanted.keys() & tensors.keys()
        if tensors[key].shape != wanted[key].shape
    ]
    if missing or unexpected or shapes:
        raise DamagedWeights(
            f"expected the weights in {source} to fit the network of their manifest; "
            f"missing keys: {missing or 'none'}; unexpected keys: {unexpected or 'none'}; "
            f"other shapes: {sorted(shapes) or 'none'}"
        )
    module.load_state_dict(dict(tensors))


def _classes(path: Path, allowed: tuple[str, ...]) -> list[Any]:
    """Classes that the file names and that are ``allowed``; no functions."""
    if not allowed:
        return []
    import importlib

    found = []
    for name in torch.serialization.get_unsafe_globals_in_checkpoint(path):
        module, _, attribute = name.rpartition(".")
        if any(name == known or name.startswith(f"{known}.") for known in allowed):
            value = getattr(importlib.import_module(module), attribute)
            if isinstance(value, type):
                found.append(value)
    return found


def _safetensors(path: Path) -> dict[str, Tensor]:
    import safetensors.torch

    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise DamagedWeights(_no_checkpoint(path, error)) from error


def _names_code(error: pickle.UnpicklingError) -> bool:
    text = str(error)
    return "GLOBAL" in text or "REDUCE" in text or "safe_globals" in text or "Unsupported" in text


def _first(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "GLOBAL" in line or "Unsupported" in line]
    return (telling or lines or [type(error).__name__])[0][:300]


def _no_checkpoint(path: Path, error: Exception) -> str:
    return (
        f"expected {path} to be a file that torch.save wrote; got: {_first(error)}; it is "
        "truncated, damaged or something else: move it away with its .sha256, if it has one, and "
        "fetch it anew"
    )


def _under(entries: tuple[str, ...]) -> str:
    return f", themselves or under {' or '.join(map(repr, entries))}" if entries else ""
