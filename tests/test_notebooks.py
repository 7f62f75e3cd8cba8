"""Every chapter runs in every zoo, with tiny settings."""

import re
from pathlib import Path

import nbformat
import pytest
from conftest import needs_data

from signseg_utils import selection, zoos
from signseg_utils.chapter import ledger, parameters
from signseg_utils.files import paths
from signseg_utils.publishing.chapters import Chapter, chapters
from signseg_utils.publishing.publish import publish

CHAPTERS = [c for c in chapters("smoke") if c.source.exists()]


def absent(chapter: Chapter) -> list[str]:
    """Networks that a chapter asks for and whose weights are not here."""
    declared = parameters.declared(chapter.source)
    values = parameters.cast(declared, {"zoo": chapter.zoo, **chapter.values})
    zoo = zoos.load_zoo(chapter.zoo)
    parsed = vars(selection.parse(values))
    one = [parsed["network"]] if "network" in parsed else []  # a chapter may ask for one or none
    names = parsed.get("networks") or one
    return [name for name in names if not zoo.path(name).exists()]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda c: f"{c.zoo}-{c.name}")
def test_chapter_runs(chapter: Chapter, tmp_path: Path) -> None:
    ships = zoos.load_zoo(chapter.zoo).ships
    if ships and not any(paths.zoo_folder(chapter.zoo).glob("*.safetensors")):
        needs_data(f"the weights of {chapter.zoo} are not here; `make zoo` trains them")
    if missing := absent(chapter):
        needs_data(f"{', '.join(missing)} of {chapter.zoo}: no weights; `make zoo` trains them")
    output = publish(chapter, tmp_path)
    page = nbformat.read(output, as_version=4)
    assert re.search(rf"^# .+ \({chapter.zoo}\)$", page.cells[0].source, re.MULTILINE)
    lines = ledger.read(output.with_suffix(".ledger.json"))
    assert lines and {line.zoo for line in lines} == {chapter.zoo}
    assert output.with_suffix(".run.json").exists()
