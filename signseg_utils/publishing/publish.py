"""Execute chapters with Papermill: checked parameters, deterministic notebooks, provenance.

``signseg publish --profile shipped --zoo shapes --chapters 1,2,3`` writes, for each chapter and
zoo, under ``book/executed/<zoo>/``:

- ``NN_title.ipynb``: the executed notebook; two runs of one input give the same bytes;
- ``NN_title.run.json``: parameters, hashes, seed, versions, hardware, seconds, peak memory;
- whatever the chapter wrote into its working folder under its own name: ``NN_title.ledger.json``
  (its ledger; required), ``NN_title.audit.json`` (see
  `signseg_utils.chapter.results.record_audit`), ``NN_title.*.csv`` ...

What a chapter keeps under ``runs/`` of its working folder lies in the checkout's ``runs/`` (with
``--output``: in that folder's), so that an interrupted sweep continues.

A chapter whose key (source, package, data, parameters, lock) is unchanged is not run again. A
chapter that fails costs one page: the others go on, its earlier good copy stays as it was, and
``NN_title.failure.json`` beside it says what failed. The command ends with the list of such pages.
"""

import hashlib
import json
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nbformat
import yaml
from nbformat import NotebookNode

from signseg_utils.basics.progress import TITLE
from signseg_utils.basics.refusals import Refusal
from signseg_utils.basics.registry import unknown
from signseg_utils.chapter import ledger, parameters
from signseg_utils.experiments import agreement
from signseg_utils.files import paths, reads
from signseg_utils.publishing import notices, provenance
from signseg_utils.publishing.chapters import Chapter, executed_folder
from signseg_utils.publishing.executed_notebook import clean, faults
from signseg_utils.publishing.execution import PeakMemory, environment, execute
from signseg_utils.publishing.keys import hashes, key


class PublishError(Refusal, RuntimeError):
    """A chapter that cannot be published; the message says which, why and what to do.

    ``why`` is the sentence on the failed page itself, where that is less than the message.
    """

    def __init__(self, message: str, why: str = "") -> None:
        super().__init__(message)
        self.why = why or message


def publish(
    chapter: Chapter,
    folder: Path | None = None,
    *,
    recompute: bool = False,
    results: Path | None = None,
    force: bool = False,
    report: Callable[[str], None] = print,
) -> Path:
    """Execute one chapter in one zoo, unless its executed copy is current.

    Parameters
    ----------
    chapter
        What to run, with which values.
    folder
        Receives ``<zoo>/NN_title.*``; by default `executed_folder`.
    recompute
        Passed on as the chapter's parameter ``recompute`` if it has one, and then run for sure.
    results
        Folder of searches; ``<results>/<zoo>`` is passed on as the chapter's parameter ``results``
        if it has one, and receives the searches that it lacks.
    force
        Run even if the executed copy is current.
    report
        Gets a line a chapter.

    Raises
    ------
    PublishError
        If the chapter fails; what was published before stays as it was.
    """
    import jupytext

    if not chapter.source.exists():
        raise PublishError(f"expected a chapter at {chapter.source}; there is none; check the name")
    source = jupytext.read(chapter.source)
    values, command = _values(chapter, source, recompute, results)
    output = (folder or executed_folder()) / chapter.zoo / f"{chapter.name}.ipynb"
    parts = hashes(chapter)
    known: dict[str, Any] = {
        "parameters": values,
        "seed": values.get("seed"),
        "command": command,
        "key": key(values, parts),
        "hashes": parts,
    }
    if not (force or recompute) and provenance.is_current(output, known["key"]):
        notices.clear(output.parent, chapter.name)
        report(f"{chapter.page}: unchanged, kept")
        return output

    output.parent.mkdir(parents=True, exist_ok=True)
    report(f"{chapter.page}: running (profile {chapter.profile})")
    run = _make(chapter, source, output, known, (folder or paths.repository()) / "runs")
    report(f"{chapter.page}: {run['seconds']:.0f} s, {run['peak_memory_mib']} MiB at most")
    return output


def _make(
    chapter: Chapter, source: NotebookNode, output: Path, known: Mapping[str, Any], runs: Path
) -> dict[str, Any]:
    """Run a chapter, check what comes of it, put it in place; returns what its run.json holds."""
    with tempfile.TemporaryDirectory(prefix="signseg-publish-") as name:
        staging = Path(name)
        _lasting(staging / "runs", runs)
        start = time.perf_counter()
        short = f"{chapter.zoo}/{chapter.number}"  # such as tinyimagenet/13
        listed = staging / "reads.txt"
        with PeakMemory() as memory, environment(**{TITLE: short, reads.VARIABLE: str(listed)}):
            executed = execute(source, known["parameters"], staging)
        seconds = time.perf_counter() - start
        _check(chapter, executed, staging, output)
        text = nbformat.writes(clean(executed, chapter.zoo)) + "\n"
        nbformat.validate(nbformat.reads(text, as_version=4))
        run = {
            "chapter": chapter.name,
            "zoo": chapter.zoo,
            "profile": chapter.profile,
            **known,
            "reads": reads.told(listed),
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            **provenance.here(),
            "made": notices.now(),
            "seconds": round(seconds, 1),
            "peak_memory_mib": round(memory.peak / 2**20),
            "audit": _read_audit(staging / f"{chapter.name}.audit.json"),
        }
        _replace(output, staging, text, run)
    return run


