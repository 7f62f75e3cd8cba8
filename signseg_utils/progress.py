"""Long work talks: how long it will take, what is done and what is left; short work is silent.

`Work` counts what is done. Works that open while another is open are parts of it: they move it on,
and only the outermost speaks. It says beforehand, judged by a first piece, how long all will take,
then what is done and left, at growing intervals, and at the end how long it took::

    recording: about 14 min in all; if stopped, the same command goes on from there
    recording: 1 of 3 studies, 34 of 62 neurons, about 6 min left
    recording: 3 of 3 studies in 13 min

The lines go to the standard error of the process. In the kernel of a notebook that is the one of
the program that started it (Papermill, the publisher, the server of JupyterLab), never a cell's
output; there, one line that is written over shows the same, unless ``TQDM_DISABLE`` is set, as the
publisher does. ``SIGNSEG_PROGRESS`` gives all lines of a process another beginning.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import TypeVar

SILENT = 10.0  # seconds: what takes no longer says nothing
JUDGED = 2.0  # seconds of work that the first estimate rests on
TITLE = "SIGNSEG_PROGRESS"  # environment variable: what lines begin with, such as tinyimagenet/13
NEXT, SHARE, LATEST = 20.0, 0.2, 300.0  # seconds to the next line: a share of those spent, within
LIVE = 0.5  # seconds between two writings of the line that is written over

T = TypeVar("T")
_open: ContextVar[Work | None] = ContextVar("open", default=None)


class Work:
    """Counted work, a context manager; not made anew for another round.

    Parameters
    ----------
    total
        How many pieces there are; None: not known.
    unit
        What the pieces are, in the plural; a part without a unit is not named in a line.
    about
        What lines begin with where the environment says nothing.
    there
        Pieces that an earlier run has left and that take no time.
    costs
        What each piece costs, in any unit; default: all alike.
    resumes
        Whether the same command goes on where this one was stopped.
    speaks
        False: only moves on the work it is a part of.
    """

    def __init__(
        self,
        total: float | None,
        unit: str = "",
        about: str = "",
        *,
        there: float = 0,
        costs: Sequence[float] | None = None,
        resumes: bool = False,
        speaks: bool = True,
    ) -> None:
        self.total, self.unit, self.there = total, unit, there
        self.costs = None if costs is None else list(costs)
        self.resumes, self.speaks = resumes, speaks
        self.title = os.environ.get(TITLE) or about or unit
        self.done = there
        self.outer: Work | None = None
        self._inner: Work | None = None
        self._inside = 0.0  # share of the present piece that its parts have done
        self._spoken: float | None = None  # when a line was last written
        self._live = 0.0

    def __enter__(self) -> Work:
        self.outer = _open.get()
        _open.set(self)
        self._opened = clock()
        self._begun(self._opened)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        _open.set(self.outer)
        if self.outer is not None:
            self.outer._inner = None
            return
        if self._spoken is None:
            return
        took = words(clock() - self._opened)
        if kind is None:
            self._write(f"{self._counted()} in {took}", lasting=True)
        else:
            more = "; the same command goes on from there" if self.resumes else ""
            self._write(f"stopped at {self._counted()} after {took}{more}", lasting=True)

    def advance(self, pieces: float = 1) -> None:
        """So many more pieces are done."""
        self.to(self.done + pieces)

    def to(self, done: float) -> None:
        """So many pieces are done, those that were there included."""
        self.done, self._inside = done, 0.0
        self._moved()

    @property
    def share(self) -> float:
        """Share of the whole work that is done, 0..1."""
        if not self.total:
            return 0.0
        if self.costs is None:
            return min(1.0, (self.done + self._inside) / self.total)
        whole = int(self.done)
        present = sum(self.costs[whole : whole + 1])
        return min(1.0, (sum(self.costs[:whole]) + self._inside * present) / sum(self.costs))

    @property
    def left(self) -> float | None:
        """Seconds left, if all goes on as fast as so far; None as long as nothing is done."""
        gained = self.share - self._first
        return (clock() - self._since) * (1 - self.share) / gained if gained > 0 else None

    def _begun(self, now: float) -> None:
        """The clock of the estimate starts with the first part, not with what prepares for it."""
        self._since, self._first = now, self.share
        if self.outer is not None:
            self.outer._inner = self
            if self.outer.share == self.outer._first:
                self.outer._begun(now)

    def _moved(self) -> None:
        if self.outer is not None:
            self.outer._inside = self.share
            self.outer._moved()
            return
        now, left = clock(), self.left
        if not self.speaks:
            return
        if self._spoken is None:
            measured = now - self._since
            long = left is not None and measured >= JUDGED and measured + left >= SILENT
            if long or now - self._opened >= SILENT:
                self._write(self._foretold(), lasting=True)
            return
        gap = min(max(NEXT, SHARE * (now - self._opened)), LATEST)
        due = now - self._spoken >= gap
        if due or now - self._live >= LIVE:
            about = "" if left is None else f", about {words(left)} left"
            self._write(f"{self._counted()}{about}", lasting=False, due=due)

    def _foretold(self) -> str:
        left = self.left
        if left is None:
            said = f"{self._counted()}, no estimate yet"
        else:
            said = f"about {words(clock() - self._opened + left)} in all"
        if self.there:
            said += f"; goes on from {_number(self.there)} of {_number(self.total)} {self.unit}"
        if self.resumes:
            said += "; if stopped, the same command goes on from there"
        return said

    def _counted(self) -> str:
        levels, level = [], self
        while level is not None:
            if level.unit:
                of = "" if level.total is None else f" of {_number(level.total)}"
                levels.append(f"{_number(level.done)}{of} {level.unit}")
            level = level._inner  # type: ignore[assignment]
        return ", ".join(levels)

    def _write(self, said: str, *, lasting: bool, due: bool = True) -> None:
        """To lines that stay where one is due; over the last one where that can be done."""
        self._live = clock()
        if due:
            self._spoken = self._live
        line = f"{self.title}: {said}"
        with contextlib.suppress(OSError, ValueError):  # progress is no reason to fail
            kernel = hasattr(sys.stderr, "pub_thread")
            live = kernel or sys.stderr.isatty()
            if live and not os.environ.get("TQDM_DISABLE"):
                sys.stderr.write(f"\r{line:<79}" + ("\n" if lasting else ""))
                sys.stderr.flush()
            elif due and not kernel:
                print(line, file=sys.stderr, flush=True)
            if due and kernel:
                own = getattr(sys.stderr, "_original_stdstream_copy", None)
                os.write(2 if own is None else own, f"{line}\n".encode())


def each(
    pieces: Iterable[T], unit: str = "", about: str = "", *, costs: Sequence[float] | None = None,
    resumes: bool = False, speaks: bool = True,
) -> Iterator[T]:
    """The pieces, one after the other, counted by a `Work` (see there)."""
    those = list(pieces)
    with Work(len(those), unit, about, costs=costs, resumes=resumes, speaks=speaks) as work:
        for piece in those:
            yield piece
            work.advance()


def words(seconds: float) -> str:
    """A time as one would say it: ``40 s``, ``6 min``, ``2.5 h``."""
    if seconds < 95:
        return f"{seconds:.0f} s" if seconds < 20 else f"{5 * round(seconds / 5)} s"
    if seconds < 95 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def clock() -> float:
    """Seconds; tests put another clock in its place."""
    return time.monotonic()


def _number(count: float | None) -> str:
    return "?" if count is None else f"{int(count):,}"
