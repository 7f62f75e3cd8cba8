"""``signseg experiment NAME``: compute and store what chapters show besides the sweeps."""

import argparse
import inspect
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from signseg_utils import experiments, selection
from signseg_utils.cli._arguments import number
from signseg_utils.files.paths import results_folder


def main(words: Sequence[str]) -> int:
    """Compute one experiment; without a name: list them."""
    modules = experiments.modules()
    width = max(map(len, modules)) + 2
    rows = [f"  {name:{width}}{experiments.about(module)}" for name, module in modules.items()]
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
    _compute(given.name, import_module(modules[given.name]).PLUGIN, words[1:])
    return 0


def _compute(name: str, kind: Any, words: Sequence[str]) -> None:
    """Compute the plan that an experiment makes of the words, and say what it has found."""
    from signseg_utils import zoos  # slow to import, and the list of names needs none of it
    from signseg_utils.experiments import base

    values = vars(_parser(name, kind).parse_args(words))
    folder, recompute = values.pop("folder"), values.pop("recompute")
    values.setdefault("zoo", getattr(kind, "zoo", ""))
    filled = {option: value for option, value in values.items() if value != ""}
    parsed = selection.parse({**filled, "folder": str(folder or "")})
    zoo = zoos.load_zoo(parsed.zoo)
    plan = kind.asked(SimpleNamespace(**{**values, **vars(parsed)}), zoo)
    folder = folder or results_folder("") / plan[0].home
    found = base.run(plan, zoo, folder, recompute=recompute)
    print("\n".join(filter(None, [kind.told(plan, found, zoo), f"{len(found)} in {folder}"])))


def _parser(name: str, kind: Any) -> argparse.ArgumentParser:
    """The options that an experiment declares, and those that all have."""
    parser = argparse.ArgumentParser(
        prog=f"signseg experiment {name}",
        description=inspect.getdoc(inspect.getmodule(kind)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for option in kind.options():
        numeric = isinstance(option.default, int | float)
        shown = "" if option.default in ("", None) else " (%(default)s)"
        parser.add_argument(
            f"--{option.name.replace('_', '-')}",
            type=number(option.checked_as or option.name, type(option.default)) if numeric else str,
            default=option.default,
            required=option.default is None,
            help=option.meaning + shown,
        )
    parser.add_argument("--folder", "--out", type=Path, help="default: where what ships lies")
    parser.add_argument("--recompute", action="store_true", help="even what is there")
    return parser
