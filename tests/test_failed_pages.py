"""A page that fails costs one page: the others and the book are there, and the page says why."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import pytest
import throwaway
import yaml
from browsing import build

from signseg_utils.chapter import ledger
from signseg_utils.cli import publish as cli
from signseg_utils.files import paths
from signseg_utils.publishing import chapters, notices, publish, publisher
from signseg_utils.publishing.chapters import Chapter

CHAPTER = """---
jupytext:
  formats: md:myst,ipynb
kernelspec: {{display_name: Python 3, language: python, name: python3}}
---

# Page {name}

```{{code-cell}} ipython3
:tags: [parameters]

zoo: str = "shapes"  # zoo that is shown
```

```{{code-cell}} ipython3
import os, time
from pathlib import Path
{body}
```

```{{code-cell}} ipython3
Path("{name}.ledger.json").write_text({lines!r})
```
"""
RAISES = "raise ValueError('a `shard` is <corrupt>')"
DIES = "os._exit(7)"
AUDIT = dict(source="shipped", shards=1, checked=2, agreed=1, seed=0, tolerance=1e-3)
WORST = "activation differs most, by 0.31 in unit 4"


def audited(name: str, **more: object) -> str:
    return f"Path('{name}.audit.json').write_text({json.dumps({**AUDIT, **more})!r})"


class Book:
    """Throwaway chapters in two zoos, and the publisher's command over them."""

    def __init__(self, folder: Path) -> None:
        self.root, self.notebooks = folder, throwaway.write(folder)
        (self.notebooks / f"{throwaway.NAME}.md").unlink()  # a chapter without a profile runs, too
        self.out, self.pages = folder / "book" / "executed", {"shapes": [], "tinyimagenet": []}

    def write(self, zoo: str, name: str, body: str = "") -> None:
        """Write or change a chapter."""
        line = ledger.Line(
            "T-1", zoo, "a line", "rises", 1.0, 0.9, 1.1, 20, "none", 0, "replicated"
        )
        written = self.root / "line.ledger.json"
        ledger.write([line], written)
        text = CHAPTER.format(name=name, body=body, lines=written.read_text())
        (self.notebooks / f"{name}.md").write_text(text)
        self.pages[zoo] = sorted({*self.pages[zoo], name})
        table: dict[str, dict[str, dict]] = {}
        for one, names in self.pages.items():
            for each in names:
                table.setdefault(each, {})[one] = {"zoo": one}
        (self.notebooks / "profiles" / "tiny.yaml").write_text(yaml.safe_dump(table))

    def command(self, *more: str) -> list[str]:
        return ["--profile", "tiny", "--output", str(self.out), *more]

    def note(self, zoo: str, name: str) -> notices.Notice | None:
        return notices.read(self.out / zoo, name)


@pytest.fixture(scope="module")
def _shared() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, _shared: pytest.MonkeyPatch) -> Book:
    """Good pages first, then one of each kind of failure, published with two processes."""
    book = Book(tmp_path_factory.mktemp("broken"))
    _shared.setattr(chapters, "notebooks_folder", lambda: book.notebooks)
    book.write("shapes", "01_good")
    book.write("shapes", "02_raises")
    book.write("tinyimagenet", "05_far")
    assert cli.main(book.command("--jobs", "2")) == 0
    book.write("shapes", "02_raises", RAISES)  # with an earlier copy
    book.write("shapes", "03_dies", DIES)  # without one
    book.write("shapes", "04_near", audited("04_near", outcome="within bounds", notes=[WORST]))
    far = audited("05_far", outcome="beyond bounds", notes=[WORST], damaged=["a-1.zarr.zip"])
    book.write("tinyimagenet", "05_far", far)
    book.write("tinyimagenet", "06_last")
    return book


@pytest.fixture(scope="module")
def told(broken: Book) -> tuple[int, str]:
    """Exit status and what was said by the command that met all failures."""
    words = [
        sys.executable,
        "-c",
        f"import sys; from pathlib import Path; from signseg_utils.cli import publish as cli\n"
        f"from signseg_utils.publishing import chapters\n"
        f"chapters.notebooks_folder = lambda: Path({str(broken.notebooks)!r})\n"
        f"if __name__ == '__main__': sys.exit(cli.main(sys.argv[1:]))",
        *broken.command("--jobs", "2"),
    ]
    run = subprocess.run(words, capture_output=True, text=True, check=False)
    return run.returncode, run.stdout + run.stderr


