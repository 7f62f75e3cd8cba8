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

from signseg_utils.basics.progress import Work, each
from signseg_utils.files import paths
from signseg_utils.publishing import kernels, notices, provenance
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
        kernels.expect(len(wanted))
        return [notice for notice in map(self.attempt, _counted(wanted)) if notice]

    def side_by_side(self, groups: Iterable[Sequence[Chapter]], jobs: int) -> list[Notice]:
        """Groups in processes of their own, ``jobs`` at once, the cores shared out.

        Pages of a group stay in order; a process that is done with a group takes another, so that
        none waits while there is one. Where a process dies, that costs the page that it was at.
        """
        threads = str(max(1, (os.cpu_count() or 1) // jobs))
        waiting = [list(group) for group in groups]
        running: dict[Any, _Process] = {}
        found: list[Notice] = []
        wanted = [chapter for group in waiting for chapter in group]
        try:
            with Work(len(wanted), "pages", _zoos(wanted)) as work:
                while waiting or running:
                    while waiting and len(running) < jobs:
                        begun = _Process(self, waiting.pop(0), threads, len(wanted) // jobs)
                        running[begun.told] = begun
                    for told in connection.wait(list(running)):
                        process = running[told]
                        try:
                            notice = process.finished_page()
                            if not process.left:
                                process.take(waiting.pop(0) if waiting else [])
                        except EOFError:
                            del running[told]
                            notice = self._ended(process)
                            waiting += [process.left] if process.left else []
                        found += [notice] if notice else []
                        left = [*waiting, *(one.left for one in running.values())]
                        work.to(len(wanted) - sum(map(len, left)))
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
    """A process of its own that publishes one group after the other.

    ``left`` are the chapters of the present one of which it has not told yet; ``told`` can be
    waited for. ``pages``: about how many it will make in all.
    """

    def __init__(
        self, publisher: Publisher, group: Sequence[Chapter], threads: str, pages: int
    ) -> None:
        fresh = multiprocessing.get_context("spawn")
        self.told, there = fresh.Pipe()
        self._process = fresh.Process(target=_work, args=(publisher, there, pages))
        with environment(OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", threads)):
            self._process.start()
        there.close()
        self.take(group)

    def take(self, group: Sequence[Chapter]) -> None:
        """Let it publish a group; an empty one is its last."""
        self.left = list(group)
        with suppress(OSError):  # it is no more, which is seen where one waits for it
            self.told.send(self.left)

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


def _work(publisher: Publisher, head: connection.Connection, pages: int) -> None:
    """What a process of its own does: publish groups, and tell after each page how it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole family;
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # its head says what to do
    threading.Thread(target=end_with_parent, daemon=True).start()
    kernels.expect(pages)
    with suppress(KeyboardInterrupt):
        while group := head.recv():
            for chapter in group:
                head.send(publisher.attempt(chapter))


def _from_root(folder: Path) -> str:
    """A folder as a command names it that is given at the root of the checkout."""
    whole, root = folder.resolve(), paths.repository()
    return str(whole.relative_to(root) if whole.is_relative_to(root) else folder)


def _counted(wanted: Sequence[Chapter]) -> Iterable[Chapter]:
    """The chapters, counted aloud under the names of their zoos."""
    return each(wanted, "pages", _zoos(wanted))


def _zoos(wanted: Sequence[Chapter]) -> str:
    """The zoos of chapters, in words."""
    return ", ".join(dict.fromkeys(chapter.zoo for chapter in wanted))
