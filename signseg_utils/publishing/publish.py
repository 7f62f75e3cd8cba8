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
import multiprocessing
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata as distributions
from multiprocessing import connection
from pathlib import Path
from typing import Any

import nbformat
import psutil
import yaml
from nbformat import NotebookNode

from signseg_utils import registry
from signseg_utils.chapter import ledger, parameters
from signseg_utils.experiments import agreement
from signseg_utils.files import paths
from signseg_utils.progress import TITLE, each
from signseg_utils.publishing import notices
from signseg_utils.publishing.executed_notebook import clean, faults
from signseg_utils.publishing.notices import Notice
from signseg_utils.publishing.profiles import read_profile
from signseg_utils.refusals import Refusal, UnknownName
from signseg_utils.registry import unknown

VERSIONS = ("torch", "numpy", "scipy", "matplotlib", "papermill", "signseg-utils")


class PublishError(Refusal, RuntimeError):
    """A chapter that cannot be published; the message says which, why and what to do.

    ``why`` is the sentence on the failed page itself, where that is less than the message.
    """

    def __init__(self, message: str, why: str = "") -> None:
        super().__init__(message)
        self.why = why or message


# ---------------------------------------------------------------- what there is to publish


@dataclass(frozen=True)
class Chapter:
    """One chapter in one zoo, with the values that a profile gives to its parameters."""

    source: Path
    zoo: str
    values: Mapping[str, Any]
    profile: str

    @property
    def name(self) -> str:
        """Name of the chapter's files, such as ``03_the_ablation_sweep``."""
        return self.source.stem


def notebooks_folder() -> Path:
    """Sources of the chapters: ``notebooks/`` of the checkout."""
    return paths.repository() / "notebooks"


def executed_folder() -> Path:
    """Where executed chapters go: ``book/executed/`` of the checkout."""
    return paths.book_folder() / "executed"


def chapters(
    profile: str,
    zoos: Iterable[str] = (),
    numbers: Iterable[int] = (),
    folder: Path | None = None,
) -> list[Chapter]:
    """Chapters of a profile, those of one zoo together.

    No numbers given: all chapters; no zoos: all whose weights ship, so that nothing is fetched.
    """
    folder = folder or notebooks_folder()
    table = read_profile(profile, folder)
    known_zoos = tuple(dict.fromkeys(zoo for row in table.values() for zoo in row))
    known_numbers = {int(name.split("_")[0]): name for name in table}
    zoos = tuple(zoos) or tuple(zoo for zoo in known_zoos if registry.load("zoos", zoo).ships)
    numbers = tuple(numbers) or tuple(known_numbers)
    for zoo in zoos:
        if zoo not in known_zoos:
            raise UnknownName(unknown(f"zoo of profile {profile!r}", zoo, known_zoos))
    for number in numbers:
        if number not in known_numbers:
            raise UnknownName(unknown("chapter", str(number), tuple(map(str, known_numbers))))
    wanted = [known_numbers[number] for number in numbers]
    return [
        Chapter(folder / f"{name}.md", zoo, table[name][zoo], profile)
        for zoo in zoos
        for name in wanted
        if zoo in table[name]
    ]


# ---------------------------------------------------------------- keys


def _digest(files: Iterable[Path], root: Path) -> str:
    """SHA-256 over names and bytes of ``files``."""
    total = hashlib.sha256()
    for path in sorted(files):
        inner = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(root).as_posix()} {inner}\n".encode())
    return total.hexdigest()


def lock_file() -> Path:
    """The file that pins the versions of everything installed."""
    return paths.repository() / "requirements" / "constraints.txt"


def hashes(chapter: Chapter) -> dict[str, str]:
    """SHA-256 of everything that a chapter's content depends on, by kind.

    Weights are covered by their manifests, which hold the SHA-256 that `weights.load` verifies.
    """
    package = Path(__file__).parents[1]
    data = paths.data_folder()
    manifests = (data / "zoo" / chapter.zoo).glob("**/*.json")
    recording = Path(str(chapter.values.get("recording", ""))).stem
    shipped = [
        path
        for part in (
            data / "results" / chapter.zoo,
            *([data / "results" / recording] if recording else []),
            data / "reported",
        )
        for path in part.glob("**/*")
        if path.is_file()
    ]
    number = chapter.name.partition("_")[0]
    shipped += (data / "claims").glob(f"{number}.csv")
    lock = lock_file()
    return {
        "notebook": hashlib.sha256(chapter.source.read_bytes()).hexdigest(),
        "utils": _digest(package.glob("**/*.py"), package),
        "zoo": _digest(manifests, data),
        "results": _digest(shipped, data),
        "lock": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else "none",
    }


