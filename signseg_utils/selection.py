"""What a run is asked for, as text: names, lists and numbers, checked once and parsed.

Parameters of chapters and arguments of commands have the same names and mean the same. Whatever
does not fit is refused by a `ParameterError` that says what was expected and what to do.
"""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from signseg_utils.basics import registry
from signseg_utils.basics.refusals import Refusal, UnknownName
from signseg_utils.basics.registry import unknown

CONTROLS = ("random_magnitude", "random_count")
SIGNS = ("none", "positive", "negative", *CONTROLS)
RULES = ("smallest", "largest")
_SEEDS = 2**64  # seeds key a counter-based generator of 64 bits
_MOST = 10_000  # values of one list
EVOLUTION, ASCENT, ASCENT_CODE = METHODS = ("evolution", "ascent", "ascent_code")
DTYPES = ("float32", "bfloat16", "float64")


class ParameterError(Refusal, ValueError):
    """A parameter is unknown, of the wrong type, or out of range; the message says what to do."""


def parse(values: Mapping[str, Any]) -> SimpleNamespace:
    """Parsed values of parameters whose names have a meaning; the others as they are.

    Networks of further seeds (``resnet-seed2``) are taken wherever those of the first are.
    """
    parsed = {name: _PARSERS.get(name, _as_is)(name, value) for name, value in values.items()}
    _ordered(parsed, "low", "high")
    if "pool" in parsed:
        _ordered(parsed, "images", "pool")
    if parsed.get("method") == ASCENT:
        if parsed.get("generators"):
            raise ParameterError(
                "expected no generators with method ascent, because it climbs to each pixel; got "
                f"{', '.join(parsed['generators'])}; leave them out, or take method ascent_code"
            )
    if "zoo" in parsed:
        zoo = registry.load("zoos", parsed["zoo"])()
        for plural, known, default in (
            ("networks", zoo.known_networks, zoo.networks),
            ("generators", zoo.known_generators, zoo.generators),
            ("units", zoo.classes, zoo.default_units),
        ):
            singular = plural[:-1]
            if plural in parsed:
                names = default if parsed[plural] in ((), ("all",)) else parsed[plural]
                if plural == "units":
                    names = _several(zoo, names, parsed[plural])
                if plural == "networks":  # a family's name stands for its networks
                    each = [zoo.families.get(name, (name,)) for name in names]
                    names = tuple(dict.fromkeys(name for members in each for name in members))
                parsed[plural] = tuple(_of_zoo(zoo, singular, name, known) for name in names)
                if plural == "generators" and parsed.get("method") == ASCENT:
                    parsed[plural] = (registry.PIXELS,)
            if singular in parsed:
                parsed[singular] = _of_zoo(zoo, singular, parsed[singular] or default[0], known)
        for name in parsed.get("further", ()):
            try:
                zoo.config(name)
            except UnknownName as error:
                raise ParameterError(f"of further: {error.args[0]}") from error
    return SimpleNamespace(**parsed)


def check(name: str, value: Any) -> Any:
    """One value, checked and parsed as the parameter ``name`` is.

    Raises
    ------
    ParameterError
        If it does not fit.
    """
    return _PARSERS.get(name, _as_is)(name, value)


def split(text: str, name: str = "names") -> tuple[str, ...]:
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
        raise ParameterError(f"expected {name} between the commas; got {text!r}; remove one comma")
    twice = sorted({part for part in parts if parts.count(part) > 1})
    if twice:
        raise ParameterError(
            f"expected each of {name} once; got {', '.join(twice)} more than once; leave one"
        )
    return parts


