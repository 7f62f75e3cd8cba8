"""What there is to publish: chapters of a profile, each in its zoos."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from signseg_utils.basics import registry
from signseg_utils.basics.refusals import BadFile, UnknownName
from signseg_utils.basics.registry import unknown
from signseg_utils.chapter import parameters
from signseg_utils.files import paths
from signseg_utils.publishing.profiles import Profile, read_profile


@dataclass(frozen=True)
class Chapter:
    """One chapter in one zoo, with the values that a profile gives to its parameters."""

    source: Path
    zoo: str
    values: Mapping[str, Any]
    profile: str

    @property
    def name(self) -> str:
        """Name of the chapter's files, such as ``03_the_ablation_sweep``."""
        return self.source.stem

    @property
    def number(self) -> str:
        """Its number as its name writes it, such as ``03``."""
        return self.name.partition("_")[0]

    @property
    def page(self) -> str:
        """The page that it becomes, such as ``shapes/03_the_ablation_sweep``."""
        return f"{self.zoo}/{self.name}"


def notebooks_folder() -> Path:
    """Sources of the chapters: ``notebooks/`` of the checkout."""
    return paths.repository() / "notebooks"


def executed_folder() -> Path:
    """Where executed chapters go: ``book/executed/`` of the checkout."""
    return paths.book_folder() / "executed"


def chapters(
    profile: str,
    zoos: Iterable[str] = (),
    numbers: Iterable[int] = (),
    folder: Path | None = None,
) -> list[Chapter]:
    """Chapters of a profile, those of one zoo together.

    No numbers given: all chapters; no zoos: all whose weights are here, so that nothing is fetched
    (`left_out` tells of the others).
    A chapter that the profile does not name has the values that it declares itself, in the zoo
    that it declares.
    """
    folder = folder or notebooks_folder()
    table = read_profile(profile, folder)
    table |= _without_profile(folder, table)
    known_zoos = tuple(dict.fromkeys(zoo for row in table.values() for zoo in row))
    known_numbers = {int(name.split("_")[0]): name for name in table}
    absent = _absent(known_zoos)
    zoos = tuple(zoos) or tuple(zoo for zoo in known_zoos if zoo not in absent)
    numbers = tuple(numbers) or tuple(known_numbers)
    for zoo in zoos:
        if zoo not in known_zoos:
            raise UnknownName(unknown(f"zoo of profile {profile!r}", zoo, known_zoos))
    for number in numbers:
        if number not in known_numbers:
            raise UnknownName(unknown("chapter", str(number), tuple(map(str, known_numbers))))
    wanted = [known_numbers[number] for number in numbers]
    return [
        Chapter(folder / f"{name}.md", zoo, table[name][zoo], profile)
        for zoo in zoos
        for name in wanted
        if zoo in table[name]
    ]


def left_out(profile: str, folder: Path | None = None) -> dict[str, str]:
    """Zoos of a profile that `chapters` leaves out unless they are asked for, and why."""
    table = read_profile(profile, folder or notebooks_folder())
    return _absent({zoo: None for row in table.values() for zoo in row})


def _absent(zoos: Iterable[str]) -> dict[str, str]:
    found = {zoo: registry.load("zoos", zoo).absent() for zoo in zoos}
    return {zoo: why for zoo, why in found.items() if why}


def _without_profile(folder: Path, table: Profile) -> Profile:
    """Chapters that lie in the folder and that no line of a profile names.

    Raises
    ------
    BadFile
        If one has the number of another chapter.
    """
    numbers = {name.split("_")[0]: name for name in table}
    found: Profile = {}
    for path in sorted(folder.glob("[0-9]*_*.md")):
        if path.stem in table:
            continue
        number = path.stem.split("_")[0]
        if number in numbers:
            raise BadFile(
                f"expected each number of a chapter once, because its claims are named by it; got "
                f"{path} beside {numbers[number]}; give it another number"
            )
        numbers[number] = path.stem
        found[path.stem] = {str(parameters.declared(path)["zoo"].default): {}}
    return found