def key(values: Mapping[str, Any], parts: Mapping[str, str]) -> str:
    """One SHA-256 of a run's parameters and of the `hashes` of what it reads."""
    text = json.dumps({"parameters": dict(values), "hashes": dict(parts)}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


# ---------------------------------------------------------------- what a chapter leaves behind


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


def rerun_command(chapter: str, values: Mapping[str, Any]) -> str:
    """The Papermill command that repeats a run by hand, from the root of the checkout."""
    words = ["papermill", f"notebooks/{chapter}.ipynb", f"{chapter}.out.ipynb"]
    for name, value in values.items():
        text = str(value)
        # -p guesses a type from the text; -r takes it as it stands
        guessed = isinstance(value, str) and yaml.safe_load(text or "''") != value
        words += ["-r" if guessed else "-p", name, text]
    return shlex.join(words)


# ---------------------------------------------------------------- execution


class _PeakMemory(threading.Thread):
    """Largest resident memory (bytes) of this process's children while it runs."""

    def __init__(self, every_seconds: float = 0.25) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._every = every_seconds
        self._finished = threading.Event()

    def run(self) -> None:
        me = psutil.Process()
        while not self._finished.wait(self._every):
            total = 0
            for child in me.children(recursive=True):
                try:
                    total += child.memory_info().rss
                except psutil.Error:
                    continue
            self.peak = max(self.peak, total)

    def __enter__(self) -> "_PeakMemory":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._finished.set()
        self.join()


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Environment variables for the kernel that is started inside the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _lasting(link: Path, target: Path) -> None:
    """Let what a chapter keeps under ``runs/`` survive: an interrupted sweep goes on from there."""
    target.mkdir(parents=True, exist_ok=True)
    try:
        link.symlink_to(target.resolve(), target_is_directory=True)
    except OSError:  # a file system without links: the chapter begins anew
        link.mkdir()


def _end(process: int) -> None:
    """Kill a kernel that is still there, and what it started."""
    try:
        kernel = psutil.Process(process)
        family = [*kernel.children(recursive=True), kernel]
    except psutil.NoSuchProcess:
        return
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()


def _died(notebook: NotebookNode) -> NotebookNode:
    """``notebook`` with an error in the output of the cell in which its kernel died."""
    ran = [cell for cell in notebook.cells if cell.cell_type == "code"]
    begun = [cell for cell in ran if cell.metadata.get("papermill", {}).get("start_time")]
    why = "the kernel ended without a word; it was killed, crashed, or memory ran out"
    error = nbformat.v4.new_output("error", ename="DeadKernel", evalue=why)
    (begun or ran)[-1].outputs.append(error)
    return notebook


def _unmarked(notebook: NotebookNode) -> NotebookNode:
    """``notebook`` without the cells that Papermill adds on an error, so that numbers are right."""
    added = "papermill-error-cell-tag"
    notebook.cells = [c for c in notebook.cells if added not in c.metadata.get("tags", [])]
    return notebook


def execute(source: NotebookNode, values: Mapping[str, Any], folder: Path) -> NotebookNode:
    """Run a notebook with Papermill in ``folder``; returned whole, errors in its outputs.

    Ctrl-C ends the kernel and is raised as KeyboardInterrupt.
    """
    import papermill
    from jupyter_client.manager import AsyncKernelManager
    from nbclient.exceptions import DeadKernelError

    started: list[Any] = []

    class Kernel(AsyncKernelManager):
        """Talks over sockets in the file system, not over TCP, where there are such."""

        def __init__(self, **keywords: Any) -> None:
            super().__init__(**keywords)
            started.append(self)
            if sys.platform != "win32":
                self.transport = "ipc"

    unrun, done = folder / ".source.ipynb", folder / ".executed.ipynb"
    nbformat.write(source, unrun)
    quiet = {"TQDM_DISABLE": "1", "PYTHONHASHSEED": "0", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    # in a thread: in the main one nbclient takes Ctrl-C for itself and reports a dead kernel
    with _environment(**quiet), ThreadPoolExecutor(1) as aside:
        running = aside.submit(
            papermill.execute_notebook,
            str(unrun),
            str(done),
            parameters=dict(values),
            kernel_name="python3",
            language="python",
            cwd=str(folder),
            progress_bar=False,
            log_output=False,
            kernel_manager_class=Kernel,
        )
        try:
            running.result()
        except papermill.PapermillExecutionError:
            return _unmarked(nbformat.read(done, as_version=4))  # `faults` names the cell
        except DeadKernelError:
            return _died(nbformat.read(done, as_version=4))
        finally:
            for kernel in started:
                if kernel.has_kernel and kernel.provisioner.has_process:
                    _end(kernel.provisioner.pid)
    return nbformat.read(done, as_version=4)


def _commit() -> str:
    """Short hash of the checkout's commit, ``+`` appended if files differ from it."""
    root = paths.repository()

    def git(*words: str) -> str:
        run = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
        return run.stdout.strip() if run.returncode == 0 else ""

    commit = git("rev-parse", "--short=10", "HEAD")
    if not commit:
        return "unknown"
    return commit + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")


def hardware() -> dict[str, Any]:
    """What the run was computed on, in general words."""
    found: dict[str, Any] = {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }
    try:
        import torch

        found["gpu"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    except ImportError:
        found["gpu"] = None
    return found


def _versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide numbers."""
    found = {"python": platform.python_version()}
    for name in VERSIONS:
        try:
            found[name] = distributions.version(name)
        except distributions.PackageNotFoundError:
            continue
    return found


def is_current(output: Path, expected_key: str) -> bool:
    """Whether ``output`` was made by a run with ``expected_key`` and nobody has touched it.

    A page whose audit was beyond its bounds is never current: it is tried again.
    """
    run_file = output.with_suffix(".run.json")
    ledger = output.with_suffix(".ledger.json")
    if not (output.exists() and run_file.exists() and ledger.exists()):
        return False
    run = json.loads(run_file.read_text(encoding="utf-8"))
    same = hashlib.sha256(output.read_bytes()).hexdigest() == run.get("sha256")
    return same and run.get("key") == expected_key and not _beyond(run)


def _beyond(run: Mapping[str, Any]) -> bool:
    """Whether a page's stored results differ from what this machine computes, beyond bounds."""
    return notices.outcome(run.get("audit")) == agreement.BEYOND


# ---------------------------------------------------------------- publishing one chapter


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


def _check(chapter: Chapter, executed: NotebookNode, staging: Path, output: Path) -> None:
    """Refuse a run with a fault, after keeping it as ``NN_title.failed.ipynb``."""
    wrong = faults(executed)
    if wrong:
        kept = output.with_suffix(".failed.ipynb")
        nbformat.write(executed, kept)
        raise PublishError(
            f"{chapter.zoo}/{chapter.name}: not published, because {'; '.join(wrong)}. The earlier "
            f"copy, if any, is untouched; the whole traceback is in {kept.name} beside it",
            why="; ".join(wrong),
        )
    check_ledger(staging / f"{chapter.name}.ledger.json", chapter.zoo)


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
    output.with_suffix(".run.json").unlink(missing_ok=True)
    for stale in output.parent.glob(f"{name}.*"):
        if stale != output:
            stale.unlink()
    for extra in extras:
        os.replace(output.parent / f".{extra.name}.part", output.parent / extra.name)
    paths.write_text(output, text)
    run_text = json.dumps(run, indent=1, sort_keys=True) + "\n"
    paths.write_text(output.with_suffix(".run.json"), run_text)


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
    run_key = key(values, parts)
    title = f"{chapter.zoo}/{chapter.name}"
    if not (force or recompute) and is_current(output, run_key):
        notices.clear(output.parent, chapter.name)
        report(f"{title}: unchanged, kept")
        return output

    output.parent.mkdir(parents=True, exist_ok=True)
    report(f"{title}: running (profile {chapter.profile})")
    with tempfile.TemporaryDirectory(prefix="signseg-publish-") as name:
        staging = Path(name)
        _lasting(staging / "runs", (folder or paths.repository()) / "runs")
        start = time.perf_counter()
        short = f"{chapter.zoo}/{chapter.name.split('_')[0]}"  # such as tinyimagenet/13
        with _PeakMemory() as memory, _environment(**{TITLE: short}):
            executed = execute(source, values, staging)
        seconds = time.perf_counter() - start
        _check(chapter, executed, staging, output)
        text = nbformat.writes(clean(executed, chapter.zoo)) + "\n"
        nbformat.validate(nbformat.reads(text, as_version=4))
        run = {
            "chapter": chapter.name,
            "zoo": chapter.zoo,
            "profile": chapter.profile,
            "parameters": values,
            "seed": values.get("seed"),
            "command": command,
            "key": run_key,
            "hashes": parts,
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "commit": _commit(),
            "versions": _versions(),
            "hardware": hardware(),
            "made": notices.now(),
            "seconds": round(seconds, 1),
            "peak_memory_mib": round(memory.peak / 2**20),
            "audit": _read_audit(staging / f"{chapter.name}.audit.json"),
        }
        _replace(output, staging, text, run)
    report(f"{title}: {seconds:.0f} s, {run['peak_memory_mib']} MiB at most")
    return output


# ---------------------------------------------------------------- publishing many


@dataclass(frozen=True)
class Publisher:
    """How pages are to be made: the choices of one command line."""

    folder: Path | None = None
    how: Mapping[str, Any] = field(default_factory=dict)

    def command(self, chapter: Chapter) -> str:
        """The command that tries one page again, from the root of the checkout."""
        number = int(chapter.name.split("_")[0])
        recompute, results = self.how.get("recompute"), self.how.get("results")
        if chapter.profile == "shipped" and not (self.folder or results):
            words = ["make", "book", f"ZOO={chapter.zoo}", f"CHAPTERS={number}"]
            return shlex.join([*words, *(["RECOMPUTE=1"] if recompute else [])])
        words = ["signseg", "publish", "--profile", chapter.profile]
        words += ["--zoo", chapter.zoo, "--chapters", str(number)]
        words += ["--output", str(self.folder)] if self.folder else []
        words += ["--results", str(results)] if results else []
        return shlex.join([*words, *(["--recompute"] if recompute else [])])

    def notice(self, chapter: Chapter, what: str, details: str = "") -> Notice:
        """What there is to say about a page that is not as it should be."""
        command = self.command(chapter)
        return Notice(chapter.zoo, chapter.name, what, notices.now(), command, details)

    def failed(self, chapter: Chapter, what: str, details: str = "") -> Notice:
        """The same of a page that could not be made, noted beside it for the book."""
        notice = self.notice(chapter, what, details)
        notices.write((self.folder or executed_folder()) / chapter.zoo, notice)
        return notice

    def attempt(self, chapter: Chapter) -> Notice | None:
        """Publish one chapter; whatever goes wrong costs this page only, and is returned."""
        try:
            report = partial(print, flush=True)
            output = publish(chapter, self.folder, **self.how, report=report)
        except PublishError as error:
            return self.failed(chapter, error.why)
        except Exception as error:  # of the disk, of a library: the other pages do not hang on it
            what = f"the publisher met {type(error).__name__}: {error}"
            return self.failed(chapter, what, traceback.format_exc())
        run = json.loads(output.with_suffix(".run.json").read_text(encoding="utf-8"))
        if not _beyond(run):
            return None
        worst = next(iter(run["audit"].get("notes", [])), "the page says which")
        what = f"its audit is beyond the bounds: {worst}"
        return replace(self.notice(chapter, what), published=True)

    def in_turn(self, wanted: Sequence[Chapter]) -> list[Notice]:
        """Publish one chapter after the other; returns what there is to say of them."""
        return [notice for notice in map(self.attempt, _counted(wanted)) if notice]

    def side_by_side(self, groups: Iterable[Sequence[Chapter]], jobs: int) -> list[Notice]:
        """Each group in a process of its own, at most ``jobs`` at once, the cores shared out.

        Chapters of one zoo go on from each other's searches, so they stay in order; zoos share
        none. Where a process dies, that costs the page that it was at.
        """
        share = str(max(1, (os.cpu_count() or 1) // jobs))
        fresh = multiprocessing.get_context("spawn")
        waiting = [list(group) for group in groups]
        running: dict[Any, tuple[Any, list[Chapter]]] = {}
        found: list[Notice] = []
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    group = waiting.pop(0)
                    here, there = fresh.Pipe(duplex=False)
                    process = fresh.Process(target=_work, args=(self, group, there))
                    with _environment(OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", share)):
                        process.start()
                    there.close()
                    running[here] = (process, group)
                ready: list[Any] = connection.wait(running)
                for here in ready:
                    process, left = running[here]
                    try:
                        notice = here.recv()
                    except EOFError:
                        process.join()
                        del running[here]
                        if left:
                            what = f"its process ended early, with status {process.exitcode}"
                            found.append(self.failed(left.pop(0), what))
                        waiting += [left] if left else []
                    else:
                        left.pop(0)
                        found += [notice] if notice else []
        finally:
            for process, _ in running.values():
                process.terminate()
                process.join()
        return found


def _work(publisher: Publisher, group: Sequence[Chapter], told: connection.Connection) -> None:
    """What a process of its own does: publish a group, and tell after each page how it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole family;
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # its head says what to do
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(KeyboardInterrupt):
        for chapter in _counted(group):
            told.send(publisher.attempt(chapter))


def _counted(wanted: Sequence[Chapter]) -> Iterable[Chapter]:
    """The chapters, counted aloud under the names of their zoos."""
    return each(wanted, "pages", ", ".join(dict.fromkeys(chapter.zoo for chapter in wanted)))


def _end_with_parent() -> None:
    """End this process when the publisher that started it is no more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