def integers(text: str, name: str = "seeds") -> tuple[int, ...]:
    """``"0-3,7"`` -> ``(0, 1, 2, 3, 7)``: non-negative, each once.

    >>> integers("0-3,7")
    (0, 1, 2, 3, 7)
    """
    found: list[int] = []
    for part in split(text, name):
        first, dash, last = part.partition("-")
        bounds = [bound.strip() for bound in ((first, last) if dash else (first,))]
        if not all(bound.isdecimal() for bound in bounds):
            raise ParameterError(
                f"expected {name} like '0-3' or '0,1,2', because they are whole numbers from 0; "
                f"got {text!r}"
            )
        if any(len(bound) > 20 or int(bound) >= _SEEDS for bound in bounds):
            raise ParameterError(
                f"expected {name} below 2**64, because they key a counter-based generator; "
                f"got {text[:60]!r}; use small numbers"
            )
        span = range(int(bounds[0]), int(bounds[-1]) + 1)
        if len(found) + len(span) > _MOST:
            raise ParameterError(
                f"expected at most {_MOST} {name}; got {text!r}; ask for fewer of them"
            )
        found += span
    if not found or len(set(found)) < len(found):
        raise ParameterError(f"expected {name} like '0-3', at least one, each once; got {text!r}")
    return tuple(found)


def fractions(text: str, name: str = "alphas") -> tuple[float, ...]:
    """``"0,.5,1"`` or ``"0:1:0.25"`` (ends included) -> floats in [0, 1], each once.

    >>> fractions("0:1:0.25")
    (0.0, 0.25, 0.5, 0.75, 1.0)
    """
    numbers: list[float] = []
    for part in split(text, name):
        try:
            bounds = [float(number) for number in part.split(":")]
        except ValueError:
            bounds = []
        if len(bounds) == 1:
            numbers += bounds
        elif len(bounds) == 3 and bounds[2] > 0 and all(map(math.isfinite, bounds)):
            start, stop, step = bounds
            if (stop - start) / step > _MOST:
                raise ParameterError(
                    f"expected at most {_MOST} {name}; got {text!r}; ask for fewer: a larger step"
                )
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
        numbers = tuple(float(part) for part in split(text, name))
    except ValueError:
        numbers = ()
    fine = all(0 <= number < float("inf") for number in numbers)  # NaN fails too
    if not numbers or not fine or len(set(numbers)) < len(numbers):
        raise ParameterError(
            f"expected {name} like '0,0.2,0.5', standard deviations of 0 or more, at least one, "
            f"each once; got {text!r}"
        )
    return numbers


def _fraction(name: str, value: float) -> float:
    if not 0.0 <= value <= 1.0:  # NaN fails too
        raise ParameterError(
            f"expected {name} between 0 and 1, because alpha is the share of a sign's summed "
            f"magnitude that is removed; got {value:g}; use 1 to remove the sign whole"
        )
    return value


def _at_least(least: float, most: float = 10**7) -> Callable[[str, Any], Any]:
    def checked(name: str, value: Any) -> Any:
        if not value >= least:  # NaN fails too
            raise ParameterError(
                f"expected {name} of {least:g} or more; got {value}; give a larger number"
            )
        if value > most:
            limit = "2**64 - 1" if most == _SEEDS - 1 else f"{most:,}"
            raise ParameterError(
                f"expected {name} of at most {limit}; got {value}; give a smaller number"
            )
        return value

    return checked


def _cluster(name: str, value: str) -> str:
    kind, _, count = value.partition(":")
    local = kind == "local" and count.isdecimal() and int(count) > 0
    if not (value == "" or local or value.endswith(".json") or re.match(r"\w+://.+", value)):
        raise ParameterError(
            f"expected {name} like tcp://host:8786, a scheduler file *.json, or local:N with N of "
            f"1 or more; got {value!r}; leave it empty for none"
        )
    return value


def _folder(name: str, value: str) -> str:
    if value and Path(value).exists() and not Path(value).is_dir():
        raise ParameterError(
            f"expected {name} to be a folder, there or to be made; got the file {value}; give "
            "another path"
        )
    return value


def _recording(name: str, value: str) -> str:
    from signseg_utils.neurons import recordings  # slow to import, and seldom asked for

    try:
        return recordings.named(value)
    except recordings.RecordingError as error:
        raise ParameterError(str(error)) from error


