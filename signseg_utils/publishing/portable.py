"""Does what ships come out alike on other processors? Every page on every machine that is emulated.

``signseg portable`` publishes each page in a fresh process under each
of `MACHINES` and keeps how it ended in ``benchmarks/results/portable.json``. A cell of that table
that belongs to the present code, data and packages is not made again, so that the command can be
stopped at any time and asked for a part.

With ``--fast`` there are no pages: under each of two machines one process draws every network that
is drawn from a seed, and runs each chapter up to the audit of the results that it shows.
"""

import contextlib
import dataclasses
import io
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from signseg_utils.files import paths
from signseg_utils.publishing import publish
from signseg_utils.refusals import UnknownName
from signseg_utils.registry import unknown

OUTCOMES = ("ok", "within bounds", "failed")
FAST = ("as it is", "no AVX")
FAST_SAMPLE = 8  # stored codes of each page that the fast form scores again
SECONDS = 1800  # more than any page needs: then it counts as failed
_AUDITS = re.compile(r"record_audit\(|\.(all_)?searches\(|publish\.fits\(|chapter\.results\(")


@dataclasses.dataclass(frozen=True)
class Machine:
    """A processor and a number of threads, as environment variables imitate them.

    Attributes
    ----------
    environment
        Read by PyTorch, oneDNN, MKL and OpenBLAS when they are first imported.
    needs
        The instruction set that the true processor must have: ``""``, ``"x86"`` or ``"AVX512"``.
    """

    environment: Mapping[str, str]
    needs: str = "x86"


def _imitating(isa: str, one_dnn: str, mkl: str, blas: str, **more: str) -> dict[str, str]:
    return {
        "ATEN_CPU_CAPABILITY": isa,
        "ONEDNN_MAX_CPU_ISA": one_dnn,
        "MKL_ENABLE_INSTRUCTIONS": mkl,
        "OPENBLAS_CORETYPE": blas,
    } | more


MACHINES: dict[str, Machine] = {
    "as it is": Machine({}, ""),
    "one thread": Machine({"OMP_NUM_THREADS": "1"}, ""),
    "two threads": Machine({"OMP_NUM_THREADS": "2"}, ""),
    "no AVX": Machine(_imitating("default", "SSE41", "SSE4_2", "Nehalem")),
    "AVX2": Machine(_imitating("avx2", "AVX2", "AVX2", "Haswell")),
    "Zen": Machine({"OPENBLAS_CORETYPE": "Zen"}),
    "AVX-512": Machine(_imitating("avx512", "AVX512_CORE", "AVX512", "SkylakeX"), "AVX512"),
    "Sapphire Rapids": Machine({"OPENBLAS_CORETYPE": "Sapphirerapids"}, "AVX512"),
}


def possible() -> tuple[str, ...]:
    """Those of `MACHINES` that this processor can imitate."""
    import torch

    x86 = platform.machine().lower() in ("x86_64", "amd64")
    # the true capability: a process that already imitates another machine must not be asked
    has = {"": True, "x86": x86, "AVX512": torch.backends.cpu.get_cpu_capability() == "AVX512"}
    return tuple(name for name, machine in MACHINES.items() if has[machine.needs])


def processor() -> dict[str, Any]:
    """What a process computes with, in general words; asked in the process itself."""
    import numpy  # noqa: F401  (loads its BLAS)
    import threadpoolctl
    import torch

    blas = {
        pool["architecture"] for pool in threadpoolctl.threadpool_info() if "architecture" in pool
    }
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "blas": ", ".join(sorted(blas)) or "other than OpenBLAS",
        "threads": torch.get_num_threads(),
    }


# ---------------------------------------------------------------- one fresh process


