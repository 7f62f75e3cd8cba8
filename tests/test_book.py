"""The book's parts fit together: pairs, table of contents, profiles, citations, static files."""

import re
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest
import yaml
from packaging.requirements import Requirement

from signseg_utils.chapter import parameters
from signseg_utils.publishing.profiles import read_profile

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.md"))
PROFILES = ("smoke", "shipped", "quick", "paper")


def source(chapter: str) -> Path:
    return ROOT / "notebooks" / f"{chapter}.md"


def test_every_notebook_has_its_source() -> None:
    found = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert found == CHAPTERS


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_pair_agrees(chapter: str) -> None:
    text = jupytext.read(source(chapter))
    pair = nbformat.read(source(chapter).with_suffix(".ipynb"), as_version=4)
    assert [(c.cell_type, c.source.rstrip()) for c in pair.cells] == [
        (c.cell_type, c.source.rstrip()) for c in text.cells
    ], f"run `jupytext --sync notebooks/{chapter}.md`"
    tags = [c.metadata.get("tags", []) for c in text.cells]
    assert [c.metadata.get("tags", []) for c in pair.cells] == tags
    assert not any(c.get("outputs") for c in pair.cells), "the pair holds no outputs"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_papermill_shows_every_parameter(chapter: str) -> None:
    declared = parameters.declared(source(chapter))
    notebook = str(source(chapter).with_suffix(".ipynb"))
    words = [sys.executable, "-m", "papermill", "--help-notebook", notebook]
    run = subprocess.run(words, capture_output=True, text=True, check=True)
    shown = " ".join((run.stdout + run.stderr).split())
    for name, parameter in declared.items():
        assert re.search(rf"\b{name}: {parameter.type.__name__} \(default", shown), name
        assert " ".join(parameter.help.split()) in shown, name


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_profiles_hold_declared_parameters(chapter: str, profile: str) -> None:
    table = read_profile(profile)
    assert chapter in table, f"add {chapter} to notebooks/profiles/{profile}.yaml"
    declared = parameters.declared(source(chapter))
    assert "zoo" in declared
    for zoo, values in table[chapter].items():
        values = parameters.cast(declared, {"zoo": zoo, **values})
        assert values["zoo"] == zoo


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_chapter_keeps_the_rules(chapter: str) -> None:
    notebook = jupytext.read(source(chapter))
    assert re.match(r"^(\(.*\)=\n)?# \S", notebook.cells[0].source), "begin with the title"
    titles = [
        line
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for line in cell.source.split("\n")
        if line.startswith("# ")
    ]
    assert len(titles) == 1
    lines = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            rows = cell.source.split("\n")
            assert not [row for row in rows if len(row) > 100]  # about 85 fit on a page
            lines += rows
    assert not [line for line in lines if line.lstrip().startswith(("!", "%"))]
    assert any(re.search(r"(parameters\.read|open_chapter)\(globals\(\)", line) for line in lines)


def toc_entries() -> list[str]:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    listed = [c for part in toc["parts"] for c in part["chapters"]]
    below = [c for entry in listed for c in entry.get("sections", [])]
    return [toc["root"], *(c["file"] for c in [*listed, *below])]


@pytest.mark.parametrize("entry", toc_entries())
def test_contents_exist(entry: str) -> None:
    executed = re.fullmatch(r"book/executed/([^/]+)/([^/]+)", entry)
    if executed is None:
        assert (ROOT / f"{entry}.md").exists()
        return
    zoo, chapter = executed.groups()
    assert chapter in CHAPTERS
    assert zoo in read_profile("shipped")[chapter]


def test_every_published_chapter_is_in_the_contents() -> None:
    entries = set(toc_entries())
    for chapter, zoos in read_profile("shipped").items():
        for zoo in zoos:
            assert f"book/executed/{zoo}/{chapter}" in entries


def test_citations_are_in_the_bibliography() -> None:
    known = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "book/references.bib").read_text(), re.M))
    pages = [*(ROOT / "book").glob("*.md"), *(ROOT / "notebooks").glob("*.md")]
    cited = {
        key.strip()
        for page in pages
        for group in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", page.read_text())
        for key in group.split(",")
    }
    assert cited and cited <= known, cited - known


def test_pages_name_deviations_that_exist() -> None:
    register = (ROOT / "book/deviations.md").read_text()
    known = re.findall(r"^\((d-\d+)\)=", register, re.M)
    assert len(known) == len(set(known)) >= 10
    for chapter in CHAPTERS:
        used = {name.lower() for name in re.findall(r"\bD-\d+\b", source(chapter).read_text())}
        assert used <= set(known), used - set(known)


def test_style_sheet_and_scripts_load_nothing_from_elsewhere() -> None:
    style = (ROOT / "book/static/custom.css").read_text()
    assert "http" not in style and "@import" not in style
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    mathjax = config["sphinx"]["config"]["mathjax_path"]
    assert (ROOT / "book/static" / mathjax).exists()
    assert config["execute"]["execute_notebooks"] == "off"


def test_code_version_agrees_everywhere() -> None:
    import signseg_utils

    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]
    assert cited == signseg_utils.__version__
    assert f"## {cited}" in (ROOT / "CHANGELOG.md").read_text()


def test_every_dependency_is_pinned() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = list(project["dependencies"])
    for name in Requirement(extras["all"][0]).extras:  # what `make install` takes
        wanted += extras[name]
    pins = (ROOT / "requirements/constraints.txt").read_text()
    pinned = {
        re.sub(r"[-_.]+", "-", name).lower() for name in re.findall(r"^([\w.-]+)==", pins, re.M)
    }
    names = {re.sub(r"[-_.]+", "-", re.split(r"[<>=\[ ]", d)[0]).lower() for d in wanted}
    assert names <= pinned | {"signseg-utils"}, names - pinned
    assert "+cpu" not in pins and "nvidia" not in pins