def _lasting(link: Path, target: Path) -> None:
    """Let what a chapter keeps under ``runs/`` survive: an interrupted sweep goes on from there."""
    target.mkdir(parents=True, exist_ok=True)
    try:
        link.symlink_to(target.resolve(), target_is_directory=True)
    except OSError:  # a file system without links: the chapter begins anew
        link.mkdir()


def _values(
    chapter: Chapter, source: NotebookNode, recompute: bool, results: Path | None
) -> tuple[dict[str, Any], str]:
    """All values of a chapter's parameters, and the command that repeats a run with them."""
    given: dict[str, Any] = {"zoo": chapter.zoo, **chapter.values}
    try:
        declared = parameters.declared(source)
        if recompute and "recompute" in declared:
            given["recompute"] = True
        if results and "results" in declared:
            given["results"] = str(results.resolve() / chapter.zoo)
        values = parameters.cast(declared, given)
    except parameters.ParameterError as error:
        where = f"{chapter.name} ({chapter.zoo}, {chapter.profile})"
        raise PublishError(f"{where}: {error}") from error
    changed = {n: v for n, v in values.items() if n == "zoo" or v != declared[n].default}
    return values, rerun_command(chapter.name, changed)


def rerun_command(chapter: str, values: Mapping[str, Any]) -> str:
    """The Papermill command that repeats a run by hand, from the root of the checkout."""
    words = ["papermill", f"notebooks/{chapter}.ipynb", f"{chapter}.out.ipynb"]
    for name, value in values.items():
        text = str(value)
        # -p guesses a type from the text; -r takes it as it stands
        guessed = isinstance(value, str) and yaml.safe_load(text or "''") != value
        words += ["-r" if guessed else "-p", name, text]
    return shlex.join(words)


def _check(chapter: Chapter, executed: NotebookNode, staging: Path, output: Path) -> None:
    """Refuse a run with a fault, after keeping it as ``NN_title.failed.ipynb``."""
    wrong = faults(executed)
    if wrong:
        kept = output.with_suffix(".failed.ipynb")
        nbformat.write(executed, kept)
        raise PublishError(
            f"{chapter.page}: not published, because {'; '.join(wrong)}. The earlier "
            f"copy, if any, is untouched; the whole traceback is in {kept.name} beside it",
            why="; ".join(wrong),
        )
    check_ledger(staging / f"{chapter.name}.ledger.json", chapter.zoo)


def check_ledger(path: Path, zoo: str) -> tuple[ledger.Line, ...]:
    """Read a chapter's ledger; every line must be well formed and about ``zoo``.

    Raises
    ------
    PublishError
        If it is missing, empty, malformed or about another zoo.
    """
    name = path.name
    if not path.exists():
        raise PublishError(
            f"expected the chapter to write {name} into its working folder; found none; "
            f"end the chapter with `ledger.write(lines, {name!r})`"
        )
    try:
        lines = ledger.read(path)
    except (ValueError, TypeError) as error:
        raise PublishError(f"{name} is no ledger: {error}") from error
    if not lines:
        raise PublishError(f"expected one line or more in {name}; got none")
    for line in lines:
        if line.zoo != zoo:
            raise PublishError(f"{name}, {line.id}: expected zoo {zoo!r}; got {line.zoo!r}")
    return lines


def _read_audit(path: Path) -> dict[str, Any] | None:
    """What `record_audit` wrote; None if the chapter wrote nothing."""
    if not path.exists():
        return None
    audit = json.loads(path.read_text(encoding="utf-8"))
    if notices.outcome(audit) not in agreement.OUTCOMES:
        raise PublishError(unknown(f"outcome in {path.name}", audit["outcome"], agreement.OUTCOMES))
    return audit


def _replace(output: Path, staging: Path, text: str, run: Mapping[str, Any]) -> None:
    """Put a page and what its chapter wrote in the place of its earlier copy, run.json last.

    Wherever it is stopped, each file is whole; without its run.json, the rest makes no claim to
    belong together, and the chapter is run again.
    """
    name = output.stem
    for stale in output.parent.glob(f".{name}.*"):  # of a publisher that was stopped here
        stale.unlink()
    extras = sorted(staging.glob(f"{name}.*"))
    for extra in extras:
        shutil.copyfile(extra, output.parent / f".{extra.name}.part")
    provenance.file_of(output).unlink(missing_ok=True)
    for stale in output.parent.glob(f"{name}.*"):
        if stale != output:
            stale.unlink()
    for extra in extras:
        os.replace(output.parent / f".{extra.name}.part", output.parent / extra.name)
    paths.write_text(output, text)
    run_text = json.dumps(run, indent=1, sort_keys=True) + "\n"
    paths.write_text(provenance.file_of(output), run_text)
