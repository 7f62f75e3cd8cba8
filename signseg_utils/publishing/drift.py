"""What differs between two published books: lines of the ledger, and how audits ended.

``signseg drift BEFORE AFTER`` compares two folders of executed chapters,
such as ``book/executed`` made with the pinned versions and one made with newer ones. Numbers are
compared as the ledger shows them, to three digits. It ends with 1 if anything differs.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from signseg_utils.chapter import ledger

ABSENT = "absent"


@dataclass(frozen=True)
class Difference:
    """One thing that two books say differently: where, about what, and both wordings."""

    page: str
    what: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.page}: {self.what}: {self.before} -> {self.after}"


def pages(folder: Path) -> list[str]:
    """Pages of a book, as ``zoo/NN_title``.

    Raises
    ------
    FileNotFoundError
        If there is no executed chapter in ``folder``.
    """
    found = sorted(
        path.relative_to(folder).as_posix().removesuffix(".run.json")
        for path in folder.glob("*/*.run.json")
    )
    if not found:
        raise FileNotFoundError(
            f"expected executed chapters, as <zoo>/NN_title.run.json, in {folder}; there are none; "
            "run `make book`, or name the folder that the publisher got as --output"
        )
    return found


def compare(before: Path, after: Path) -> list[Difference]:
    """What two books say differently about the pages of both; a page of one alone is a difference.

    Parameters
    ----------
    before, after
        Folders of executed chapters, as ``book/executed``.
    """
    one, two = pages(before), pages(after)
    found = [
        Difference(page, "page", *(("there", ABSENT) if page in one else (ABSENT, "there")))
        for page in sorted(set(one) ^ set(two))
    ]
    for page in sorted(set(one) & set(two)):
        first, second = (dict(_statements(folder / page)) for folder in (before, after))
        for what in dict.fromkeys([*first, *second]):
            said = first.get(what, ABSENT), second.get(what, ABSENT)
            found += [Difference(page, what, *said)] if said[0] != said[1] else []
    return found


def versions(folder: Path) -> dict[str, str]:
    """Versions with which the pages of a book were made, several joined by ``and``."""
    found: dict[str, set[str]] = {}
    for page in pages(folder):
        for name, number in _read(folder / page, ".run.json")["versions"].items():
            found.setdefault(name, set()).add(number)
    return {name: " and ".join(sorted(numbers)) for name, numbers in sorted(found.items())}


def _statements(page: Path) -> Iterator[tuple[str, str]]:
    """What one page states, each with its name: verdicts and values of its ledger, its audit."""
    for line in ledger.read(page.with_name(f"{page.name}.ledger.json")):
        yield f"{line.id}, verdict", line.verdict
        yield f"{line.id}, measured", _measured(line)
        yield f"{line.id}, n", str(line.n)
    audit = _read(page, ".run.json").get("audit")
    if audit:
        yield "audit, source", audit["source"]
        yield "audit, agreed", f"{audit['agreed']} of {audit['checked']}"
        yield "audit, outcome", str(audit.get("outcome", "agrees"))
    if page.with_name(f"{page.name}.failure.json").exists():
        yield "last run", "failed"


def _read(page: Path, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page.with_name(page.name + kind).read_text("utf-8"))
    return found


def _measured(line: ledger.Line) -> str:
    """The numbers of a line to three digits, also where its interval is not worth as many."""
    told = [
        ledger.number(one) for one in (line.measured, line.ci_low, line.ci_high) if one is not None
    ]
    return f"{told[0]} ({told[1]} to {told[2]})" if len(told) == 3 else (told or ["–"])[0]
