"""Recordings in plain files: a table (CSV) that any program writes, or arrays (npz).

The table has one row an image: its file in the column ``path``, then one column a neuron; an empty
cell is NaN, and rows that name the same file are repeats. Area, animal and session of the neurons
may stand in a second table beside it, ``<name>.neurons.csv``, with a column ``neuron``.

The npz file holds ``responses`` [image, neuron] or [image, neuron, repeat], ``paths`` [image], and
if wished ``neurons``, ``area``, ``animal``, ``session`` [neuron] and ``pixels``. Nothing is
pickled.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from signseg_utils.files import paths
from signseg_utils.neurons.recordings import (
    ABOUT,
    RecordingError,
    averaged,
    check,
    recording,
)


def read_csv(path: Path) -> xr.Dataset:
    """Read a table. Paths in it are relative to its folder, or absolute.

    Raises
    ------
    signseg_utils.neurons.recordings.RecordingError
        If there is no column ``path``, no neuron, or a cell is not a number.
    """
    path = Path(path)
    table = pd.read_csv(path, dtype={"path": str})
    if "path" not in table or table.shape[1] < 2:
        raise RecordingError(
            f"expected a column 'path' and one column a neuron in {path.name}; "
            f"got {', '.join(map(str, table.columns[:6]))}"
        )
    if table["path"].isna().any():
        row = int(np.flatnonzero(table["path"].isna())[0]) + 2
        raise RecordingError(f"expected a path in each row of {path.name}; row {row} has none")
    neurons = [str(name) for name in table.columns if name != "path"]
    for name in neurons:
        numbers = pd.to_numeric(table[name], errors="coerce")
        bad = numbers.isna() & table[name].notna()
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise RecordingError(
                f"expected numbers or empty cells in column {name!r} of {path.name}; "
                f"got {table[name].iloc[row]!r} in row {row + 2}"
            )
        table[name] = numbers.astype(float)
    shown, files = pd.factorize(table["path"])
    repeat = table.groupby(shown).cumcount().to_numpy()
    most = int(repeat.max()) + 1
    values = np.full((len(files), len(neurons), most), np.nan)
    values[shown, :, repeat] = table[neurons].to_numpy()
    about = _about(path.with_name(f"{path.stem}.neurons.csv"), neurons)
    return recording(
        values if most > 1 else values[..., 0], files.tolist(), neurons=neurons,
        paths=[_absolute(file, path.parent) for file in files], about=about, source=path.name,
    )  # fmt: skip


def write_csv(found: xr.Dataset, path: Path) -> Path:
    """Write a recording as a table (and ``<name>.neurons.csv``); read back before it is put there.

    Repeats become rows; a repeat in which no neuron was recorded becomes none. Pixels are not
    written: where the recording has no paths, the images' names stand in their place.

    Raises
    ------
    RecordingError
        If what is read back differs.
    """
    path, found = Path(path), check(found)
    response = found["response"]
    stack = response.values if "repeat" in response.dims else response.values[..., None]
    files = _files(found, path.parent)
    rows: list[list[Any]] = []
    for file, values in zip(files, stack, strict=True):
        shown = np.flatnonzero(np.isfinite(values).any(0))
        rows += [[file, *values[:, repeat]] for repeat in (shown if len(shown) else [0])]
    neurons = found["neuron"].values.tolist()
    table = pd.DataFrame(rows, columns=["path", *neurons])
    about = pd.DataFrame({"neuron": neurons, **{key: found[key].values for key in ABOUT}})
    paths.write_text(path.with_name(f"{path.stem}.neurons.csv"), about.to_csv(index=False))
    paths.write_text(path, table.to_csv(index=False, float_format="%.17g"))
    again = averaged(read_csv(path))["response"].values
    if not np.array_equal(again, averaged(found)["response"].values, equal_nan=True):
        raise RecordingError(f"expected {path} to hold what was written; it does not; disk full?")
    return path


def read_npz(path: Path) -> xr.Dataset:
    """Read arrays. Errors as in `read_csv`."""
    path = Path(path)
    with np.load(path, allow_pickle=False) as arrays:
        lacking = [name for name in ("responses", "paths") if name not in arrays]
        if lacking:
            raise RecordingError(
                f"expected arrays 'responses' and 'paths' in {path.name}; "
                f"got {', '.join(arrays) or 'none'}; missing: {', '.join(lacking)}"
            )
        files = [str(file) for file in arrays["paths"]]
        images = [str(name) for name in arrays["images"]] if "images" in arrays else files
        return recording(
            arrays["responses"], images,
            neurons=[str(n) for n in arrays["neurons"]] if "neurons" in arrays else None,
            paths=[_absolute(file, path.parent) for file in files],
            about={key: arrays[key].astype(str).tolist() for key in ABOUT if key in arrays},
            pixels=arrays["pixels"] if "pixels" in arrays else None,
            source=str(arrays["source"]) if "source" in arrays else path.name,
            licence=str(arrays["licence"]) if "licence" in arrays else "",
        )  # fmt: skip


def write_npz(found: xr.Dataset, path: Path) -> Path:
    """Write a recording as arrays, pixels included: a temporary file, renamed when whole."""
    path, found = Path(path), check(found)
    arrays: dict[str, Any] = {
        "responses": found["response"].values,
        "images": found["image"].values.astype(str),
        "paths": np.asarray(_files(found, path.parent, named=False), dtype=str),
        "neurons": found["neuron"].values.astype(str),
        **{key: found[key].values.astype(str) for key in ABOUT},
        **{key: str(found.attrs.get(key, "")) for key in ("source", "licence")},
    }
    if "pixels" in found:
        arrays["pixels"] = found["pixels"].values
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.part.npz")
    np.savez_compressed(temporary, **arrays)
    os.replace(temporary, path)
    return path


def _about(path: Path, neurons: list[str]) -> dict[str, list[str]]:
    if not path.exists():
        return {}
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if "neuron" not in table or set(neurons) - set(table["neuron"]):
        raise RecordingError(
            f"expected a row for each neuron in {path.name} (column 'neuron'); "
            f"missing: {', '.join(sorted(set(neurons) - set(table.get('neuron', [])))[:5])}"
        )
    rows = table.set_index("neuron").loc[neurons]
    return {key: rows[key].tolist() for key in ABOUT if key in rows}


def _absolute(file: str, folder: Path) -> str:
    return str(folder / file) if file else ""


def _files(found: xr.Dataset, folder: Path, named: bool = True) -> list[str]:
    """Paths of a recording, relative to ``folder`` where they lie below it."""
    result = []
    for file, name in zip(found["path"].values.tolist(), found["image"].values, strict=True):
        below = file and Path(file).is_relative_to(folder)
        result.append(Path(file).relative_to(folder).as_posix() if below else file)
        if not file and named:
            result[-1] = str(name)
    return result
