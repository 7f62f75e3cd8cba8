"""Find plugins by name: a plugin is a module of a package that defines ``PLUGIN``."""

import difflib
import importlib
import pkgutil
from typing import Any

from signseg_utils.basics.refusals import UnknownName

PIXELS = "pixels"  # the plugin of generators that is none: the image itself is climbed to


def names(package: str) -> tuple[str, ...]:
    """Names of the plugins of ``signseg_utils.<package>``, sorted; nothing of them is imported."""
    module = importlib.import_module(f"signseg_utils.{package}")
    found = (info.name for info in pkgutil.iter_modules(module.__path__))
    return tuple(sorted(name for name in found if not name.startswith("_")))


def load(package: str, name: str) -> Any:
    """Import plugin ``name`` of ``signseg_utils.<package>`` and return its ``PLUGIN``.

    Raises
    ------
    UnknownName
        A KeyError, if no such plugin exists; the message lists those that do.
    """
    known = names(package)
    if name not in known:
        raise UnknownName(unknown(f"name in signseg_utils.{package}", name, known))
    return importlib.import_module(f"signseg_utils.{package}.{name}").PLUGIN


def unknown(what: str, got: str, known: tuple[str, ...] | list[str]) -> str:
    """Message for a name that is not among ``known``: expected, got, nearest.

    >>> unknown("sign", "positiv", ("positive", "negative"))
    "expected a sign among: positive, negative; got 'positiv'; did you mean positive?"
    """
    near = difflib.get_close_matches(str(got), [str(k) for k in known], n=3)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    listed = ", ".join(str(k) for k in known[:120])
    return f"expected a {what} among: {listed}; got {got!r}{hint}"
