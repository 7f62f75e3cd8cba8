"""Run a notebook in a kernel of its own that leaves nothing behind, and say what it took."""

import multiprocessing
import os
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nbformat
import psutil
from nbformat import NotebookNode

# Of glibc's allocator: memory that one pass of a network frees is kept for the next. Maps of more
# than 32 MiB would go back to the system, which fills them with zeros before it lends them out
# again; that took a fifth of the time of such passes. What is larger than any map still goes back.
MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**26), "MALLOC_TRIM_THRESHOLD_": str(2**27)}


def execute(source: NotebookNode, values: Mapping[str, Any], folder: Path) -> NotebookNode:
    """Run a notebook with Papermill in ``folder``; returned whole, errors in its outputs.

    Ctrl-C ends the kernel and is raised as KeyboardInterrupt.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError

    from signseg_utils.publishing import kernels

    started: list[Any] = []

    class Kernel(kernels.Kernel):
        def __init__(self, **keywords: Any) -> None:
            super().__init__(**keywords)
            started.append(self)

    unrun, done = folder / ".source.ipynb", folder / ".executed.ipynb"
    nbformat.write(source, unrun)
    quiet = {
        "TQDM_DISABLE": "1",
        "PYTHONHASHSEED": "0",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # read when it is imported
        **MEMORY,
    }
    # in a thread: in the main one nbclient takes Ctrl-C for itself and reports a dead kernel
    with environment(**quiet), ThreadPoolExecutor(1) as aside:
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
            while not running.done():  # in steps: a Ctrl-C is not seen while one waits for a lock
                wait([running], timeout=0.5)
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


class PeakMemory(threading.Thread):
    """Largest memory (bytes) of this process's children while it runs.

    Pages that a forked kernel shares with its server count once, where the system tells (Linux).
    To tell it walks through all of a process's pages, which takes as long as much of a kernel's own
    work and holds it up; so it is asked only when resident memory has grown.
    """

    def __init__(self, every_seconds: float = 0.25, growth: float = 1.02) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._every, self._growth = every_seconds, growth
        self._finished = threading.Event()

    def run(self) -> None:
        me, resident = psutil.Process(), 0.0
        while not self._finished.wait(self._every):
            children = me.children(recursive=True)
            total = sum(_memory(child, "memory_info") for child in children)
            if total > self._growth * resident:
                resident = total
                shared_once = sum(_memory(child, "memory_full_info") for child in children)
                self.peak = max(self.peak, shared_once)

    def __enter__(self) -> "PeakMemory":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._finished.set()
        self.join()


def _memory(process: psutil.Process, asked: str) -> int:
    """Memory (bytes) of a process by one of psutil's methods; 0 of one that is no more."""
    try:
        told = getattr(process, asked)()
    except psutil.Error:
        return 0
    return int(getattr(told, "pss", told.rss))


@contextmanager
def environment(**values: str) -> Iterator[None]:
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


def end_with_parent() -> None:
    """End this process when the publisher that started it is no more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


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
