"""``ro-crate-metadata.json``: the repository as archives read it (RO-Crate 1.1).

Made from ``CITATION.cff``, ``pyproject.toml``, the manifests of weights and the notebooks; nothing
in it is written by hand but what a folder is for.
"""

import json
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from signseg_utils.basics.refusals import BadFile
from signseg_utils.files.reading import read_json
from signseg_utils.publishing import citation, stories

FILE = "ro-crate-metadata.json"
CONTEXT = ["https://w3id.org/ro/crate/1.1/context", {"sha256": "https://schema.org/sha256"}]
# What lies at the top: words for each; folders end with a slash.
TOP = {
    "README.md": "What the book claims, what holds, and how to run it",
    "CONTRIBUTING.md": "How the repository is built, and how to add to it",
    "CHANGELOG.md": "What changed between versions",
    "CITATION.cff": "How to cite the book",
    "LICENSE": "Terms of the code",
    "Makefile": "Commands: make book builds the book, make test checks it",
    "pyproject.toml": "The package and what it needs",
    "environment.yml": "The same for conda, and for Binder",
    "apt.txt": "System packages, for Binder",
    "Dockerfile": "An image whose build runs make book",
    "_config.yml": "Settings of the book",
    "_toc.yml": "Pages of the book",
    "codecheck.yml": "What make book must yield (CODECHECK 1.0)",
    "book/": "Prose pages, style and the extension that builds the pages",
    "notebooks/": "The chapters: executable notebooks with parameters, and their profiles",
    "signseg_utils/": "The Python package that the chapters call",
    "data/": "Weights, stored results, claims as they were stated, numbers that papers report",
    "tests/": "Tests of the package and of the book",
    "examples/": "Short programs, a use each",
    "benchmarks/": "Speed and memory of the search, with results",
    "requirements/": "Exact versions that the book was built with",
}
TABLES = "data/dictionary.csv"
ZOO_TERMS = {
    "tinyimagenet": "Trained on Tiny ImageNet, a subset of ImageNet, whose terms allow "
    "non-commercial research and education.",
    "shapes": "Trained on scenes that the package renders.",
    "efficientnet": "Manifests only: the weights come with packages of their own, Apache-2.0.",
}
KINDS = {
    ".csv": "text/csv", ".md": "text/markdown", ".ipynb": "application/x-ipynb+json",
    ".json": "application/json", ".yml": "application/yaml", ".cff": "application/yaml",
    ".toml": "application/toml", ".txt": "text/plain", "": "text/plain",
    ".safetensors": "application/octet-stream",
}  # fmt: skip

Entity = dict[str, Any]


def entity(root: Path, at: str, words: str, **more: Any) -> Entity:
    """A file or folder of the crate.

    Raises
    ------
    BadFile
        If it is not there.
    """
    path = root / at
    if not path.exists():
        raise BadFile(f"expected {at} in {root}, because the crate describes it; it is not there")
    if at.endswith("/"):
        return {"@id": at, "@type": "Dataset", "name": at.rstrip("/"), "description": words, **more}
    kind = KINDS.get(path.suffix, "text/plain")
    return {
        "@id": at,
        "@type": "File",
        "name": path.name,
        "description": words,
        "encodingFormat": kind,
        **more,
    }


def parts(of: Sequence[Entity]) -> list[dict[str, str]]:
    """References to entities."""
    return [{"@id": one["@id"]} for one in of]


def one_or_all(of: Sequence[Entity]) -> Any:
    """References to entities; a single one stands by itself, as RO-Crate has it."""
    found = parts(of)
    return found[0] if len(found) == 1 else found


def _notebooks(root: Path) -> Iterator[Entity]:
    for path in sorted((root / "notebooks").glob("[0-9][0-9]_*.md")):
        question = stories.question(path.stem, root / "notebooks")
        words = f"Chapter {question.number}: {question.title}"
        for end, form in ((".md", "source as text"), (".ipynb", "the same as a notebook")):
            at = f"notebooks/{path.stem}{end}"
            yield entity(root, at, f"{words} ({form})") | {"@type": ["File", "SoftwareSourceCode"]}