def test_the_others_go_on_and_the_command_ends_with_a_list(
    broken: Book, told: tuple[int, str]
) -> None:
    status, said = told
    assert status == cli.SOME_FAILED, said
    for name in ("shapes/01_good", "shapes/04_near", "tinyimagenet/06_last"):
        assert (broken.out / f"{name}.run.json").exists()
        assert notices.read((broken.out / name).parent, Path(name).name) is None
    assert "shapes/01_good: unchanged, kept" in said
    listed = said[said.index("3 of 6 pages are not as they should be") :]
    assert "shapes/02_raises: not published, because cell 3 raised ValueError" in listed
    assert "shapes/03_dies: not published, because cell 3 raised DeadKernel" in listed
    assert f"05_far: published, but its audit is beyond the bounds: {WORST}" in listed
    assert (
        f"signseg publish --profile tiny --zoo shapes --chapters 2 --output {broken.out}" in listed
    )
    assert (broken.out / "shapes" / "02_raises.run.json").exists()  # the earlier copy
    assert not (broken.out / "shapes" / "03_dies.ipynb").exists()


@pytest.fixture(scope="module")
def site(broken: Book, told: tuple[int, str]) -> Path:
    """The HTML of the book with its failed pages; one was never tried."""
    config = (throwaway.ROOT / "_config.yml").read_text()
    assert '  url: ""  ' in config, "empty: that of the git remote"
    config = config.replace('  url: ""  ', '  url: "https://github.com/someone/book"  ')
    (broken.root / "_config.yml").write_text(config)
    for part in ("_ext", "static"):
        (broken.root / "book" / part).symlink_to(throwaway.ROOT / "book" / part)
    (broken.root / "book" / "references.bib").write_text("")
    (broken.root / "book" / "ledger.md").write_text("# Ledger\n\n```{ledger-table}\n```\n")
    pages = [f"{zoo}/{name}" for zoo, names in broken.pages.items() for name in names]
    lines = [f"  - file: book/executed/{page}\n" for page in [*pages, "shapes/07_never"]]
    (broken.root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/ledger\nchapters:\n" + "".join(lines)
    )
    build(broken.root)
    return broken.root / "book" / "_build" / "html" / "book"


STATES = {
    "shapes/01_good": "",
    "shapes/02_raises": "Below stands its earlier copy, of ",
    "shapes/03_dies": "There is no earlier copy to show",
    "shapes/04_near": "",
    "shapes/07_never": "has not been made yet",
    "tinyimagenet/05_far": "",
}


def test_pages_can_be_opened_on_binder_and_in_colab(site: Path) -> None:
    page = (site / "executed" / "shapes" / "01_good.html").read_text()
    links = set(re.findall(r'href="(https://(?:mybinder|colab)[^"]+)"', page))
    assert links == {
        "https://mybinder.org/v2/gh/someone/book/main?urlpath=lab/tree/notebooks/01_good.ipynb",
        "https://colab.research.google.com/github/someone/book/blob/main/notebooks/01_good.ipynb",
    }


def look(browser: Any, page: Path, width: int) -> dict[str, Any]:
    """Text, place and colours of a page's notice and strip."""
    seen = browser.new_page(viewport={"width": width, "height": 900})
    seen.goto(page.as_uri())
    found = seen.evaluate("""() => {
      const box = name => { const e = document.querySelector(name); if (!e) return null;
        const r = e.getBoundingClientRect();
        return {text: e.innerText, top: r.top, height: r.height, right: r.right}; };
      return {notice: box(".page-notice"), strip: box(".provenance"),
              far: box(".provenance.beyond-bounds"), near: box(".provenance.within-bounds"),
              overflow: document.scrollingElement.scrollWidth - window.innerWidth,
              title: document.querySelector("h1").innerText}; }""")
    seen.close()
    return found


@pytest.mark.parametrize("width", [1300, 390])
def test_a_browser_shows_the_notices(browser: Any, site: Path, width: int) -> None:
    for page, state in STATES.items():
        seen = look(browser, site / "executed" / f"{page}.html", width)
        assert seen["overflow"] <= 0, page
        assert bool(seen["notice"]) == bool(state), page
        if state:
            assert state in seen["notice"]["text"]
            assert 0 < seen["notice"]["top"] < 700 and seen["notice"]["height"] > 40
            assert seen["notice"]["right"] <= width
        assert bool(seen["far"]) == page.endswith("05_far")
        assert bool(seen["near"]) == page.endswith("04_near")
    raises = look(browser, site / "executed/shapes/02_raises.html", width)
    assert "cell 3 raised ValueError: a `shard` is <corrupt>" in raises["notice"]["text"]
    assert "--zoo shapes --chapters 2" in raises["notice"]["text"] and raises["strip"]
    never = look(browser, site / "executed/shapes/07_never.html", width)
    assert "make book ZOO=shapes CHAPTERS=7" in never["notice"]["text"]
    far = look(browser, site / "executed/tinyimagenet/05_far.html", width)["far"]["text"]
    assert "audit of this page failed" in far and WORST in far and "a-1.zarr.zip" in far
    near = look(browser, site / "executed/shapes/04_near.html", width)["near"]["text"]
    assert "within the declared bounds" in near and WORST in near


