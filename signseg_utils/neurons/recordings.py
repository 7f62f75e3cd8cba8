"""Recordings of neurons that answer to images: one data model, whatever the file.

A recording is an `xarray.Dataset`:

- ``response`` [image, neuron] or [image, neuron, repeat], float64, in the recording's own units
  (spikes of a window, as a rule); NaN where an image was not shown or a repeat is missing;
- coordinates ``image`` (one name each), ``neuron`` (one name each), ``path`` [image] (a file, or a
  member of a zip archive; empty where pixels are at hand), ``area``, ``animal``, ``session``
  [neuron];
- ``pixels`` [image, channel, row, column] uint8 where the recording brings its images along;
- attributes ``source`` and ``licence``, and ``excluded`` once something was left out.

Neurons of different sessions saw different images: `by_session` takes them apart.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from signseg_utils.basics.refusals import Refusal
from signseg_utils.basics.registry import unknown

ABOUT = ("area", "animal", "session")  # coordinates of a neuron
FEWEST_IMAGES = 20  # fewer leave nothing to test a model on


class RecordingError(Refusal, ValueError):
    """A recording that cannot be used; the message says what is wrong and how to mend it."""


class RecordingMissing(Refusal, FileNotFoundError):
    """A recording that is not on this machine; the message says how to get it."""


def recording(
    response: ArrayLike,
    images: Sequence[str],
    *,
    neurons: Sequence[str] | None = None,
    paths: Sequence[str] | None = None,
    about: Mapping[str, str | Sequence[str]] | None = None,
    pixels: ArrayLike | None = None,
    **attributes: str,
) -> xr.Dataset:
    """Make a recording and check it.

    Parameters
    ----------
    response
        ``[image, neuron]`` or ``[image, neuron, repeat]``.
    images
        Name of each image.
    neurons
        Name of each neuron; default ``neuron0``, ``neuron1`` ...
    paths
        File of each image; default: none.
    about
        ``area``, ``animal``, ``session``: one word for all neurons or one for each.
    pixels
        ``[image, 3, height, width]`` uint8.
    attributes
        Such as ``source`` and ``licence``.

    Raises
    ------
    RecordingError
        If the parts do not fit together.
    """
    given = np.asarray(response)
    if given.dtype.kind not in "fiub":
        raise RecordingError(
            f"expected responses as numbers; got {given.dtype}; convert them with .astype(float)"
        )
    values = given.astype(np.float64)
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise RecordingError(
            "expected responses [image, neuron] or [image, neuron, repeat], at least one of each; "
            f"got shape {values.shape}; average over bins of time, and put images first"
        )
    names = [f"neuron{i}" for i in range(values.shape[1])] if neurons is None else list(neurons)
    files = [""] * len(images) if paths is None else list(paths)
    _count("images", "images", len(images), values.shape[0])
    _count("neurons", "names of neurons", len(names), values.shape[1])
    _count("images", "paths", len(files), values.shape[0])
    coords: dict[str, Any] = {
        "image": _distinct("image", images),
        "neuron": _distinct("neuron", names),
        "path": ("image", np.asarray([str(file) for file in files], dtype=str)),
    }
    for key in ABOUT:
        told = (about or {}).get(key, "")
        each = [told] * len(names) if isinstance(told, str) else list(told)
        _count("neurons", f"values of {key}", len(each), len(names))
        coords[key] = ("neuron", np.asarray([str(word) for word in each], dtype=str))
    dims = ("image", "neuron", "repeat")[: values.ndim]
    found = xr.Dataset({"response": (dims, values)}, coords, dict(attributes))
    if pixels is not None:
        stack = np.asarray(pixels)
        if stack.dtype != np.uint8 or stack.ndim != 4 or stack.shape[1] != 3:
            raise RecordingError(
                "expected pixels uint8 [image, 3, height, width]; "
                f"got {stack.dtype} of shape {stack.shape}; move channels behind images, in 0..255"
            )
        _count("images", "images in pixels", len(stack), values.shape[0])
        found["pixels"] = (("image", "channel", "row", "column"), np.asarray(pixels))
    return check(found)


def check(found: xr.Dataset) -> xr.Dataset:
    """The recording itself, if it is one.

    Raises
    ------
    RecordingError
        If a part is missing or of the wrong kind, a response is infinite, or nothing was recorded.
    """
    missing = [n for n in ("response", "path", *ABOUT, "image", "neuron") if n not in found]
    if missing:
        raise RecordingError(
            f"expected a recording with {', '.join(missing)}; got a dataset without; "
            "make it with signseg_utils.neurons.recordings.recording"
        )
    response = found["response"]
    if response.dims not in (("image", "neuron"), ("image", "neuron", "repeat")):
        raise RecordingError(
            "expected responses with dims image, neuron and maybe repeat; "
            f"got {', '.join(map(str, response.dims))}"
        )
    infinite = np.argwhere(np.isinf(response.values))
    if len(infinite):
        image, neuron = (
            found[dim].values[infinite[0][i]] for i, dim in enumerate(response.dims[:2])
        )
        raise RecordingError(
            f"expected finite responses or NaN; got infinity of neuron {neuron} to image {image}; "
            "put NaN there (an empty cell in a table)"
        )
    if not np.isfinite(response.values).any():
        raise RecordingError("expected at least one response; got none but NaN; wrong file?")
    if "pixels" in found:
        seen = found["pixels"]
        if seen.dtype != np.uint8 or seen.ndim != 4 or seen.shape[1] != 3:
            raise RecordingError(
                "expected pixels uint8 [image, 3, height, width]; "
                f"got {seen.dtype} of shape {seen.shape}"
            )
    return found


def averaged(found: xr.Dataset) -> xr.Dataset:
    """The recording with its repeats averaged, those that are there; the same where there are none.

    ``repeats`` [image, neuron] tells how many there were.
    """
    if "repeat" not in found["response"].dims:
        return found
    values = found["response"].values
    count = np.isfinite(values).sum(-1)
    total = np.nansum(values, axis=-1)
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    result = found.drop_vars("response").drop_dims("repeat", errors="ignore")
    result["response"] = (("image", "neuron"), mean)
    result["repeats"] = (("image", "neuron"), count)
    return result


def complete(
    found: xr.Dataset, *, fewest_images: int = FEWEST_IMAGES, most_missing: float = 0.2
) -> xr.Dataset:
    """Averaged responses without a gap, and a record of what was left out to get there.

    Left out are, in this order: silent neurons (all responses equal), neurons without a response
    to more than the share ``most_missing`` of images, images to which a remaining neuron has no
    response. The attribute ``excluded`` (JSON) lists each with its reason; see `excluded`.

    Raises
    ------
    RecordingError
        If no neuron or fewer than ``fewest_images`` images remain.
    """
    whole = averaged(check(found))
    values = whole["response"].values
    there = np.isfinite(values)
    seen = np.where(there, values, 0)
    high = np.where(there, values, -np.inf).max(0)
    silent = (high == np.where(there, values, np.inf).min(0)) | ~there.any(0)
    gaps = (1 - there.mean(0) > most_missing) & ~silent
    kept = ~(silent | gaps)
    lost = ~there[:, kept].all(1)
    reasons: dict[str, str] = {}
    names, files = whole["neuron"].values, whole["image"].values
    for i in np.flatnonzero(silent):
        level = f"{seen[:, i].max():g}" if there[:, i].any() else "NaN"
        reasons[f"neuron {names[i]}"] = f"silent: every response is {level}"
    for i in np.flatnonzero(gaps):
        share = 1 - there[:, i].mean()
        reasons[f"neuron {names[i]}"] = f"no response to {share:.0%} of images"
    if kept.any():
        for i in np.flatnonzero(lost):
            reasons[f"image {files[i]}"] = f"no response of {(~there[i, kept]).sum()} neurons"
    told = "; ".join(f"{name}: {why}" for name, why in list(reasons.items())[:3])
    if not kept.any():
        raise RecordingError(
            f"expected a neuron that responds to most images; all {len(names)} are left out "
            f"({told}); by_session takes sessions apart, and most_missing allows more gaps"
        )
    if (~lost).sum() < fewest_images:
        raise RecordingError(
            f"expected {fewest_images} images or more with a response of every neuron, because "
            f"models are fitted to some and tested on others; got {(~lost).sum()} of {len(files)}"
            + (f" ({told})" if told else "")
            + "; record more images, or lower most_missing so that neurons with gaps are left out"
        )
    result = whole.isel(neuron=kept, image=~lost)
    result.attrs["excluded"] = json.dumps({**excluded(found), **reasons}, ensure_ascii=False)
    return result


def excluded(found: xr.Dataset) -> dict[str, str]:
    """What `complete` left out, with reasons: ``{"neuron u7": "silent: ..."}``."""
    reasons: dict[str, str] = json.loads(found.attrs.get("excluded", "{}"))
    return reasons


def by_session(found: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
    """Each session with its own neurons and the images that any of them saw, in order."""
    for session in dict.fromkeys(found["session"].values.tolist()):
        own = found.isel(neuron=np.flatnonzero(found["session"].values == session))
        seen = np.isfinite(own["response"].values).reshape(own.sizes["image"], -1).any(1)
        yield session, own.isel(image=np.flatnonzero(seen))


def joined(sessions: Sequence[xr.Dataset]) -> xr.Dataset:
    """One recording of several: NaN where the neurons of one did not see the images of another.

    Raises
    ------
    RecordingError
        If a neuron or an image appears twice.
    """
    if len(sessions) == 1:
        return sessions[0]
    for dim in ("neuron", "image"):
        _distinct(dim, [name for one in sessions for name in one[dim].values.tolist()])
    whole = [one.drop_vars(["path", *ABOUT]) for one in sessions]
    result = xr.merge(whole, join="outer", compat="no_conflicts", combine_attrs="drop_conflicts")
    order = {
        dim: [name for one in sessions for name in one[dim].values.tolist()]
        for dim in ("image", "neuron")
    }
    result = result.sel(order)
    result["path"] = ("image", np.concatenate([one["path"].values for one in sessions]))
    for key in ABOUT:
        result[key] = ("neuron", np.concatenate([one[key].values for one in sessions]))
    return check(result.set_coords(["path", *ABOUT]))


def load(name: str, sessions: Sequence[str] = ()) -> xr.Dataset:
    """A recording by name or file.

    Parameters
    ----------
    name
        ``v4``: the public macaque V4 recordings (`signseg_utils.neurons.v4`); ``simulated``:
        neurons whose inputs are known (`signseg_utils.neurons.in_silico`); or the path of a file:
        ``.csv`` or ``.npz`` (`signseg_utils.neurons.tables`), ``.nwb``
        (`signseg_utils.neurons.nwb`).
    sessions
        Those wanted; default: all.

    Raises
    ------
    RecordingMissing
        If it is not on this machine.
    RecordingError
        If it is no recording, or has no such session.
    """
    module, function = _NAMED.get(named(name)) or _FILES[Path(name).suffix]
    if name not in _NAMED and not Path(name).exists():
        raise RecordingMissing(f"expected a recording at {name}; there is no such file")
    reader = getattr(importlib.import_module(f"signseg_utils.neurons.{module}"), function)
    if name in _NAMED:
        found: xr.Dataset = reader(sessions) if name == "v4" else reader()
    else:
        found = _named_after(name, reader)
    known = tuple(dict.fromkeys(found["session"].values.tolist()))
    for session in sessions:
        if session not in known:
            raise RecordingError(unknown(f"session of {name}", session, known))
    _distinct("session", sessions)
    if sessions and tuple(sessions) != known:
        found = joined([own for session, own in by_session(found) if session in sessions])
    return found


def named(name: str) -> str:
    """The name itself, if it is that of a recording or of a file of a known kind.

    Raises
    ------
    RecordingError
        If it is neither. Whether there is such a file is not looked at.
    """
    if name not in _NAMED and Path(name).suffix not in _FILES:
        raise RecordingError(
            f"{unknown('recording', name, tuple(_NAMED))}, or a file that ends in "
            f"{', '.join(_FILES)}"
        )
    return name


def _named_after(name: str, reader: Callable[[Path], xr.Dataset]) -> xr.Dataset:
    """What ``reader`` reads; an error that does not name the file gets its name."""
    try:
        return reader(Path(name))
    except RecordingError as error:
        if Path(name).name in str(error):
            raise
        raise RecordingError(f"{Path(name).name}: {error}") from error


# Name -> module of signseg_utils.neurons and its function; modules are imported when asked for.
_NAMED = {"v4": ("v4", "read"), "simulated": ("in_silico", "read")}
_FILES = {
    ".csv": ("tables", "read_csv"),
    ".npz": ("tables", "read_npz"),
    ".nwb": ("nwb", "read"),
}


def _count(of: str, what: str, got: int, expected: int) -> None:
    if got != expected:
        raise RecordingError(
            f"expected {expected} {what}, because the responses have {expected} {of}; got {got}; "
            "are the files of one session, whole, and not transposed?"
        )


def _distinct(what: str, names: Sequence[Any]) -> np.ndarray[Any, Any]:
    words = [str(name) for name in names]
    if len(set(words)) < len(words):
        twice = sorted({word for word in words if words.count(word) > 1})
        raise RecordingError(
            f"expected one name for each {what}; got {', '.join(twice[:5])} more than once; "
            "repeats of an image belong into the dimension repeat"
        )
    return np.asarray(words, dtype=str)
