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
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from signseg_utils.basics.refusals import first_line
from signseg_utils.basics.registry import unknown
from signseg_utils.selection import ParameterError, parse

TYPES: Mapping[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
# What a notebook's namespace holds besides parameters: IPython's own names.
_IPYTHON = frozenset({"In", "Out", "exit", "quit", "get_ipython", "open"})
_INJECTABLE = (str, int, float, bool, list, tuple, dict, type(None))


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
        If it is no notebook, has no such cell or two, or a line is not
        ``name: type = value  # help`` with type str,
        int, float or bool.
    """
    if not isinstance(notebook, str | Path):
        return _declared(notebook)
    path = Path(notebook)
    if not path.is_file():
        got = "a folder" if path.is_dir() else "no such file"
        raise ParameterError(f"expected a notebook at {path}; got {got}; mend the path")
    import jupytext

    try:
        opened = jupytext.read(path)
    except Exception as error:  # jupytext and nbformat raise of many kinds
        raise ParameterError(
            f"expected {path} to be a notebook (.ipynb, or MyST .md); it cannot be read "
            f"({first_line(error)}); restore it, or write it anew with jupytext --sync"
        ) from error
    try:
        return _declared(opened)
    except ParameterError as error:
        raise ParameterError(f"{path.name}: {error}") from error


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


def _value(name: str, value: Any, kind: type) -> Any:
    """``value`` as ``kind``; Papermill's ``-p seeds 0`` arrives as an int, and is meant as text."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is str and isinstance(value, list | tuple):
        odd = [p for p in value if isinstance(p, bool) or not isinstance(p, str | int | float)]
        if odd:
            raise ParameterError(
                f"expected {name} as a list of text or numbers; got {odd[0]!r} in it; leave it out"
            )
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


def _declared(notebook: Any) -> dict[str, Parameter]:
    """Parameters of an opened notebook; it may be no notebook at all."""
    try:
        about = [cell.get("metadata", {}) for cell in notebook["cells"]]
        tags = [each.get("tags", []) for each in about]
        sources = [str(cell["source"]) for cell in notebook["cells"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise ParameterError(
            f"expected a notebook of cells with metadata; got another ({first_line(error)}); "
            "restore it, or write it anew with jupytext --sync"
        ) from error
    for each in tags:
        if not isinstance(each, list):
            raise ParameterError(
                f"expected the tags of a cell as a list; got {each!r}; write [{each!r}]"
            )
    tagged = [source for source, each in zip(sources, tags, strict=True) if "parameters" in each]
    if not tagged:
        raise ParameterError("expected a cell tagged 'parameters'; the notebook has none; add one")
    if len(tagged) > 1:
        raise ParameterError(
            "expected one cell tagged 'parameters', because Papermill injects behind the first; "
            f"got {len(tagged)}; join them"
        )
    return _declarations(tagged[0])


def _declarations(source: str) -> dict[str, Parameter]:
    try:
        body = ast.parse(source).body
        helps = {
            token.start[0]: token.string.lstrip("# ").strip()
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type == tokenize.COMMENT
        }
    except (SyntaxError, ValueError, RecursionError, tokenize.TokenError) as error:
        shown = source.splitlines()[(getattr(error, "lineno", 1) or 1) - 1 :][:1]
        raise ParameterError(
            "expected lines 'name: type = value  # help' in the parameters cell; got no Python: "
            f"{first_line(error)} in {''.join(shown)!r}; mend that line"
        ) from error
    found: dict[str, Parameter] = {}
    for statement in body:
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
        if name in found:
            raise ParameterError(f"expected each parameter once; got {name} twice; leave one line")
        try:
            default = ast.literal_eval(statement.value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
            raise ParameterError(f"{wrong}; the value must be a plain literal") from error
        found[name] = Parameter(kind, _value(name, default, kind), text)
    return found
