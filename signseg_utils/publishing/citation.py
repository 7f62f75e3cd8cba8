"""How the book is cited: ``CITATION.cff``, for a page's foot and for descriptions of the whole."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from signseg_utils.basics.refusals import BadFile

NEEDED = ("title", "authors", "version", "license")


def read(root: Path) -> dict[str, Any]:
    """``CITATION.cff`` of a checkout.

    Raises
    ------
    BadFile
        If it lacks what a citation needs.
    FileNotFoundError
        If it is not there.
    """
    path = root / "CITATION.cff"
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    for key in NEEDED:
        if not isinstance(found, dict) or not found.get(key):
            raise BadFile(f"expected {key} in {path}, because the book is cited by it; got none")
    return found


def authors(cited: Mapping[str, Any]) -> list[str]:
    """Names of all authors, persons or not."""
    return [
        one.get("name") or " ".join(filter(None, (one.get("given-names"), one.get("family-names"))))
        for one in cited["authors"]
    ]


def sentence(cited: Mapping[str, Any], year: str, url: str = "") -> str:
    """Authors, year, title, version and address, as a bibliography has them."""
    year = str(cited.get("date-released") or year)[:4]
    names = ", ".join(authors(cited))
    address = str(cited.get("doi") and f"https://doi.org/{cited['doi']}" or cited.get("url") or url)
    parts = [f"{names} ({year})", cited["title"], f"Version {cited['version']}", address]
    return "".join(f"{part}. " for part in parts if part).strip()
