"""Commands of experiments on recorded neurons: the arguments that they share, and the run."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import xarray as xr

from signseg_utils import selection, zoos
from signseg_utils.experiments import base
from signseg_utils.experiments.recorded.base import Recorded, shipped_folder

NAMES = ("zoo", "recording", "sessions", "network", "networks", "generator")

R = TypeVar("R", bound=Recorded)


def parser(
    kind: type[Recorded], name: str, about: str | None, numbers: Mapping[str, str]
) -> argparse.ArgumentParser:
    """Arguments that all of these commands take; a command adds its own.

    Parameters
    ----------
    kind, name, about
        The experiment, its name as a command, and what its help says.
    numbers
        Settings of the experiment that are numbers, each with its help; the defaults are its own.
    """
    found = argparse.ArgumentParser(
        prog=f"signseg experiment {name}", description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    found.add_argument("--recording", default="v4", help="v4, simulated, or a file")
    found.add_argument("--sessions", default="", help="comma separated; default: see plan")
    found.add_argument("--zoo", default="tinyimagenet", help="zoo of networks and generators")
    for option, words in numbers.items():
        default = getattr(kind, option)
        found.add_argument(
            f"--{option.replace('_', '-')}", type=selection.argument(option, type(default)),
            default=default, help=f"{words} (%(default)s)",
        )  # fmt: skip
    found.add_argument("--folder", type=Path, help="default: data/results/<recording>")
    found.add_argument("--recompute", action="store_true", help="even what is there")
    return found


def read(own: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Arguments as they were given, their names checked as a chapter's parameters are.

    Raises
    ------
    signseg_utils.selection.ParameterError
        If there is no such zoo, network, generator, recording or session.
    """
    given = own.parse_args(arguments)
    selection.parse({name: text for name, text in vars(given).items() if name in NAMES})
    selection.parse({"folder": given.folder or ""})
    return given


def compute(planned: Sequence[R], given: argparse.Namespace) -> list[xr.Dataset]:
    """Results of a plan in its order; what the folder does not hold yet is computed first."""
    folder = given.folder or shipped_folder(given.recording)
    return base.run(planned, zoos.load_zoo(given.zoo), folder, recompute=given.recompute)
