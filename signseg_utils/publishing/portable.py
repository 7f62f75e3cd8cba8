"""Does what ships come out alike on other processors? Every page on every machine that is emulated.

``signseg portable`` publishes all pages in fresh processes under each of `MACHINES` and keeps how
each ended in ``benchmarks/results/portable.json``. A page that was made of the present code, data
and packages is not made again, so that the command can be stopped at any time and asked for a part.

With ``--fast`` there are no pages: under each of two machines one process draws every network that
is drawn from a seed, and makes a sample of all that ships again (`experiments.audits`).
"""

import dataclasses
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from signseg_utils.basics.refusals import UnknownName
from signseg_utils.basics.registry import unknown
from signseg_utils.experiments.agreement import AGREES, WITHIN
from signseg_utils.files import paths, reads
from signseg_utils.publishing import notices, provenance
from signseg_utils.publishing.chapters import Chapter
from signseg_utils.publishing.keys import hashes, key, results

OUTCOMES = ("ok", "within bounds", "failed")
FAST = ("as it is", "no AVX")
SECONDS = 1800  # more than any page needs: then it counts as failed


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


def _imitating(isa: str, one_dnn: str, mkl: str, blas: str) -> dict[str, str]:
    return {
        "ATEN_CPU_CAPABILITY": isa,
        "ONEDNN_MAX_CPU_ISA": one_dnn,
        "MKL_ENABLE_INSTRUCTIONS": mkl,
        "OPENBLAS_CORETYPE": blas,
        "OMP_NUM_THREADS": "1",
    }