def test_the_ledger_lives_with_missing_pages(browser: Any, site: Path) -> None:
    seen = look(browser, site / "ledger.html", 1300)["notice"]["text"]
    assert "shapes/02_raises failed; its earlier copy is shown" in seen
    assert "shapes/03_dies failed" in seen and "shapes/07_never is not whole or not" in seen
    assert "tinyimagenet/05_far shows results that this machine does not confirm" in seen
    assert "01_good" not in seen and "04_near" not in seen


def test_mended_by_one_command_that_runs_only_that_page(
    broken: Book, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken.write("shapes", "02_raises")
    broken.write("shapes", "03_dies")
    broken.write("tinyimagenet", "05_far", audited("05_far"))
    assert cli.main(broken.command("--zoo", "shapes", "--chapters", "3")) == 0
    assert cli.main(broken.command("--jobs", "1")) == 0
    said = capsys.readouterr().out
    assert said.count(": running") == 2 and "tinyimagenet/05_far: running" in said
    # 02 has become what it was when its earlier copy was made
    assert "shapes/02_raises: unchanged, kept" in said
    left = {path.name for path in broken.out.glob("*/*") if "fail" in path.name}
    assert not left
    build(broken.root)
    for page in ("shapes/02_raises", "shapes/03_dies", "tinyimagenet/05_far"):
        text = (site / "executed" / f"{page}.html").read_text()
        assert "page-notice" not in text and "beyond-bounds" not in text
        assert 'class="provenance"' in text
    assert not (broken.out / "shapes" / "03_dies.md").exists()  # the stand-in
    assert "05_far" not in notices_of(site / "ledger.html")


def notices_of(page: Path) -> str:
    text = page.read_text()
    return text[text.index("page-notice") : text.index("</aside>")]


# ---------------------------------------------------------------- without a kernel


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Book:
    book = Book(tmp_path)
    monkeypatch.setattr(chapters, "notebooks_folder", lambda: book.notebooks)
    book.write("shapes", "01_one")
    book.write("shapes", "02_two")
    return book


def test_an_error_of_the_publisher_itself_costs_one_page(
    quick: Book, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(publish, "execute", full)
    assert cli.main(quick.command()) == cli.SOME_FAILED
    assert capsys.readouterr().err.count("the publisher met OSError: no space left") == 2
    note = quick.note("shapes", "02_two")
    assert note is not None and "Traceback" in note.details


def test_a_notice_names_no_folder_of_the_machine(
    quick: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = paths.repository() / "data" / "zoo" / "a.safetensors"

    def stop(*_: object) -> None:
        raise OSError(f"cannot read {quick.root}/far/b.zip or '{inside}': see https://a.org/b/c")

    monkeypatch.setattr(publish, "execute", stop)
    assert cli.main(quick.command("--chapters", "1")) == cli.SOME_FAILED
    note = quick.note("shapes", "01_one")
    assert note is not None
    said = "cannot read b.zip or 'data/zoo/a.safetensors': see https://a.org/b/c"
    assert note.what == f"the publisher met OSError: {said}"
    assert 'File "signseg_utils/publishing/publish.py"' in note.details
    for folder in (quick.root, paths.repository(), sys.prefix):
        assert str(folder) not in note.what + note.details


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("in /var/tmp/x/y.json: no", "in y.json: no"),
        ("'C:\\\\Users\\\\ann\\\\a.zip'", "'a.zip'"),
        ("~/a/b.csv and shapes/01_one, 1/2, and/or </b>", None),
    ],
)
def test_only_folders_are_left_out(text: str, said: str | None) -> None:
    assert notices.without_folders(text) == (said or text)


def test_the_book_is_built_with_a_damaged_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(throwaway.ROOT / "book" / "_ext")
    failed, strip = import_module("failed_pages"), import_module("provenance_strip")
    folder = tmp_path / "book" / "executed" / "shapes"
    folder.mkdir(parents=True)
    (folder / "01_one.ipynb").write_text("{}")
    (folder / "01_one.run.json").write_text('{"key": "ab')
    (tmp_path / "_toc.yml").write_text("- file: book/executed/shapes/01_one\n")
    assert strip.read_runs(tmp_path) == []
    assert "This page is not whole" in failed.notice(folder, "01_one")
    assert len(failed.unwell(tmp_path)) == 1


def test_an_unknown_outcome_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "01_x.audit.json"
    path.write_text(json.dumps({**AUDIT, "outcome": "fine"}))
    with pytest.raises(publish.PublishError, match="agrees, beyond bounds, within bounds|agrees"):
        publish._read_audit(path)


def test_ctrl_c_is_no_failed_page(
    quick: Book, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(publish, "execute", stop)
    assert cli.main(quick.command()) == 130
    assert "the same command goes on from here" in capsys.readouterr().err
    assert quick.note("shapes", "01_one") is None


def family(process: int) -> list[psutil.Process]:
    return psutil.Process(process).children(recursive=True)


def wait_for(true: Any, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


SLEEPS = "Path({mark!r}).write_text(''); time.sleep(600)"


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_publisher_leaves_nothing_behind(quick: Book, how: int, jobs: int) -> None:
    """Neither kernels nor half a page; the copy that was there is still whole."""
    mark = quick.root / "begun"
    # the first kernel of a process is started, the second is a fork
    quick.write("shapes", "01_one" if jobs == 2 else "02_two", SLEEPS.format(mark=str(mark)))
    quick.write("tinyimagenet", "03_other", "time.sleep(600)")
    words = [
        sys.executable,
        "-c",
        f"import sys; from pathlib import Path; from signseg_utils.cli import publish as cli\n"
        f"from signseg_utils.publishing import chapters\n"
        f"chapters.notebooks_folder = lambda: Path({str(quick.notebooks)!r})\n"
        f"if __name__ == '__main__': sys.exit(cli.main(sys.argv[1:]))",
        *quick.command("--jobs", str(jobs), "--zoo", "shapes,tinyimagenet"),
    ]
    run = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        wait_for(mark.exists)
        others = family(run.pid)
        assert others
        if how == signal.SIGINT:
            os.killpg(run.pid, how)  # as a terminal does
        else:
            os.kill(run.pid, how)
        _, said = run.communicate(timeout=120)
    finally:
        run.kill()
    wait_for(lambda: not any(p.is_running() and p.status() != "zombie" for p in others))
    assert not list(quick.out.glob("shapes/*" if jobs == 2 else "shapes/02*"))
    if how == signal.SIGINT:
        assert run.returncode == 130 and "Traceback" not in said, said
        assert "the same command goes on" in said


def test_a_process_that_dies_costs_the_page_that_it_was_at(
    quick: Book, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = "next(p for p in psutil.Process().parents() if 'spawn_main' in ' '.join(p.cmdline()))"
    quick.write("shapes", "01_one", f"import psutil; {worker}.kill()")
    quick.write("tinyimagenet", "03_other")
    assert cli.main(quick.command("--jobs", "2")) == cli.SOME_FAILED
    said = capsys.readouterr().err
    assert "shapes/01_one: not published, because its process ended early" in said
    assert said.count("error:") == 1
    for name in ("shapes/02_two", "tinyimagenet/03_other"):
        assert (quick.out / f"{name}.run.json").exists()


def test_a_process_that_has_made_a_page_makes_another(
    quick: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages that need nothing of each other keep all processes busy, whatever their zoo."""
    for name in ("03_three", "04_four"):
        quick.write("shapes", name)
    begun: list[Any] = []
    start = publisher._Process.__init__

    def counted(self: Any, *given: Any) -> None:
        begun.append(self)
        start(self, *given)

    monkeypatch.setattr(publisher._Process, "__init__", counted)
    wanted = chapters.chapters("tiny", ["shapes"])
    assert not publisher.Publisher(quick.out).side_by_side([[one] for one in wanted], 2)
    assert len(begun) == 2 and len(wanted) == 4
    assert len(list((quick.out / "shapes").glob("*.run.json"))) == 4


@pytest.mark.parametrize(
    ("profile", "more", "groups"),
    [
        ("shipped", (), [["1"], ["2"], ["1"]]),
        ("shipped", ("--recompute",), [["1", "2"], ["1"]]),
        ("shipped", ("--results", "of_mine"), [["1", "2"], ["1"]]),
        ("quick", (), [["1", "2"], ["1"]]),
    ],
)
def test_pages_of_a_zoo_stay_in_order_where_one_computes_for_the_next(
    profile: str, more: tuple[str, ...], groups: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = [("1", "shapes"), ("2", "shapes"), ("1", "tinyimagenet")]
    wanted = [Chapter(Path(f"{number}_x.md"), zoo, {}, profile) for number, zoo in pages]
    asked: list[list[list[str]]] = []

    def side_by_side(_: Any, given: Sequence[Sequence[Chapter]], jobs: int) -> list[Any]:
        asked.append([[chapter.number for chapter in group] for group in given])
        return []

    monkeypatch.setattr(cli, "chapters", lambda *_: wanted)
    monkeypatch.setattr(publisher.Publisher, "side_by_side", side_by_side)
    monkeypatch.setattr(cli.families, "store", lambda _: None)
    assert cli.main(["--profile", profile, "--jobs", "2", "--zoo", "shapes", *more]) == 0
    assert asked == [groups]