def _optimizers(name: str, value: str) -> tuple[str, ...]:
    found = tuple(_known("optimizer", n, registry.names("optimizers")) for n in split(value, name))
    if not found:
        raise ParameterError(f"expected at least one of {name}; got none; leave the default")
    return found


def _names(name: str, value: str) -> tuple[str, ...]:
    return split(value, name)


def _several(zoo: Any, names: tuple[str, ...], asked: tuple[str, ...]) -> tuple[str, ...]:
    """Classes of a zoo where a word stands for many: ``all``, or ``drawn:100`` for a hundred."""
    if asked == ("all",):
        return tuple(zoo.classes)
    word, _, count = asked[0].partition(":") if len(asked) == 1 else ("", "", "")
    if word != "drawn":
        return names
    if not count.isdecimal() or not 0 < int(count) <= len(zoo.classes):
        raise ParameterError(
            f"expected units like drawn:100, at most {len(zoo.classes)} classes that zoo "
            f"{zoo.name} draws once; got {asked[0]!r}; give another number"
        )
    return tuple(zoo.in_random_order(int(count)))


def _ordered(values: Mapping[str, Any], smaller: str, larger: str) -> None:
    """Refuse a pair of parameters the wrong way round, where a chapter has both."""
    if smaller in values and larger in values and values[smaller] > values[larger]:
        raise ParameterError(
            f"expected {smaller} of at most {larger}; got {smaller} {values[smaller]:g} and "
            f"{larger} {values[larger]:g}; change one of them"
        )


def _known(what: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ParameterError(unknown(what, value, known))
    return value


def _of_zoo(zoo: Any, what: str, value: str, known: tuple[str, ...]) -> str:
    if what != "network":
        return _known(f"{what} of zoo {zoo.name}", value, known)
    try:
        zoo.config(value)
    except UnknownName as error:
        raise ParameterError(str(error)) from error
    return value


def _one_of(*known: str) -> Callable[[str, Any], str]:
    return lambda name, value: _known(name, value, known)


def _as_is(name: str, value: Any) -> Any:
    return value


_PARSERS: Mapping[str, Callable[[str, Any], Any]] = {
    "zoo": lambda name, value: _known("zoo", value, registry.names("zoos")),
    "optimizer": lambda name, value: _known("optimizer", value, registry.names("optimizers")),
    "optimizers": _optimizers,
    "noises": lambda name, value: spreads(value, name),
    "target": _fraction,
    **dict.fromkeys(("networks", "further", "generators", "units", "sessions"), _names),
    "signs": lambda name, value: tuple(_known("sign", sign, SIGNS) for sign in split(value, name)),
    "rule": _one_of(*RULES),
    "control": _one_of(*CONTROLS),
    "method": _one_of(*METHODS),
    "dtype": _one_of(*DTYPES),
    "seeds": lambda name, value: integers(value, name),
    "alphas": lambda name, value: fractions(value, name),
    "alpha": _fraction,
    "seed": _at_least(0, _SEEDS - 1),
    "generations": _at_least(1, 100_000),
    "population": _at_least(4),
    "audited": _at_least(0),
    "fresh": _at_least(1),
    "resamples": _at_least(1),
    "least": _fraction,
    "least_fit": _at_least(-math.inf, 1),
    "least_change": _at_least(0),
    "cluster": _cluster,
    **dict.fromkeys(("results", "images_to", "out", "output", "scratch", "folder"), _folder),
    "recording": _recording,
    **dict.fromkeys(("threads", "workers", "devices", "jobs"), _at_least(1)),
    "limit": _at_least(0),
    "checkpoint_seconds": _at_least(0),
    "low": _at_least(1),
    "high": _at_least(1),
    "clusters": _at_least(0),
    "count": _at_least(0),
    "exceptions": _at_least(1),
    "every": _at_least(1),
    "pictures": _at_least(1),
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
    "channels": _at_least(4),
    "epochs": _at_least(1),
    "retrained": _at_least(1),
    "discs": _at_least(2),
    "shown": _at_least(2),
}
