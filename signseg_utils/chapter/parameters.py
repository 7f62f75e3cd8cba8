"""Parameters of a chapter: plain values, checked once at the boundary.

A chapter declares them in one cell tagged ``parameters``, one line each::

    units: str = ""    # units to visualise, comma separated; empty: the zoo's own choice
    alphas: str = "0:1:0.1"    # ablation strengths: a list, or start:stop:step

Plain Papermill only warns about a name that the chapter does not know, and enforces no types. So
a chapter begins with ``run = parameters.read(globals())``, which refuses both and returns the
parsed values; the publisher checks the same before it starts.
"""

import ast
import io
import tokenize
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from signseg_utils import registry
from signseg_utils.registry import unknown

TYPES: Mapping[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
CONTROLS = ("random_magnitude", "random_count")
SIGNS = ("none", "positive", "negative", *CONTROLS)
RULES = ("smallest", "largest")
DTYPES = ("float32", "bfloat16", "float64")

# What a notebook's namespace holds besides parameters: IPython's own names.
_IPYTHON = frozenset({"In", "Out", "exit", "quit", "get_ipython", "open"})
_INJECTABLE = (str, int, float, bool, list, tuple, dict, type(None))


class ParameterError(ValueError):
    """A parameter is unknown, of the wrong type, or out of range; the message says what to do."""


class Parameter(NamedTuple):
    """One declared parameter: ``name: type = default  # help``."""

    type: type
    default: Any
    help: str


def read(namespace: Mapping[str, Any], *, ignore: tuple[str, ...] = ()) -> SimpleNamespace:
    """Check the parameters of a running notebook and return them parsed.

    Parameters
    ----------
    namespace
        ``globals()`` of the notebook, right after its imports. The declared parameters are the
        annotated names; what Papermill assigns besides them is refused (outside a notebook: any
        other plain value).
    ignore
        Names of plain values that the notebook itself set before.

    Returns
    -------
    SimpleNamespace
        One attribute for each parameter; ``networks``, ``generators``, ``units``, ``signs`` as
        tuples of names (empty means all; of networks the standard ones, of units the zoo's
        default ones; the name of a family of networks stands for all of them), ``alphas`` as a
        tuple of floats, ``seeds`` as a tuple of ints.

    Raises
    ------
    ParameterError
        For an unknown name, a wrong type, an unknown class, network, generator or zoo, or a value
        out of range.
    """
    types = {name: _type(name, kind) for name, kind in _annotations(namespace).items()}
    return parse(check(namespace, types, ignore=ignore))


def check(
    namespace: Mapping[str, Any], types: Mapping[str, type], *, ignore: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The values of the parameters ``types`` in a notebook's namespace, each of its type.

    Raises
    ------
    ParameterError
        If the namespace holds a plain value that is no parameter (Papermill injected it), or one
        of another type.
    """
    for name in _from_outside(namespace):
        if name in types or name in ignore or name in _IPYTHON or name.startswith("_"):
            continue
        if isinstance(namespace[name], _INJECTABLE):
            raise ParameterError(_unknown_parameter(name, types))
    absent = [name for name in types if name not in namespace]
    if absent:
        raise ParameterError(f"expected the parameters {', '.join(absent)}; run their cell first")
    return {name: _value(name, namespace[name], kind) for name, kind in types.items()}


def declared(notebook: Path | Any) -> dict[str, Parameter]:
    """Parameters that a notebook declares in its cell tagged ``parameters``.

    Parameters
    ----------
    notebook
        A notebook object, or the path of an ``.ipynb`` or MyST ``.md`` file.

    Raises
    ------
    ParameterError
        If there is no such cell, or a line is not ``name: type = value  # help`` with type str,
        int, float or bool.
    """
    if isinstance(notebook, str | Path):
        import jupytext

        notebook = jupytext.read(notebook)
    for cell in notebook["cells"]:
        if "parameters" in cell.get("metadata", {}).get("tags", ()):
            return _declarations(cell["source"])
    raise ParameterError("expected a cell tagged 'parameters'; the notebook has none; add one")


def cast(declared: Mapping[str, Parameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters of a notebook: ``values`` where given, otherwise the defaults.

    Lists are accepted for text and joined by commas. Ranges and names are checked as in `read`.

    Raises
    ------
    ParameterError
        For a name that the notebook does not declare, or a value of another type or range.
    """
    for name in values:
        if name not in declared:
            raise ParameterError(_unknown_parameter(name, declared))
    complete = {
        name: _value(name, values.get(name, parameter.default), parameter.type)
        for name, parameter in declared.items()
    }
    parse(complete)
    return complete


def parse(values: Mapping[str, Any]) -> SimpleNamespace:
    """Parsed values of parameters whose names have a meaning; the others as they are."""
    parsed = {name: _PARSERS.get(name, _as_is)(name, value) for name, value in values.items()}
    if "zoo" in parsed:
        zoo = registry.load("zoos", parsed["zoo"])()
        of_zoo = f"of zoo {parsed['zoo']}"
        for plural, known, default in (
            ("networks", zoo.all_networks, zoo.networks),
            ("generators", zoo.generators, zoo.generators),
            ("units", zoo.classes, zoo.default_units),
        ):
            singular = plural[:-1]
            if plural in parsed:
                names = default if parsed[plural] in ((), ("all",)) else parsed[plural]
                if parsed[plural] == ("all",) and plural == "units":
                    names = known
                if plural == "networks":  # a family's name stands for its networks
                    each = [zoo.families.get(name, (name,)) for name in names]
                    names = tuple(dict.fromkeys(name for members in each for name in members))
                parsed[plural] = tuple(_known(f"{singular} {of_zoo}", n, known) for n in names)
            if singular in parsed:
                parsed[singular] = _known(
                    f"{singular} {of_zoo}", parsed[singular] or default[0], known
                )
    return SimpleNamespace(**parsed)


def split(text: str) -> tuple[str, ...]:
    """Names of a comma-separated list, without blanks around them; ``""`` is the empty list.

    Raises
    ------
    ParameterError
        If a name is empty or appears twice.
    """
    if not text.strip():
        return ()
    parts = tuple(part.strip() for part in text.split(","))
    if "" in parts:
        raise ParameterError(f"expected names between the commas; got {text!r}; remove one comma")
    twice = sorted({part for part in parts if parts.count(part) > 1})
    if twice:
        raise ParameterError(f"expected each name once; got {', '.join(twice)} more than once")
    return parts


def integers(text: str, name: str = "seeds") -> tuple[int, ...]:
    """``"0-3,7"`` -> ``(0, 1, 2, 3, 7)``: non-negative, each once.

    >>> integers("0-3,7")
    (0, 1, 2, 3, 7)
    """
    found: list[int] = []
    for part in split(text):
        first, dash, last = part.partition("-")
        if not first.strip().isdecimal() or (dash and not last.strip().isdecimal()):
            raise ParameterError(
                f"expected {name} like '0-3' or '0,1,2', because they are whole numbers from 0; "
                f"got {text!r}"
            )
        found += range(int(first), int(last if dash else first) + 1)
    if not found or len(set(found)) < len(found):
        raise ParameterError(f"expected {name} like '0-3', at least one, each once; got {text!r}")
    return tuple(found)


def fractions(text: str, name: str = "alphas") -> tuple[float, ...]:
    """``"0,.5,1"`` or ``"0:1:0.25"`` (ends included) -> floats in [0, 1], each once.

    >>> fractions("0:1:0.25")
    (0.0, 0.25, 0.5, 0.75, 1.0)
    """
    numbers: list[float] = []
    for part in split(text):
        try:
            bounds = [float(number) for number in part.split(":")]
        except ValueError:
            bounds = []
        if len(bounds) == 1:
            numbers += bounds
        elif len(bounds) == 3 and bounds[2] > 0:
            start, stop, step = bounds
            count = int((stop - start) / step + 1e-9) + 1
            numbers += [round(start + step * index, 10) for index in range(count)]
        else:
            raise ParameterError(
                f"expected {name} like '0,0.5,1' or start:stop:step like '0:1:0.1'; got {text!r}"
            )
    if not numbers or len(set(numbers)) < len(numbers):
        raise ParameterError(
            f"expected {name} like '0,0.5,1', at least one, each once; got {text!r}"
        )
    return tuple(_fraction(name, number) for number in numbers)


def spreads(text: str, name: str = "noises") -> tuple[float, ...]:
    """``"0,0.2"`` -> ``(0.0, 0.2)``: standard deviations of 0 or more, each once."""
    try:
        numbers = tuple(float(part) for part in split(text))
    except ValueError:
        numbers = ()
    fine = all(0 <= number < float("inf") for number in numbers)  # NaN fails too
    if not numbers or not fine or len(set(numbers)) < len(numbers):
        raise ParameterError(
            f"expected {name} like '0,0.2,0.5', standard deviations of 0 or more, at least one, "
            f"each once; got {text!r}"
        )
    return numbers


def _from_outside(namespace: Mapping[str, Any]) -> list[str]:
    """Names that may have come from the outside.

    In a notebook those that Papermill's own cell assigns, so that a reader can run a cell again
    after others have left their variables; elsewhere all.
    """
    if "In" not in namespace:
        return list(namespace)
    cells = [cell for cell in namespace["In"] if cell.lstrip().startswith("# Parameters")]
    statements = [statement for cell in cells for statement in ast.parse(cell).body]
    targets = [t for s in statements if isinstance(s, ast.Assign) for t in s.targets]
    return [t.id for t in targets if isinstance(t, ast.Name) and t.id in namespace]


def _fraction(name: str, value: float) -> float:
    if not 0.0 <= value <= 1.0:  # NaN fails too
        raise ParameterError(
            f"expected {name} between 0 and 1, because alpha is the share of a sign's summed "
            f"magnitude that is removed; got {value:g}; use 1 to remove the sign whole"
        )
    return value


def _at_least(least: int) -> Callable[[str, Any], Any]:
    def checked(name: str, value: Any) -> Any:
        if not value >= least:
            raise ParameterError(f"expected {name} of {least} or more; got {value}")
        return value

    return checked


def _known(what: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ParameterError(unknown(what, value, known))
    return value


def _one_of(*known: str) -> Callable[[str, Any], str]:
    return lambda name, value: _known(name, value, known)


def _as_is(name: str, value: Any) -> Any:
    return value


_PARSERS: Mapping[str, Callable[[str, Any], Any]] = {
    "zoo": lambda name, value: _known("zoo", value, registry.names("zoos")),
    "optimizer": lambda name, value: _known("optimizer", value, registry.names("optimizers")),
    "optimizers": lambda name, value: tuple(
        _known("optimizer", each, registry.names("optimizers")) for each in split(value)
    ),
    "noises": lambda name, value: spreads(value, name),
    "target": _fraction,
    "networks": lambda name, value: split(value),
    "generators": lambda name, value: split(value),
    "units": lambda name, value: split(value),
    "sessions": lambda name, value: split(value),
    "signs": lambda name, value: tuple(_known("sign", sign, SIGNS) for sign in split(value)),
    "rule": _one_of(*RULES),
    "control": _one_of(*CONTROLS),
    "dtype": _one_of(*DTYPES),
    "seeds": lambda name, value: integers(value, name),
    "alphas": lambda name, value: fractions(value, name),
    "alpha": _fraction,
    "seed": _at_least(0),
    "generations": _at_least(1),
    "low": _at_least(1),
    "high": _at_least(1),
    "clusters": _at_least(0),
    "sample": _at_least(2),
    "learned": _at_least(128),
    "replicates": _at_least(1),
    "occluded": _at_least(0),
    "fewest": _at_least(1),
    "images": _at_least(20),
    "draws": _at_least(1),
    "pool": _at_least(40),
    "random_sets": _at_least(6),
    "neurons": _at_least(1),
    "discs": _at_least(2),
    "shown": _at_least(2),
}


def _value(name: str, value: Any, kind: type) -> Any:
    """``value`` as ``kind``; Papermill's ``-p seeds 0`` arrives as an int, and is meant as text."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is str and isinstance(value, list | tuple):
        return ",".join(str(part) for part in value)
    if kind is str and number:
        return f"{value:g}" if isinstance(value, float) else str(value)
    if kind is float and number:
        return float(value)
    if kind is int and number and float(value).is_integer():
        return int(value)
    if isinstance(value, kind) and (kind is bool) == isinstance(value, bool):
        return value
    raise ParameterError(
        f"expected parameter {name} to be of type {kind.__name__}, as the chapter declares it; "
        f"got {value!r} ({type(value).__name__}); give another value with -p {name} ..."
    )


def _unknown_parameter(name: str, known: Mapping[str, Any]) -> str:
    return f"{unknown('parameter of this chapter', name, tuple(known))}; nothing was run"


def _annotations(namespace: Mapping[str, Any]) -> dict[str, Any]:
    if "__annotations__" in namespace:
        return dict(namespace["__annotations__"])
    if callable(namespace.get("__annotate__")):  # Python 3.14: annotations are made on demand
        return dict(namespace["__annotate__"](1))
    raise ParameterError(
        "expected annotated parameters (name: type = value); the namespace has none; run the cell "
        "tagged 'parameters' first, and call read(globals())"
    )


def _type(name: str, kind: Any) -> type:
    kind = kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
    if kind not in TYPES:
        raise ParameterError(
            f"expected parameter {name} to be declared as one of {', '.join(TYPES)}, because "
            f"Papermill passes plain values; got {kind}"
        )
    return TYPES[kind]


def _declarations(source: str) -> dict[str, Parameter]:
    helps = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found: dict[str, Parameter] = {}
    for statement in ast.parse(source).body:
        line = ast.get_source_segment(source, statement) or ""
        wrong = f"expected a line 'name: type = value  # help' in the parameters cell; got {line!r}"
        if (
            not isinstance(statement, ast.AnnAssign)
            or not isinstance(statement.target, ast.Name)
            or statement.value is None
            or statement.lineno != statement.end_lineno
        ):
            raise ParameterError(wrong)
        name, text = statement.target.id, helps.get(statement.lineno, "")
        if not text:
            raise ParameterError(f"{wrong}; say after a # what {name} does")
        kind = _type(name, ast.unparse(statement.annotation))
        try:
            default = ast.literal_eval(statement.value)
        except ValueError as error:
            raise ParameterError(f"{wrong}; the value must be a plain literal") from error
        found[name] = Parameter(kind, _value(name, default, kind), text)
    return found
