"""Other processors: imitated in truth, and what disagrees on one of them is not passed over."""

import json
import platform
from pathlib import Path

import pytest

from signseg_utils import zoos
from signseg_utils.cli import portable as cli
from signseg_utils.experiments import audits
from signseg_utils.experiments.agreement import AGREES, BEYOND, Agreement, compare, lines
from signseg_utils.publishing import notices, portable, provenance
from signseg_utils.publishing.chapters import Chapter

X86 = platform.machine().lower() in ("x86_64", "amd64")
AGREED = {"source": "shipped", "checked": 4, "agreed": 4}


def chapter(folder: Path, body: str) -> Chapter:
    """A chapter in zoo shapes with one parameter and these lines."""
    source = folder / "07_small.md"
    source.write_text(
        "---\njupytext:\n  formats: md:myst,ipynb\nkernelspec:\n  display_name: Python 3\n"
        "  language: python\n  name: python3\n---\n\n# Small\n\n"
        '```{code-cell} ipython3\n:tags: [parameters]\n\nzoo: str = "shapes"  # zoo\n'
        "audited: int = 48  # codes\n```\n\n"
        f"```{{code-cell}} ipython3\n{body}\n```\n\n"
        '```{code-cell} ipython3\nraise SystemError("not to be reached")\n```\n'
    )
    return Chapter(source, "shapes", {}, "shipped")


def test_each_machine_computes_as_it_says() -> None:
    if X86:
        found = portable._described("no AVX")
        assert found["instructions"] == "DEFAULT" and "Nehalem" in found["blas"]
    assert portable._described("two threads")["threads"] == 2


def test_an_audit_within_its_bounds_is_told_from_agreement() -> None:
    assert portable._judged(AGREED, {}) == {"outcome": "ok"}
    within = {**AGREED, "outcome": "within bounds", "notes": ["1 of 9 differs.", "less."]}
    assert portable._judged(within, {}) == {"outcome": "within bounds", "why": "1 of 9 differs."}
    assert portable._judged({**AGREED, "outcome": "beyond bounds"}, {})["outcome"] == "failed"


def test_what_ships_and_is_not_taken_fails_and_what_is_made_on_the_spot_does_not() -> None:
    new = {**AGREED, "source": "recomputed"}
    asked = {"shapes/diverse_set-alexnet.zarr.zip": "absent"}
    assert portable._judged(new, asked) == {"outcome": "ok"}
    there = asked | {"shapes/races.zarr.zip": "0" * 64}
    assert "were not taken" in portable._judged(new, there)["why"]
    for kind in ("damaged", "unfit"):  # of results most of which were taken
        some = {**AGREED, kind: ["races.zarr.zip"]}
        assert "were not taken" in portable._judged(some, there)["why"]


def test_audits_of_a_machine_become_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        compare("activation", [1.0, 2.0], [1.0, 2.0], where="searches"),
        compare("sign", [0.0] * 1000, [0.0] * 999 + [1.0], Agreement(cells=2, by=1), "models"),
        compare("drawn weights", [1], [0], where="shapes, alexnet-untrained"),
    ]
    told = [{**line, "said": str(one)} for line, one in zip(lines(found), found, strict=True)]
    monkeypatch.setattr(portable, "_fresh", lambda machine, words: (1, json.dumps(told), ""))
    cells = portable.audits("no AVX")
    assert [cell["outcome"] for cell in cells.values()] == ["ok", "within bounds", "failed"]
    assert "1 as stored from 0" in cells["drawn weights of shapes, alexnet-untrained"]["why"]


def test_a_machine_on_which_nothing_runs_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portable, "_fresh", lambda machine, words: (1, "", "ImportError: torch"))
    (cell,) = portable.audits("no AVX").values()
    assert cell["outcome"] == "failed" and "ImportError: torch" in cell["why"]


def test_another_draw_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = zoos.initial
    assert {one.outcome for one in audits.drawn("shapes")} == {AGREES}
    monkeypatch.setattr(zoos, "initial", lambda *given: real(*given[:-1], given[-1] + 1))
    assert {one.outcome for one in audits.drawn("shapes")} == {BEYOND}


def test_cells_of_the_present_code_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = chapter(tmp_path, "1")
    asked: list[str] = []

    def publish_zoo(those: list[Chapter], machine: str, scratch: Path) -> dict:
        asked.append(machine)
        return {one.page: {"outcome": "ok", "seconds": 1.0} for one in those}

    monkeypatch.setattr(portable, "publish_zoo", publish_zoo)
    monkeypatch.setattr(portable, "_described", lambda machine: {"machine": machine})
    path, said = tmp_path / "table.json", []
    for machines in (["as it is"], ["as it is", "one thread"]):
        portable.complete([small], machines, path, tmp_path, report=said.append)
    assert asked == ["as it is", "one thread"]
    small.source.write_text(small.source.read_text() + "\nMore.\n")
    portable.complete([small], ["as it is"], path, tmp_path, report=said.append)
    assert asked == ["as it is", "one thread", "as it is"]
    cell = json.loads(path.read_text())["pages"]["shapes/07_small"]["one thread"]
    assert cell["outcome"] == "ok" and cell["key"] and cell["commit"]


def told(folder: Path, audit: dict | None) -> None:
    """The record of a page that was made."""
    folder.mkdir(parents=True, exist_ok=True)
    path = provenance.file_of(folder / "07_small.ipynb")
    path.write_text(json.dumps({"audit": audit, "reads": {}, "seconds": 7.0}))


def test_a_page_is_told_of_by_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fresh(machine: str, words: list[str], seconds: float) -> tuple[int, str, str]:
        assert machine == "no AVX" and words[words.index("--chapters") + 1] == "07"
        told(tmp_path / "no_AVX" / "shapes", AGREED)
        return 0, "", ""

    monkeypatch.setattr(portable, "_fresh", fresh)
    found = portable.publish_zoo([chapter(tmp_path, "1")], "no AVX", tmp_path)
    assert found == {"shapes/07_small": {"outcome": "ok", "seconds": 7.0}}


def test_a_failed_page_is_a_failed_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "as_it_is" / "shapes"
    told(folder, AGREED)  # of an earlier run
    notices.write(folder, notices.Notice("shapes", "07_small", "cell 1 raised", "now", "again"))
    monkeypatch.setattr(portable, "_fresh", lambda *given: (notices.SOME_FAILED, "", ""))
    small = chapter(tmp_path, "1")
    found = portable.publish_zoo([small], "as it is", tmp_path)
    assert found["shapes/07_small"] == {"outcome": "failed", "seconds": 0, "why": "cell 1 raised"}
    assert portable.shown({"p": {"m": found[small.page]}}).startswith("failed: p as 'm'; why cell")


def test_a_process_that_ends_early_fails_its_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(tmp_path / "as_it_is" / "shapes", AGREED)  # of an earlier run
    monkeypatch.setattr(portable, "_fresh", lambda *given: (-9, "", "Trace\n  x\nMemoryError\n"))
    (cell,) = portable.publish_zoo([chapter(tmp_path, "1")], "as it is", tmp_path).values()
    assert cell["outcome"] == "failed" and cell["why"] == "status -9: MemoryError"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--machines", "no AXV"], "no AVX"),
        (["--chapters", "99"], "chapter"),
        (["--zoo", "z"], "zoo"),
    ],
)
def test_unknown_names_are_refused(words: list[str], message: str, capsys) -> None:
    assert cli.main([*words, "--fast"]) == 2
    assert message in capsys.readouterr().err