# Those that imitate a processor compute on one thread, so that several do side by side.
MACHINES: dict[str, Machine] = {
    "as it is": Machine({}, ""),
    "one thread": Machine({"OMP_NUM_THREADS": "1"}, ""),
    "two threads": Machine({"OMP_NUM_THREADS": "2"}, ""),
    "no AVX": Machine(_imitating("default", "SSE41", "SSE4_2", "Nehalem")),
    "AVX2": Machine(_imitating("avx2", "AVX2", "AVX2", "Haswell")),
    "Zen": Machine({"OPENBLAS_CORETYPE": "Zen", "OMP_NUM_THREADS": "1"}),
    "AVX-512": Machine(_imitating("avx512", "AVX512_CORE", "AVX512", "SkylakeX"), "AVX512"),
    "Sapphire Rapids": Machine(
        {"OPENBLAS_CORETYPE": "Sapphirerapids", "OMP_NUM_THREADS": "1"}, "AVX512"
    ),
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
            [sys.executable, *words],
            env=plain | dict(MACHINES[machine].environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
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


def _judged(audit: Mapping[str, Any] | None, asked: Mapping[str, str]) -> dict[str, Any]:
    """What the record of an audit says of a cell: its outcome, and what differs most.

    ``asked`` are the results that the page asked for (`files.reads`): where there are some that
    ship, none may be computed in their place.
    """
    if not audit:
        return {"outcome": "ok"}
    taken = audit["source"] == "shipped" and not (audit.get("damaged") or audit.get("unfit"))
    if not taken and set(asked.values()) - {reads.ABSENT}:
        return {"outcome": "failed", "why": "shipped results were not taken: they do not fit"}
    ended = audit.get("outcome", "agrees" if audit["agreed"] == audit["checked"] else "beyond")
    outcome = {"agrees": "ok", "within bounds": "within bounds"}.get(ended, "failed")
    said = audit.get("notes") if outcome != "ok" else None
    return {"outcome": outcome, **({"why": said[0]} if said else {})}


def publish_zoo(
    chapters: Sequence[Chapter], machine: str, scratch: Path
) -> dict[str, dict[str, Any]]:
    """Publish pages of one zoo as ``machine``, into a folder of its own: page -> cell of the table.

    Pages that an earlier call made of the same code, data and packages are not made again.
    """
    folder = scratch / machine.replace(" ", "_")
    (profile,), (zoo,) = {one.profile for one in chapters}, {one.zoo for one in chapters}
    words = [
        "-m",
        "signseg_utils",
        "publish",
        "--profile",
        profile,
        "--zoo",
        zoo,
        "--chapters",
        ",".join(one.number for one in chapters),
        "--output",
        str(folder),
        "--jobs",
        "1",
    ]
    status, _, err = _fresh(machine, words, SECONDS * len(chapters))
    return {one.page: _ended(folder / zoo, one.name, status, err) for one in chapters}


def _ended(folder: Path, chapter: str, status: int, err: str) -> dict[str, Any]:
    """The cell of a page: what its record says, its notice, or else how the process ended."""
    notice, page = notices.read(folder, chapter), provenance.file_of(folder / f"{chapter}.ipynb")
    if notice:
        return _cell("failed", 0, why=notice.what)
    if status not in (0, notices.SOME_FAILED) or not page.exists():
        return _cell("failed", 0, why=f"status {status}: {_failure(err)}")
    run = provenance.read(folder / f"{chapter}.ipynb")
    judged = _judged(run["audit"], run.get("reads", {}))
    return _cell(judged.pop("outcome"), run["seconds"], **judged)


# ---------------------------------------------------------------- the fast form


def audits(machine: str, zoo: str = "") -> dict[str, dict[str, Any]]:
    """All draws and a sample of all that ships, made again as ``machine``: what -> cell."""
    start = time.perf_counter()
    status, out, err = _fresh(machine, ["-m", "signseg_utils", "audit", "--json", "--zoo", zoo])
    seconds = time.perf_counter() - start
    if not out.startswith("["):
        return {"all audits": _cell("failed", seconds, why=f"status {status}: {_failure(err)}")}
    found: dict[str, dict[str, Any]] = {}
    for line in json.loads(out):
        more = {} if line["outcome"] == AGREES else {"why": line["said"]}
        outcome = {AGREES: "ok", WITHIN: "within bounds"}.get(line["outcome"], "failed")
        found[f"{line['variable']} of {line['where']}"] = _cell(outcome, seconds, **more)
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
        + "".join(f"; {key} {cell[key]}" for key in ("why",) if key in cell)
        for page, name, cell in cells
        if cell["outcome"] != "ok"
    ]
    count = {outcome: sum(c["outcome"] == outcome for *_, c in cells) for outcome in OUTCOMES}
    return "\n".join([*lines, ", ".join(f"{number} {what}" for what, number in count.items())])


def complete(
    chapters: Sequence[Chapter],
    machines: Sequence[str],
    path: Path,
    scratch: Path,
    jobs: int = 1,
    report: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Fill in the cells of the table that are missing or of other code; it is kept after each."""
    table = read(path)
    shipped = {"results": results()}
    keys = {c.page: key({**c.values, "zoo": c.zoo}, hashes(c) | shipped)[:16] for c in chapters}
    commit = provenance.commit()
    todo: dict[tuple[str, str], list[Chapter]] = {}
    for machine in machines:
        table["machines"][machine] = _described(machine)
        for chapter in chapters:
            cell = table["pages"].get(chapter.page, {}).get(machine, {})
            if cell.get("key") != keys[chapter.page]:
                todo.setdefault((machine, chapter.zoo), []).append(chapter)
    cells = sum(map(len, todo.values()))
    report(f"{cells} of {len(chapters) * len(machines)} cells are to be made")
    with ThreadPoolExecutor(jobs) as pool:
        running = {
            pool.submit(publish_zoo, group, machine, scratch): machine
            for (machine, _), group in todo.items()
        }
        for done in as_completed(running):
            machine = running[done]
            for page, cell in done.result().items():
                cell |= {"key": keys[page], "commit": commit}
                table["pages"].setdefault(page, {})[machine] = cell
                report(f"{page} as {machine!r}: {cell['outcome']}, {cell['seconds']:.0f} s")
            paths.write_text(path, json.dumps(table, indent=1, sort_keys=True) + "\n")
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
