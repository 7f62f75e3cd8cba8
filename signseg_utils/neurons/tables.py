"""Recordings in plain files: a table (CSV) that any program writes, or arrays (npz).

The table has one row an image: its file in the column ``path``, then one column a neuron; an empty
cell is NaN, and rows that name the same file are repeats. Area, animal and session of the neurons
may stand in a second table beside it, ``<name>.neurons.csv``, with a column ``neuron``.

The npz file holds ``responses`` [image, neuron] or [image, neuron, repeat], ``paths`` [image], and
if wished ``neurons``, ``area``, ``animal``, ``session`` [neuron] and ``pixels``. Nothing is
pickled.
"""

from __future__ import annotations

import csv
import io
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import xarray as xr

from signseg_utils.basics.refusals import first_line
from signseg_utils.files import paths
from signseg_utils.files.reading import read_bytes, read_text
from signseg_utils.neurons.recordings import (
    ABOUT,
    RecordingError,
    averaged,
    check,
    recording,
)

_NOTHING = ("", "nan", "NaN", "NAN", "NA", "N/A", "null")  # nothing was recorded


def read_csv(path: Path) -> xr.Dataset:
    """Read a table. Paths in it are relative to its folder, or absolute.

    Raises
    ------
    signseg_utils.neurons.recordings.RecordingError
        If there is no column ``path``, no neuron, a name twice, or a cell is not a number.
    signseg_utils.basics.refusals.BadFile
        If it is no text in UTF-8.
    """
    path = Path(path)
    table = _cells(path, "a table of responses")
    neurons = [name for name in table.columns if name != "path"]
    if "path" not in table or not neurons:
        raise RecordingError(
            f"expected a column 'path' and one column a neuron in {path.name}; "
            f"got {', '.join(table.columns[:6])}; name the column of image files 'path'"
        )
    if table.empty:
        raise RecordingError(
            f"expected one row an image in {path.name}; got a header only; export it with its rows"
        )
    if (table["path"] == "").any():
        row = int(np.flatnonzero(table["path"] == "")[0]) + 2
        raise RecordingError(
            f"expected a path in each row of {path.name}; row {row} has none; name its image"
        )
    for name in neurons:
        numbers = pd.to_numeric(table[name].where(~table[name].isin(_NOTHING)), errors="coerce")
        bad = numbers.isna() & ~table[name].isin(_NOTHING)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise RecordingError(
                f"expected numbers or empty cells in column {name!r} of {path.name}; "
                f"got {table[name].iloc[row]!r} in row {row + 2}; write 1.5 with a point, and "
                "leave a cell empty where nothing was recorded"
            )
        table[name] = numbers.astype(float)
    shown, files = pd.factorize(table["path"])
    repeat = table.groupby(shown).cumcount().to_numpy()
    most = int(repeat.max()) + 1
    values = np.full((len(files), len(neurons), most), np.nan)
    values[shown, :, repeat] = table[neurons].to_numpy()
    about = _about(path.with_name(f"{path.stem}.neurons.csv"), neurons)
    return recording(
        values if most > 1 else values[..., 0],
        files.tolist(),
        neurons=neurons,
        paths=[_absolute(file, path.parent) for file in files],
        about=about,
        source=path.name,
    )


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
    paths.write_text(path, table.to_csv(index=False, float_format="%.17g"))
    paths.write_text(path.with_name(f"{path.stem}.neurons.csv"), about.to_csv(index=False))
    again = averaged(read_csv(path))["response"].values
    if not np.array_equal(again, averaged(found)["response"].values, equal_nan=True):
        raise RecordingError(f"expected {path} to hold what was written; it does not; disk full?")
    return path


def read_npz(path: Path) -> xr.Dataset:
    """Read arrays. Errors as in `read_csv`."""
    path = Path(path)
    arrays = read_arrays(path)
    if "" in arrays:
        raise RecordingError(
            f"expected several arrays in {path.name}; got one, as of an .npy file; save responses "
            "and paths with np.savez"
        )
    lacking = [name for name in ("responses", "paths") if name not in arrays]
    if lacking:
        raise RecordingError(
            f"expected arrays 'responses' and 'paths' in {path.name}; "
            f"got {', '.join(arrays) or 'none'}; missing: {', '.join(lacking)}; save them with "
            "np.savez"
        )
    words = {
        name: _words(arrays[name], name, path)
        for name in ("paths", "images", "neurons", *ABOUT)
        if name in arrays
    }
    return recording(
        arrays["responses"],
        words.get("images", words["paths"]),
        neurons=words.get("neurons"),
        paths=[_absolute(file, path.parent) for file in words["paths"]],
        about={key: words[key] for key in ABOUT if key in words},
        pixels=arrays.get("pixels"),
        source=str(arrays.get("source", path.name)),
        licence=str(arrays.get("licence", "")),
    )


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
    with paths.replacing(path) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, **arrays)
    return path


