"""``signseg experiment NAME``: compute and store what chapters show besides the sweeps."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from signseg_utils import experiments
from signseg_utils.selection import ParameterError, split

if TYPE_CHECKING:
    from signseg_utils.experiments.base import Experiment


def main(words: Sequence[str]) -> int:
    """Compute one experiment; without a name: list them."""
    modules = experiments.modules()
    width = max(map(len, modules)) + 2
    rows = [f"  {name:{width}}{experiments.about(modules[name])}" for name in modules]
    parser = argparse.ArgumentParser(
        prog="signseg experiment",
        description="Compute and store an experiment; what is there is kept, and the same command "
        "continues an interrupted one. `signseg experiment NAME --help` tells its options.",
        epilog="\n".join(rows),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", choices=tuple(modules), metavar="NAME")
    given = parser.parse_args(words[:1])
    if given.name is None:
        print(parser.epilog)
        return 0
    module = import_module(modules[given.name])
    if given.name == "factorial":
        module = import_module(f"{module.__name__}.__main__")
    if hasattr(module, "main"):
        module.main(words[1:])
        return 0
    return _by_settings(given.name, module.PLUGIN, words[1:])


def _by_settings(name: str, kind: type[Experiment], words: Sequence[str]) -> int:
    """The command of an experiment that has none of its own: an option for each setting."""
    from signseg_utils.experiments import base
    from signseg_utils.files.paths import results_folder
    from signseg_utils.zoos import load_zoo

    parser = argparse.ArgumentParser(
        prog=f"signseg experiment {name}", description=(kind.__doc__ or "").splitlines()[0]
    )
    types = get_type_hints(kind)
    for own in fields(kind):  # type: ignore[arg-type]
        option, fallback = f"--{own.name.replace('_', '-')}", own.default
        if fallback is MISSING:
            parser.add_argument(option, type=_read(types[own.name]), required=True)
        else:
            said = ",".join(map(str, fallback)) if isinstance(fallback, tuple) else fallback
            parser.add_argument(
                option, type=_read(types[own.name]), default=fallback, help=f"({said})"
            )
    parser.add_argument("--out", type=Path, help="folder (where shipped results lie)")
    given = vars(parser.parse_args(words))
    out = given.pop("out")
    one = kind(**given)
    zoo, folder = load_zoo(one.zoo), out or results_folder("") / one.home
    found = base.run([one], zoo, folder)
    again = base.demand(base.audit([one], found, zoo))
    print(f"{one.key} in {folder}; audit: {again} numbers agree")
    return 0


def _read(kind: Any) -> Callable[[str], Any]:
    """How a setting of this type is read from a word; a tuple from a comma-separated list."""
    inner = get_args(kind)[:1]

    def read(text: str) -> Any:
        try:
            return tuple(map(inner[0], split(text))) if inner else kind(text)
        except ParameterError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    read.__name__ = getattr(inner[0] if inner else kind, "__name__", "value")
    return read
