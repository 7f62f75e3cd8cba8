"""Other processors: imitated in truth, and what disagrees on one of them is not passed over."""

import json
import platform
from pathlib import Path

import pytest

from signseg_utils import zoos
from signseg_utils.cli import portable as cli
from signseg_utils.publishing import portable, publish

X86 = platform.machine().lower() in ("x86_64", "amd64")
AGREED = {"source": "shipped", "checked": 4, "agreed": 4}


def chapter(folder: Path, body: str) -> publish.Chapter:
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
    return publish.Chapter(source, "shapes", {}, "shipped")


RECORD = (
    "from signseg_utils.publishing import publish\n"
    "publish.record_audit('07_small', source={source!r}, shards=1, checked=audited,\n"
    "                     agreed={agreed}, seed=0, tolerance=1e-3)"
)


def test_each_machine_computes_as_it_says() -> None:
    if X86:
        found = portable._described("no AVX")
        assert found["instructions"] == "DEFAULT" and "Nehalem" in found["blas"]
    assert portable._described("two threads")["threads"] == 2


def test_a_chapter_is_run_up_to_its_audit(tmp_path: Path) -> None:
    small = chapter(tmp_path, RECORD.format(source="shipped", agreed="audited"))
    found = portable.audited(small, sample=3)
    assert found is not None and found["outcome"] == "ok"
    assert not (tmp_path / "07_small.audit.json").exists()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (RECORD.format(source="recomputed", agreed="audited"), "do not fit"),
        ("publish.record_audit(", "SyntaxError"),
        ("record_audit('07_small')", "NameError"),
    ],
)
def test_what_cannot_be_audited_failed(tmp_path: Path, body: str, why: str) -> None:
    found = portable.audited(chapter(tmp_path, body))
    assert found is not None and found["outcome"] == "failed" and why in found["why"]


def test_fewer_that_agree_is_a_failure(tmp_path: Path) -> None:
    small = chapter(tmp_path, RECORD.format(source="shipped", agreed="audited - 1"))
    found = portable.audited(small)
    assert found is not None and found["outcome"] == "failed"


def test_a_chapter_without_audit_is_left_out(tmp_path: Path) -> None:
    assert portable.audited(chapter(tmp_path, "1 + 1")) is None


def test_an_audit_within_its_bounds_is_told_from_agreement() -> None:
    assert portable._judged(AGREED) == {"outcome": "ok"}
    within = {**AGREED, "outcome": "within bounds", "largest": 0.5}
    assert portable._judged(within) == {"outcome": "within bounds", "largest": 0.5}
    assert portable._judged({**AGREED, "outcome": "beyond bounds"})["outcome"] == "failed"


def test_every_chapter_that_records_an_audit_is_found() -> None:
    """All but two that store no results, and one whose stored distances are not made again."""
    silent = {"01_the_zoo", "02_signs_in_balance", "10_diverse_set"}
    for source in {c.source for c in publish.chapters("shipped")}:
        if source.stem not in silent:
            text = source.read_text()
            assert portable._AUDITS.search(text), f"{source.stem} audits nothing"


def test_another_draw_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name for name, _ in portable.drawn("shapes")]
    assert "shapes/alexnet-untrained, drawn" in names
    real = zoos.initial
    monkeypatch.setattr(zoos, "initial", lambda *given: real(*given[:-1], given[-1] + 1))
    cells = [cell for _, cell in portable.drawn("shapes")]
    assert {cell["outcome"] for cell in cells} == {"failed"}
    assert "draw" in cells[0]["why"]


def test_cells_of_the_present_code_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = chapter(tmp_path, "1")
    asked: list[str] = []

    def publish_page(one: publish.Chapter, machine: str, scratch: Path) -> dict:
        asked.append(machine)
        return {"outcome": "ok", "seconds": 1.0}

    monkeypatch.setattr(portable, "publish_page", publish_page)
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


def test_a_failed_page_is_a_failed_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fresh(machine: str, words: list[str]) -> tuple[int, str, str]:
        return 1, "", "Traceback\n  deep\nerror: shapes/07_small: cell 1 raised\n"

    monkeypatch.setattr(portable, "_fresh", fresh)
    cell = portable.publish_page(chapter(tmp_path, "1"), "as it is", tmp_path)
    assert cell["outcome"] == "failed" and cell["why"].startswith("error: shapes/07_small")
    assert portable.shown({"p": {"m": cell}}).startswith("failed: p as 'm'; why error: shapes")


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