def _fresh(machine: str, words: Sequence[str], seconds: float = SECONDS) -> tuple[int, str, str]:
    """Run ``python`` as ``machine``: exit status, what it printed, what it complained about."""
    imitated = {name for one in MACHINES.values() for name in one.environment}
    plain = {name: value for name, value in os.environ.items() if name not in imitated}
    try:
        run = subprocess.run(
            [sys.executable, *words], env=plain | dict(MACHINES[machine].environment),
            capture_output=True, text=True, check=False, timeout=seconds,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return 124, "", f"not finished after {seconds:.0f} s"
    return run.returncode, run.stdout, run.stderr


def _described(machine: str) -> dict[str, Any]:
    """`processor` under a machine, and how it is imitated."""
    code = (
        "import json; from signseg_utils.publishing import portable; "
        "print(json.dumps(portable.processor()))"
    )
    status, out, err = _fresh(machine, ["-c", code])
    if status:
        raise RuntimeError(f"expected a process as machine {machine!r} to start; got: {err[-500:]}")
    return {"environment": dict(MACHINES[machine].environment), **json.loads(out)}


def _failure(err: str) -> str:
    """The line of an error output that says most: the last one that is not indented."""
    lines = [line for line in err.splitlines() if line.strip() and not line.startswith(" ")]
    return lines[-1][:500] if lines else "no message"


def _cell(outcome: str, seconds: float, **more: Any) -> dict[str, Any]:
    return {"outcome": outcome, "seconds": round(seconds, 1), **more}


def _judged(audit: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the record of an audit says of a cell: its outcome and the largest difference."""
    if not audit:
        return {"outcome": "ok"}
    if audit["source"] != "shipped":
        return {"outcome": "failed", "why": "shipped results were not taken: they do not fit"}
    ended = audit.get("outcome", "agrees" if audit["agreed"] == audit["checked"] else "beyond")
    outcome = {"agrees": "ok", "within bounds": "within bounds"}.get(ended, "failed")
    found = {"outcome": outcome, "largest": audit.get("largest")}
    return {name: value for name, value in found.items() if value is not None}


def publish_page(chapter: publish.Chapter, machine: str, scratch: Path) -> dict[str, Any]:
    """Publish one page as ``machine`` into a folder of its own: a cell of the table."""
    folder = scratch / machine.replace(" ", "_")
    number = chapter.name.split("_")[0]
    words = [
        "-m", "signseg_utils", "publish", "--profile", chapter.profile, "--zoo",
        chapter.zoo, "--chapters", number, "--output", str(folder), "--jobs", "1", "--force",
    ]  # fmt: skip
    start = time.perf_counter()
    status, _, err = _fresh(machine, words)
    seconds = time.perf_counter() - start
    run_file = folder / chapter.zoo / f"{chapter.name}.run.json"
    if status and not (run_file.exists() and run_file.stat().st_mtime > time.time() - seconds):
        return _cell("failed", seconds, why=_failure(err))
    judged = _judged(json.loads(run_file.read_text(encoding="utf-8"))["audit"])
    if status:
        judged = {**judged, "outcome": "failed", "why": _failure(err)}
    return _cell(judged.pop("outcome"), seconds, **judged)


# ---------------------------------------------------------------- the fast form


def drawn(zoo: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Draw each network of a zoo that is drawn from a seed, and compare with its manifest."""
    from signseg_utils import zoos
    from signseg_utils.files import weights

    found = zoos.load_zoo(zoo)
    for name in found.all_networks:
        if not found.path(name).exists() or "drawn_sha256" not in found.card(name):
            continue
        start, more = time.perf_counter(), {}
        try:
            found.state(name)
        except weights.DamagedWeights as error:
            more = {"why": str(error)}
        cell = _cell("failed" if more else "ok", time.perf_counter() - start, **more)
        yield f"{zoo}/{name}, drawn", cell


def audited(chapter: publish.Chapter, sample: int = FAST_SAMPLE) -> dict[str, Any] | None:
    """Run the cells of a chapter, in this process, up to the audit that it records.

    None if the chapter audits nothing. What it would print and draw is not kept.
    """
    import jupytext

    from signseg_utils.chapter import parameters

    notebook = jupytext.read(chapter.source)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if not any(_AUDITS.search(cell.source) for cell in cells):
        return None
    declared = parameters.declared(notebook)
    given = {"zoo": chapter.zoo, **chapter.values}
    if "audited" in declared:
        given["audited"] = sample
    names: dict[str, Any] = {"__name__": "__main__"}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        record = Path(f"{chapter.name}.audit.json")
        try:
            for cell in cells:
                with contextlib.redirect_stdout(io.StringIO()):
                    exec(compile(cell.source, chapter.name, "exec"), names)
                if "parameters" in cell.metadata.get("tags", []):
                    names |= parameters.cast(declared, given)
                if record.exists():
                    break
            audit = json.loads(record.read_text("utf-8")) if record.exists() else None
            judged = _judged(audit) if audit else {"outcome": "failed", "why": "recorded no audit"}
        except Exception as error:  # whatever a chapter raises is what this is to find
            judged = {"outcome": "failed", "why": f"{type(error).__name__}: {error}"[:500]}
    return _cell(judged.pop("outcome"), time.perf_counter() - start, **judged)


def audit_all(zoos: Sequence[str] = (), numbers: Sequence[int] = ()) -> Iterator[tuple[str, dict]]:
    """All draws, then the audit of each page: name and cell, one by one."""
    import matplotlib

    matplotlib.use("Agg")
    wanted = publish.chapters("shipped", zoos, numbers)
    for zoo in dict.fromkeys(chapter.zoo for chapter in wanted):
        yield from drawn(zoo)
    for chapter in wanted:
        cell = audited(chapter)
        if cell:
            yield f"{chapter.zoo}/{chapter.name}", cell


def audits(machine: str, zoo: str, chapters: str) -> dict[str, dict[str, Any]]:
    """`audit_all` as ``machine``, in a fresh process: name -> cell."""
    words = ["-m", "signseg_utils", "portable", "--here", "--zoo", zoo]
    status, out, err = _fresh(machine, [*words, "--chapters", chapters])
    found = dict(json.loads(line) for line in out.splitlines() if line.startswith("["))
    if status:
        found["the process itself"] = _cell("failed", 0, why=_failure(err))
    return found


# ---------------------------------------------------------------- the table


def table_file() -> Path:
    """What is kept and shown in the book."""
    return paths.repository() / "benchmarks" / "results" / "portable.json"


def read(path: Path) -> dict[str, Any]:
    """The table so far: ``machines`` by name, ``pages`` -> machine -> cell."""
    if not path.exists():
        return {"machines": {}, "pages": {}}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def shown(pages: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The failures and what is within bounds, a line each, and a count of all cells."""
    cells = [(page, name, cell) for page, row in pages.items() for name, cell in row.items()]
    lines = [
        f"{cell['outcome']}: {page} as {name!r}"
        + "".join(f"; {key} {cell[key]}" for key in ("largest", "why") if key in cell)
        for page, name, cell in cells
        if cell["outcome"] != "ok"
    ]
    count = {outcome: sum(c["outcome"] == outcome for *_, c in cells) for outcome in OUTCOMES}
    return "\n".join([*lines, ", ".join(f"{number} {what}" for what, number in count.items())])


def complete(
    chapters: Sequence[publish.Chapter],
    machines: Sequence[str],
    path: Path,
    scratch: Path,
    jobs: int = 1,
    report: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Fill in the cells of the table that are missing or of other code; it is kept after each."""
    table = read(path)
    keys = {
        f"{c.zoo}/{c.name}": publish.key({**c.values, "zoo": c.zoo}, publish.hashes(c))[:16]
        for c in chapters
    }
    commit = publish._commit()
    todo = []
    for machine in machines:
        table["machines"][machine] = _described(machine)
        for chapter in chapters:
            page = f"{chapter.zoo}/{chapter.name}"
            if table["pages"].get(page, {}).get(machine, {}).get("key") != keys[page]:
                todo.append((chapter, machine))
    report(f"{len(todo)} of {len(chapters) * len(machines)} cells are to be made")
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(publish_page, c, m, scratch): (c, m) for c, m in todo}
        for number, done in enumerate(as_completed(running), 1):
            chapter, machine = running[done]
            page, cell = f"{chapter.zoo}/{chapter.name}", done.result()
            cell |= {"key": keys[page], "commit": commit}
            table["pages"].setdefault(page, {})[machine] = cell
            paths.write_text(path, json.dumps(table, indent=1, sort_keys=True) + "\n")
            report(
                f"{number}/{len(todo)} {page} as {machine!r}: {cell['outcome']}, "
                f"{cell['seconds']:.0f} s"
            )
    return table


def chosen(asked: str, fast: bool) -> tuple[str, ...]:
    """The machines that were asked for; an error if one does not exist or cannot be imitated."""
    here = possible()
    if asked == "all":
        return tuple(name for name in here if not fast or name in FAST)
    names = tuple(name.strip() for name in asked.split(","))
    for name in names:
        if name not in MACHINES:
            raise UnknownName(unknown("machine", name, tuple(MACHINES)))
        if name not in here:
            raise ValueError(
                f"expected a machine that this processor can imitate; {name!r} needs "
                f"{MACHINES[name].needs}; choose of {', '.join(here)}"
            )
    return names
