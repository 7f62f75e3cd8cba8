"""Profiles: which chapters are published in which zoos, with which values of their parameters."""

import re
from pathlib import Path
from typing import Any

import yaml

from signseg_utils.basics import registry
from signseg_utils.basics.refusals import BadFile, UnknownName
from signseg_utils.basics.registry import unknown
from signseg_utils.files.paths import repository
from signseg_utils.files.reading import read_text

Profile = dict[str, dict[str, dict[str, Any]]]  # chapter -> zoo -> parameter -> value
_EXAMPLE = "write lines such as '03_the_ablation_sweep:' and below '  shapes: {seeds: \"0,1\"}'"


class _Once(yaml.SafeLoader):
    """YAML of plain values, in which no name stands twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        names = [str(key.value) for key, _ in node.value]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(
                None, None, f"expected each name once; got {twice} twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def read_profile(profile: str, notebooks: Path | None = None) -> Profile:
    """Parameter values by chapter and zoo: ``<notebooks>/profiles/<profile>.yaml``.

    Default folder: ``notebooks/`` of the checkout.

    Raises
    ------
    UnknownName
        A KeyError, if there is no such profile; the message lists those that there are.
    BadFile
        If it is no YAML of that form; the message names the chapter.
    """
    files = (notebooks or repository() / "notebooks") / "profiles"
    known = tuple(sorted(path.stem for path in files.glob("*.yaml")))
    if profile not in known:
        raise UnknownName(unknown("profile", profile, known))
    path = files / f"{profile}.yaml"
    text = read_text(path, "a profile")
    try:
        found = yaml.load(text, _Once)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise BadFile(
            f"expected plain YAML in {path}; got: {getattr(error, 'problem', None) or error}"
            f"{where}; {_EXAMPLE}"
        ) from error
    return _checked(found, path)


def _checked(found: Any, path: Path) -> Profile:
    def refuse(expected: str, got: Any) -> BadFile:
        return BadFile(f"expected {expected} in {path}; got {str(got)[:80]!r}; {_EXAMPLE}")

    if not isinstance(found, dict) or not found:
        raise refuse("chapters with zoos", found)
    numbers: dict[int, str] = {}
    for chapter, zoos in found.items():
        if not isinstance(chapter, str) or not re.fullmatch(r"\d+_\w+", chapter):
            raise refuse("a chapter's name such as 03_the_ablation_sweep", chapter)
        other = numbers.setdefault(int(chapter.split("_")[0]), chapter)
        if other != chapter:
            raise refuse(f"each number of a chapter once (3, not {other} too)", chapter)
        if not isinstance(zoos, dict):
            raise refuse(f"zoos below chapter {chapter}", zoos)
        for zoo, values in zoos.items():
            if zoo not in registry.names("zoos"):
                known = registry.names("zoos")
                raise BadFile(f"{unknown(f'zoo below {chapter} in {path}', str(zoo), known)}")
            if not isinstance(values or {}, dict):
                raise refuse(f"values of parameters below {chapter}, {zoo}", values)
            for name, value in (values or {}).items():
                each = value if isinstance(value, list) else [value]
                if not all(isinstance(one, str | int | float | bool) for one in each):
                    raise refuse(f"text, a number, a bool or a list of them as {name}", value)
    return {
        chapter: {zoo: dict(values or {}) for zoo, values in zoos.items()}
        for chapter, zoos in found.items()
    }