def _zoo(root: Path, zoo: Path) -> Iterator[Entity]:
    """Weights with their checksums, and the manifests of those that others publish."""
    for manifest in sorted(zoo.glob("*.json")):
        card = read_json(manifest, "a manifest", "restore it from the repository")
        words = f"{card['kind']} {card['name']} of zoo {zoo.name}"
        weights = manifest.with_suffix(".safetensors")
        if weights.exists():
            at = weights.relative_to(root).as_posix()
            facts = {"contentSize": str(card["bytes"]), "sha256": card["sha256"]}
            yield entity(root, at, f"Weights: {words}", **facts)
        at = manifest.relative_to(root).as_posix()
        yield entity(root, at, f"Manifest: {words}")


def _data(root: Path) -> list[Entity]:
    """All of ``data/``: folders, each with what it holds, after the entities of that."""
    found: list[Entity] = []
    for zoo in sorted(path for path in (root / "data" / "zoo").iterdir() if path.is_dir()):
        own = list(_zoo(root, zoo))
        words = f"Networks, generators and detector of zoo {zoo.name}. {ZOO_TERMS[zoo.name]}"
        found += [*own, entity(root, f"data/zoo/{zoo.name}/", words, hasPart=parts(own))]
    for results in sorted(path for path in (root / "data" / "results").iterdir() if path.is_dir()):
        words = f"Stored results of experiments, {results.name}: codes and numbers with identity"
        found.append(entity(root, f"data/results/{results.name}/", words))
    tables = {
        "data/claims/": "Claims of each chapter, with the test stated beforehand",
        "data/reported/": "Numbers that papers report",
    }
    for at, words in tables.items():
        files = sorted((root / at).glob("*.csv"))
        own = [entity(root, f"{at}{file.name}", words) for file in files]
        found += [*own, entity(root, at, words, hasPart=parts(own))]
    found.append(entity(root, TABLES, "Meaning and unit of every column of every table"))
    words = "What became of the verdicts of the book's first version"
    found.append(entity(root, "data/changes_of_verdict.csv", words))
    return found


def crate(root: Path) -> dict[str, Any]:
    """The whole description as JSON-LD."""
    cited = citation.read(root)
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    chapters, data = list(_notebooks(root)), _data(root)
    pinned = entity(root, "requirements/constraints.txt", "Exact versions of all packages")
    held = {one["@id"] for folder in data for one in folder.get("hasPart", [])}
    inside = {
        "notebooks/": chapters,
        "data/": [one for one in data if one["@id"] not in held],
        "requirements/": [pinned],
    }
    top = [
        entity(root, at, words, **({"hasPart": one_or_all(inside[at])} if at in inside else {}))
        for at, words in TOP.items()
    ]
    licence = {
        "@id": f"https://spdx.org/licenses/{cited['license']}",
        "@type": "CreativeWork",
        "name": cited["license"],
        "description": "Terms of the code; weights have their own.",
    }
    authors, papers = _authors(cited), _papers(cited)
    about = {
        "@id": "./",
        "@type": "Dataset",
        "name": cited["title"],
        "description": f"{project['description']}. {cited['message']}",
        "version": cited["version"],
        "datePublished": str(cited.get("date-released") or config["copyright"]),
        "license": {"@id": licence["@id"]},
        "author": one_or_all(authors),
        "publisher": {"@id": authors[0]["@id"]},
        "keywords": ", ".join(cited.get("keywords", [])),
        "citation": one_or_all(papers),
        "hasPart": parts(top),
    }
    self = {
        "@id": FILE,
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
    }
    graph = [self, about, licence, *authors, *papers, *top, pinned, *chapters, *data]
    return {"@context": CONTEXT, "@graph": graph}


def _authors(cited: dict[str, Any]) -> list[dict[str, Any]]:
    given = zip(citation.authors(cited), cited["authors"], strict=True)
    return [
        {
            "@id": f"#author-{place + 1}",
            "name": name,
            "@type": "Person" if "family-names" in one else "Organization",
        }
        for place, (name, one) in enumerate(given)
    ]


def _papers(cited: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"@id": one["url"], "@type": "ScholarlyArticle", "name": one["title"]}
        for one in cited.get("references", [])
        if one.get("url")
    ]


def text(root: Path) -> str:
    """The whole file."""
    return json.dumps(crate(root), indent=1, ensure_ascii=False) + "\n"
