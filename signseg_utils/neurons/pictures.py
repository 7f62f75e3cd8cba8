"""The images of a recording as pixels, from files, from zip archives, or brought along."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import torch
import xarray as xr
from torch import Tensor

from signseg_utils.files.images import decode, open_zip, read_member, sized
from signseg_utils.files.reading import read_bytes
from signseg_utils.neurons.recordings import RecordingError, RecordingMissing


def pictures(found: xr.Dataset, size: int | None = None) -> Tensor:
    """Images of a recording, ``[image, 3, height, width]`` uint8, in its order.

    Parameters
    ----------
    size
        Side in pixels to which each is brought (bilinear, antialiased); default: as they are.

    Raises
    ------
    RecordingMissing
        If a file is not there.
    RecordingError
        If the recording names no files, or they differ in size and ``size`` is not given.
    signseg_utils.basics.refusals.BadFile
        If a file is no image that can only be read in one way.
    """
    if "pixels" in found:
        stack = torch.from_numpy(found["pixels"].values)
        return stack if size is None else sized(stack, size)
    files = found["path"].values.tolist()
    if not all(files):
        raise RecordingError(
            "expected a path for each image, because the recording brings no pixels along; "
            f"{files.count('')} of {len(files)} are empty"
        )
    pieces = [piece if size is None else sized(piece[None], size)[0] for piece in _read(files)]
    shapes = {tuple(piece.shape) for piece in pieces}
    if len(shapes) > 1:
        raise RecordingError(
            f"expected images of one size; got {sorted(shapes)[:3]}; give size to bring them to one"
        )
    return torch.stack(pieces)


def _read(files: list[str]) -> Iterator[Tensor]:
    with ExitStack() as stack:
        archives: dict[Path, zipfile.ZipFile] = {}
        for file in files:
            path = Path(file)
            archive = next((p for p in path.parents if p.suffix == ".zip" and p.is_file()), None)
            if archive is not None and archive not in archives:
                archives[archive] = stack.enter_context(open_zip(archive))
            try:
                if archive is None:
                    content = read_bytes(path, "an image")
                else:
                    member = path.relative_to(archive).as_posix()
                    content = read_member(archives[archive], member, file)
            except (FileNotFoundError, KeyError) as error:
                raise RecordingMissing(
                    f"expected an image at {file}; there is none; paths in a table are relative "
                    "to the table, or absolute"
                ) from error
            yield decode(content, file)