def _about(path: Path, neurons: list[str]) -> dict[str, list[str]]:
    if not path.exists():
        return {}
    table = _cells(path, "a table of neurons")
    if "neuron" in table and table["neuron"].duplicated().any():
        twice = table["neuron"][table["neuron"].duplicated()].iloc[0]
        raise RecordingError(
            f"expected one row for each neuron in {path.name}; got {twice} more than once; leave "
            "the right one"
        )
    if "neuron" not in table or set(neurons) - set(table["neuron"]):
        raise RecordingError(
            f"expected a row for each neuron in {path.name} (column 'neuron'); "
            f"missing: {', '.join(sorted(set(neurons) - set(table.get('neuron', [])))[:5])}; add "
            "them, or take the file away"
        )
    rows = table.set_index("neuron").loc[neurons]
    return {key: rows[key].tolist() for key in ABOUT if key in rows}


def _cells(path: Path, what: str) -> pd.DataFrame:
    """Cells of a CSV file as text, stripped; every row as wide as the header, no name twice."""
    text = read_text(path, what)
    if not text.strip():
        raise RecordingError(f"expected {what} in {path.name}; the file is empty; export it anew")
    try:
        rows = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
    except csv.Error as error:
        raise RecordingError(
            f"expected {what} as CSV in {path.name}; got: {error}; is a quote left open?"
        ) from error
    header = [name.strip() for name in rows[0]]
    other = next((mark for mark in ";\t|" if len(header) == 1 and mark in header[0]), None)
    if other is not None:
        raise RecordingError(
            f"expected commas between the columns of {path.name}; got {other!r}; export it with "
            "commas (and points in numbers)"
        )
    if "" in header:
        raise RecordingError(
            f"expected a name for each column of {path.name}; column {header.index('') + 1} has no "
            "name; name it, or delete it with its commas"
        )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise RecordingError(
            f"expected one name for each column of {path.name}; got {', '.join(twice[:5])} more "
            "than once; give each neuron a name of its own (repeats of an image are rows)"
        )
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise RecordingError(
                f"expected {len(header)} cells in each row of {path.name}, as in its header; got "
                f"{len(row)} in row {number}; mend that row (a comma within a cell needs quotes)"
            )
    cells = [[cell.strip() for cell in row] for row in rows[1:]]
    return pd.DataFrame(cells, columns=header, dtype=str)


def read_arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays of an ``.npz`` file, or of an ``.npy`` file under the name ``""``; nothing unpickled.

    Raises
    ------
    RecordingError
        If it is neither, damaged, larger than the memory, or holds objects.
    """
    path = Path(path)
    content = read_bytes(path, "arrays")
    try:
        if content.startswith(np.lib.format.MAGIC_PREFIX):
            return {"": _array(io.BytesIO(content), len(content))}
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = {}
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                with archive.open(member) as stream:
                    found[name] = _array(stream, member.file_size, name)
            return found
    except RecordingError as error:
        raise RecordingError(f"{path.name}: {error}") from error
    except Exception as error:  # zipfile, zlib and numpy raise of many kinds
        raise RecordingError(
            f"expected arrays in {path.name}, as numpy's save or savez writes them; got: "
            f"{first_line(error)}; it is truncated, damaged or something else: save it anew"
        ) from error


def _array(stream: Any, size: int, name: str = "the array") -> np.ndarray[Any, Any]:
    """One array of ``size`` bytes, head included: what its head claims is checked before."""
    version = np.lib.format.read_magic(stream)
    heads = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in heads:
        raise ValueError(f"format {version} of {name}")
    shape, fortran, dtype = heads[version](stream)
    if dtype.hasobject:
        raise RecordingError(
            f"expected {name} to hold numbers or text, because pickled objects may run code when "
            "they are read; got objects; convert it with .astype(str) or .astype(float)"
        )
    count = math.prod(shape)
    free = psutil.virtual_memory().available
    if not 0 <= count * dtype.itemsize <= min(size, free):
        raise RecordingError(
            f"expected {name} of {shape} {dtype} to fit its {size:,} bytes in the file and the "
            f"{free:,} that are free in memory; its head claims {count * dtype.itemsize:,}; save "
            "it anew, or fewer images at once"
        )
    values = np.frombuffer(stream.read(count * dtype.itemsize), dtype, count)
    return values.reshape(shape, order="F" if fortran else "C")


def _words(array: np.ndarray[Any, Any], name: str, path: Path) -> list[str]:
    """Names from an array, one dimension; paths must be text, others may be whole numbers."""
    if array.ndim == 1 and not len(array):
        return []
    if array.dtype.kind not in ("US" if name == "paths" else "USiu") or array.ndim != 1:
        raise RecordingError(
            f"expected {name} in {path.name} as a list of text; got {array.dtype} of shape "
            f"{array.shape}; save them as np.array([...], dtype=str)"
        )
    return [str(word) for word in array.astype(str).tolist()]


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
