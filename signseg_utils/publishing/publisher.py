"""The publisher's run over many pages: in turn or side by side; one that fails costs one page."""

import multiprocessing
import os
import shlex
import signal
import threading
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import connection
from pathlib import Path
from typing import Any

from signseg_utils.basics.progress import each
from signseg_utils.files import paths
from signseg_utils.publishing import notices, provenance
from signseg_utils.publishing.chapters import Chapter, executed_folder
from signseg_utils.publishing.execution import end_with_parent, environment
from signseg_utils.publishing.notices import Notice
from signseg_utils.publishing.publish import PublishError, publish


@dataclass(frozen=True)
class Publisher:
    """How pages are to be made: the choices of one command line."""

    folder: Path | None = None
    how: Mapping[str, Any] = field(default_factory=dict)

    def command(self, chapter: Chapter) -> str:
        """The command that tries one page again, from the root of the checkout."""
        recompute, results = self.how.get("recompute"), self.how.get("results")
        if chapter.profile == "shipped" and not (self.folder or results):
            words = ["make", "book", f"ZOO={chapter.zoo}", f"CHAPTERS={int(chapter.number)}"]
            return shlex.join([*words, *(["RECOMPUTE=1"] if recompute else [])])
        words = ["signseg", "publish", "--profile", chapter.profile]
        words += ["--zoo", chapter.zoo, "--chapters", str(int(chapter.number))]
        words += ["--output", _from_root(self.folder)] if self.folder else []
        words += ["--results", _from_root(results)] if results else []
        return shlex.join([*words, *(["--recompute"] if recompute else [])])

    def notice(self, chapter: Chapter, what: str, details: str = "") -> Notice:
        """What there is to say about a page that is not as it should be; no folder of a machine."""
        what, details = map(notices.without_folders, (what, details))
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
            run = provenance.read(publish(chapter, self.folder, **self.how, report=report))
        except PublishError as error:
            return self.failed(chapter, error.why)
        except Exception as error:  # of the disk, of a library: the other pages do not hang on it
            what = f"the publisher met {type(error).__name__}: {error}"
            return self.failed(chapter, what, traceback.format_exc())
        if not provenance.beyond(run):
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
        threads = str(max(1, (os.cpu_count() or 1) // jobs))
        waiting = [list(group) for group in groups]
        running: dict[Any, _Process] = {}
        found: list[Notice] = []
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    begun = _Process(self, waiting.pop(0), threads)
                    running[begun.told] = begun
                for told in connection.wait(list(running)):
                    process = running[told]
                    try:
                        notice = process.finished_page()
                    except EOFError:
                        del running[told]
                        notice = self._ended(process)
                        waiting += [process.left] if process.left else []
                    found += [notice] if notice else []
        finally:
            for process in running.values():
                process.stop()
        return found

    def _ended(self, process: "_Process") -> Notice | None:
        """What a process that is no more has cost: the page that it was at, if any was left."""
        status = process.status()
        if not process.left:
            return None
        return self.failed(process.left.pop(0), f"its process ended early, with status {status}")


class _Process:
    """A process of its own that publishes a group.

    ``left`` are the chapters of which it has not told yet; ``told`` can be waited for.
    """

    def __init__(self, publisher: Publisher, group: Sequence[Chapter], threads: str) -> None:
        fresh = multiprocessing.get_context("spawn")
        self.left = list(group)
        self.told, there = fresh.Pipe(duplex=False)
        self._process = fresh.Process(target=_work, args=(publisher, self.left, there))
        with environment(OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", threads)):
            self._process.start()
        there.close()

    def finished_page(self) -> Notice | None:
        """What there is to say of the page that it has just finished; EOFError if it is no more."""
        notice: Notice | None = self.told.recv()
        del self.left[0]
        return notice

    def status(self) -> int | None:
        """Its exit status, once it has ended."""
        self._process.join()
        return self._process.exitcode

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        self._process.terminate()
        self._process.join()


def _work(publisher: Publisher, group: Sequence[Chapter], told: connection.Connection) -> None:
    """What a process of its own does: publish a group, and tell after each page how it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole family;
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # its head says what to do
    threading.Thread(target=end_with_parent, daemon=True).start()
    with suppress(KeyboardInterrupt):
        for chapter in _counted(group):
            told.send(publisher.attempt(chapter))


def _from_root(folder: Path) -> str:
    """A folder as a command names it that is given at the root of the checkout."""
    whole, root = folder.resolve(), paths.repository()
    return str(whole.relative_to(root) if whole.is_relative_to(root) else folder)


def _counted(wanted: Sequence[Chapter]) -> Iterable[Chapter]:
    """The chapters, counted aloud under the names of their zoos."""
    return each(wanted, "pages", ", ".join(dict.fromkeys(chapter.zoo for chapter in wanted)))
