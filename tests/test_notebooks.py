"""Every chapter runs in every zoo, with tiny settings."""

import re
from pathlib import Path

import nbformat
import pytest

from signseg_utils import ledger, paths, publish

CHAPTERS = [c for c in publish.chapters("smoke") if c.source.exists()]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda c: f"{c.zoo}-{c.name}")
def test_chapter_runs(chapter: publish.Chapter, tmp_path: Path) -> None:
    if not any(paths.zoo_folder(chapter.zoo).glob("*.safetensors")):
        pytest.skip(f"the weights of {chapter.zoo} are not here; `make zoo` trains them")
    output = publish.publish(chapter, tmp_path)
    page = nbformat.read(output, as_version=4)
    assert re.search(rf"^# .+ \({chapter.zoo}\)$", page.cells[0].source, re.MULTILINE)
    lines = ledger.read(output.with_suffix(".ledger.json"))
    assert lines and {line.zoo for line in lines} == {chapter.zoo}
    assert output.with_suffix(".run.json").exists()
