"""Long work talks: how long it will take, what is done and what is left; short work is silent.

`Work` counts what is done. Works that open while another is open are parts of it: they move it on,
and only the outermost speaks. It says beforehand, judged by a first piece, how long all will take,
then what is done and left, at growing intervals, and at the end how long it took::

    recording: about 14 min in all; if stopped, the same command goes on from there
    recording: 1 of 3 studies, 34 of 62 neurons, about 6 min left
    recording: 3 of 3 studies in 13 min

The lines go to the standard error of the process. In the kernel of a notebook that is the one of
the program that started it (Papermill, the publisher, the server of JupyterLab), never an output;
below the cell, one line whose text is replaced shows the same, unless ``TQDM_DISABLE`` is set, as
the publisher does. ``SIGNSEG_PROGRESS`` gives all lines of a process another beginning.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from types import FrameType
from typing import Any, TypeVar

SILENT = 10.0  # seconds: what takes no longer says nothing
JUDGED = 2.0  # seconds of work that the first estimate rests on
TITLE = "SIGNSEG_PROGRESS"  # environment variable: what lines begin with, such as tinyimagenet/13
NEXT, SHARE, LATEST = 20.0, 0.2, 300.0  # seconds to the next line: a share of those spent, within
LIVE = 1.0  # seconds until a line that is written over is written again

T = TypeVar("T")
_open: ContextVar[Work | None] = ContextVar("open", default=None)


class Work:
    """Counted work, a context manager; not made anew for another round.

    Parameters
    ----------
    total
        How many pieces there are; None: not known.
    unit
        What the pieces are, in the plural.
    about
        What lines begin with where the environment says nothing.
    there
        Pieces that an earlier run has left and that take no time.
    costs
        What each piece costs, in any unit; default: all alike.
    resumes
        Whether the same command goes on where this one was stopped.
    fine
        So fine a part that lines name it only where it is the whole.
    speaks
        False: only moves on the work it is a part of.
    """

    def __init__(
        self,
        total: float | None,
        unit: str,
        about: str = "",
        *,
        there: float = 0,
        costs: Sequence[float] | None = None,
        resumes: bool = False,
        fine: bool = False,
        speaks: bool = True,
    ) -> None:
        self.total, self.unit, self.there, self.fine = total, unit, there, fine
        self.costs = None if costs is None else list(costs)
        self.resumes, self.speaks = resumes, speaks
        self.title = os.environ.get(TITLE) or about or unit
        self.done = there
        self.outer: Work | None = None
        self.loop: FrameType | None = None  # of `each`: the function that loops
        self._inner: Work | None = None
        self._inside = 0.0  # share of the present piece that its parts have done
        self._spoken: float | None = None  # when a line was last written
        self._live = 0.0
        self._shown: Any = None  # the output below a cell

    def __enter__(self) -> Work:
        self.outer = _open.get()
        while self.outer is not None and not _running(self.outer.loop):
            self.outer = self.outer.outer
        _open.set(self)
        self._opened = self._since = clock()
        self._first = self.share
        if self.outer is not None:
            self.outer._entered(self, self._opened)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.loop, level = None, _open.get()
        while level is not None and level is not self:
            level = level.outer
        if level is None:  # of a loop that an error left: others have been opened since
            return
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

    def note(self, said: str) -> None:
        """A line of its own, where the work has talked already."""
        if self.outer is not None:
            self.outer.note(said)
        elif self._spoken is not None:
            self._write(said, lasting=True)

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

    def _entered(self, inner: Work, now: float) -> None:
        """What a part finds done took no time, nor counts what prepared for the first part."""
        before = self.share
        if before == self._first:
            self._since = now
        self._inner, self._inside = inner, inner.share
        self._first += self.share - before
        if self.outer is not None:
            self.outer._entered(self, now)

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
        for level in self._levels():
            if level.there:
                said += f"; goes on from {_number(level.there)} of {_number(level.total)} "
                said += level.unit
        if self.resumes:
            said += "; if stopped, the same command goes on from there"
        return said

    def _counted(self) -> str:
        levels = self._levels()
        named = [level for level in levels if not level.fine and level.total != 1]
        return ", ".join(
            f"{_number(level.done)} {level.unit}"
            if level.total is None
            else f"{_number(level.done)} of {_number(level.total)} {level.unit}"
            for level in named or levels[:1]
        )

    def _levels(self) -> list[Work]:
        """This work and the parts that are open in it."""
        return [self, *(self._inner._levels() if self._inner is not None else [])]

    def _write(self, said: str, *, lasting: bool, due: bool = True) -> None:
        """To lines that stay where one is due; over the last one where that can be done."""
        self._live = clock()
        if due:
            self._spoken = self._live
        line = f"{self.title}: {said}"
        shown = not os.environ.get("TQDM_DISABLE")
        with contextlib.suppress(OSError, ValueError):  # progress is no reason to fail
            if hasattr(sys.stderr, "pub_thread"):  # the kernel of a notebook
                if shown:
                    self._show(line)
                if due:
                    own = getattr(sys.stderr, "_original_stdstream_copy", None)
                    os.write(2 if own is None else own, f"{line}\n".encode())
            elif shown and sys.stderr.isatty():
                sys.stderr.write(f"\r{line:<79}" + ("\n" if lasting else ""))
                sys.stderr.flush()
            elif due:
                print(line, file=sys.stderr, flush=True)

    def _show(self, line: str) -> None:
        """Below the cell: one output, whose text is replaced."""
        from IPython.display import display

        text = {"text/plain": line}
        if self._shown is None:
            self._shown = display(text, raw=True, display_id=True)
        else:
            self._shown.update(text, raw=True)


def each(
    pieces: Iterable[T], unit: str, about: str = "", *, there: int = 0, **how: Any
) -> Iterator[T]:
    """The pieces that are not there yet, one after the other, counted by a `Work` (see there)."""
    those = list(pieces)
    with Work(there + len(those), unit, about, there=there, **how) as work:
        work.loop = sys._getframe(1)
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


def _running(function: FrameType | None) -> bool:
    """Whether a loop goes on; one that an error left stays open as long as the traceback lives."""
    frame: FrameType | None = sys._getframe()
    while function is not None and frame is not None and frame is not function:
        frame = frame.f_back
    return frame is not None


def _number(count: float | None) -> str:
    return "?" if count is None else f"{int(count):,}"
