"""Recordings in NWB files (Neurodata Without Borders): spikes counted around shown images.

Expected are a table of units with spike times, and a table of trials (or another table of
intervals) with one row a presentation and a column that names the image. Presentations of one
image are its repeats. Needs ``pynwb`` (``pip install 'signseg-utils[nwb]'``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from signseg_utils.basics.refusals import first_line
from signseg_utils.basics.registry import unknown
from signseg_utils.neurons.recordings import RecordingError, recording

IMAGE_COLUMNS = ("image", "image_path", "stimulus_name", "stimulus", "image_name")
AREA_COLUMNS = ("area", "brain_area", "location")


def read(
    path: Path,
    *,
    window: tuple[float, float] = (0.05, 0.15),
    intervals: str = "trials",
    column: str | None = None,
) -> xr.Dataset:
    """Spike counts of each unit for each presentation of each image.

    Parameters
    ----------
    window
        From when to when after an image's onset spikes count, seconds; by default 100 ms that
        begin 50 ms after it, about the latency of V4.
    intervals
        Name of the table of presentations.
    column
        Its column that names the image, a file as a rule; default: the first there of
        `IMAGE_COLUMNS`. Paths are relative to the file's folder, or absolute.

    Returns
    -------
    xarray.Dataset
        A recording with dimension ``repeat``, padded with NaN.

    Raises
    ------
    ImportError
        If ``pynwb`` is not installed.
    RecordingError
        If the file has no units, no presentations, or no such column.
    """
    try:
        from pynwb import NWBHDF5IO
    except ImportError as error:
        raise ImportError(
            "expected pynwb, because NWB files are read with it; it is not installed; "
            "pip install 'signseg-utils[nwb]', or bring the responses as a .csv or .npz"
        ) from error
    if not window[0] < window[1]:
        raise RecordingError(
            f"expected a window that ends after it begins; got {window}; give (from, to) in seconds"
        )
    path = Path(path)
    try:
        with NWBHDF5IO(str(path), "r") as file:
            names, counts, labels, about = _content(file.read(), path, window, intervals, column)
    except RecordingError:
        raise
    except Exception as error:  # HDF5 and pynwb raise of many kinds
        raise RecordingError(
            f"expected {path.name} to be an NWB file (HDF5) with units and presentations; it "
            f"cannot be read ({first_line(error)}); it is truncated, damaged or something else: "
            "copy or export it anew"
        ) from error
    images = list(dict.fromkeys(names))
    place = {name: number for number, name in enumerate(images)}
    most = max(names.count(name) for name in images)
    values = np.full((len(images), len(labels), most), np.nan)
    used = dict.fromkeys(images, 0)
    for name, row in zip(names, counts, strict=True):
        values[place[name], :, used[name]] = row
        used[name] += 1
    return recording(
        values,
        images,
        neurons=[f"unit{label}" for label in labels],
        paths=[str(path.parent / name) for name in images],
        about=about,
        source=path.name,
    )


def _content(
    content: Any, path: Path, window: tuple[float, float], intervals: str, column: str | None
) -> tuple[list[str], np.ndarray[Any, Any], list[str], dict[str, Any]]:
    """Image and counts [presentation, unit] of each presentation; the units' names and about."""
    if content.units is None or len(content.units) == 0:
        raise RecordingError(
            f"expected units with spike times in {path.name}; got none; sort its spikes first"
        )
    shown = content.intervals.get(intervals) if content.intervals else None
    if shown is None or len(shown) == 0:
        known = tuple(content.intervals or ())
        raise RecordingError(
            f"expected presentations in the table {intervals!r} of {path.name}; got none; its "
            f"tables of intervals: {', '.join(known) or 'none'}"
        )
    column = _column(shown, column, path)
    names = [str(name) for name in shown[column][:]]
    onsets = np.asarray(shown["start_time"][:], dtype=float)
    if not np.isfinite(onsets).all():
        row = int(np.flatnonzero(~np.isfinite(onsets))[0]) + 1
        raise RecordingError(
            f"expected a time for each start_time in the table {intervals!r} of {path.name}; got "
            f"{onsets[row - 1]} in row {row}; leave that presentation out"
        )
    units = content.units
    counts = np.stack([_counts(units, i, onsets, window) for i in range(len(units))], axis=1)
    about = {
        "area": _areas(units),
        "animal": str(getattr(content.subject, "subject_id", "") or ""),
        "session": str(content.session_id or content.identifier),
    }
    return names, counts, [str(number) for number in units.id[:]], about


def _counts(
    units: Any, unit: int, onsets: np.ndarray[Any, Any], window: tuple[float, float]
) -> np.ndarray[Any, Any]:
    """Spikes of one unit in the window after each onset; NaN outside its observed intervals."""
    spikes = np.sort(np.asarray(units["spike_times"][unit], dtype=float))
    first, last = (np.searchsorted(spikes, onsets + edge) for edge in window)
    counts = (last - first).astype(float)
    if "obs_intervals" in units.colnames:
        observed = np.asarray(units["obs_intervals"][unit], dtype=float).reshape(-1, 2)
        start, stop = onsets[:, None] + window[0], onsets[:, None] + window[1]
        within = ((start >= observed[:, 0]) & (stop <= observed[:, 1])).any(1)
        counts[~within] = np.nan
    return counts


def _column(table: Any, column: str | None, path: Path) -> str:
    known = tuple(table.colnames)
    if column is None:
        column = next((name for name in IMAGE_COLUMNS if name in known), None)
    if column is None or column not in known:
        wanted = column or "/".join(IMAGE_COLUMNS)
        raise RecordingError(
            f"{unknown(f'column that names the image in {path.name}', wanted, known)}; "
            "say which with column="
        )
    return column


def _areas(units: Any) -> list[str]:
    """Area of each unit: from its own column, or from where its first electrode lies."""
    for name in AREA_COLUMNS:
        if name in units.colnames:
            return [str(area) for area in units[name][:]]
    if "electrodes" in units.colnames:
        found = [units["electrodes"][i] for i in range(len(units))]
        return [str(rows["location"].iloc[0]) if len(rows) else "" for rows in found]
    return [""] * len(units)
