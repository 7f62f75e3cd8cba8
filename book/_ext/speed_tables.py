"""What the benchmarks found, as tables: images a second, and seconds until an image is good."""

import html
import json
from pathlib import Path
from typing import Any

from docutils import nodes
from markup import table
from sphinx.util.docutils import SphinxDirective

# heads of the table of times: one search at a time, until dense's activation
TIMES = [
    "method",
    "reached",
    "seconds",
    "images",
    "x dense",
    "range",
    "x dense, equal images",
    "activation, equal images",
]

# what was aimed at, in times of dense's speed: method, number of its row, aim
AIMS = [
    ("engine", "times_as_fast_at_equal_images", 2.5),
    ("ascent_code", "times_as_fast", 20),
    ("ascent_code_plain", "times_as_fast", 20),
]


class SpeedTable(SphinxDirective):
    """``{speed-table}``: what the benchmarks in ``benchmarks/results`` found."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        speed, memory = [], []
        for found in _measured(self.env.srcdir):
            for case in [part for part in (found, found.get("zoo_generator")) if part]:
                speed += [_speed(case, _machine(found))] if "engine" in case else []
            for row in found.get("memory", []):
                cells = [str(row["runs"]), f"{row['one_run_mib']:.0f}", f"{row['peak_mib']:.0f}"]
                memory.append([_machine(found), *cells])
        if not speed and not memory:
            return [nodes.paragraph(text="No benchmark has been run yet.")]
        heads = ["network, generator", "images/s", "s a visualisation", "x pycma",
                 "x dense", "in networks", "of bare forward", "on"]  # fmt: skip
        text = table(heads, speed, "speed")
        if memory:
            heads = ["on", "runs at once", "memory of one, MiB", "at most, MiB"]
            text += table(heads, memory, "memory")
        return [nodes.raw("", text, format="html")]


class TimeTable(SphinxDirective):
    """``{time-table}``: seconds until the activation that dense CMA ends with, by method."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        text = ""
        for found in _measured(self.env.srcdir):
            if "time_to_activation" in found:
                rows = [_timed(row) for row in found["time_to_activation"].values()]
                text += f"<p>{_timed_on(found)}</p>" + table(TIMES, rows, "times")
                text += f"<p>{_aims(found['time_to_activation'])}</p>"
        if not text:
            return [nodes.paragraph(text="No benchmark has been run yet.")]
        return [nodes.raw("", text, format="html")]


def _measured(source: str | Path) -> list[dict[str, Any]]:
    """What benchmarks wrote down."""
    files = sorted((Path(source) / "benchmarks" / "results").glob("*.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def _speed(case: dict[str, Any], machine: str) -> list[str]:
    setting, engine = case["settings"], case["engine"]
    what = (
        f"{setting['network']}, {setting['generator']} ({setting['code_size']:,} numbers); "
        f"{engine['runs']} runs of {setting['images_per_visualisation']:,} images"
    )
    return [
        html.escape(what),
        f"{engine['images_per_second']:.1f}",
        f"{engine['seconds_per_visualisation']:.2f}",
        f"{case['ratio_vs_pycma']:.2f}",
        f"{case['ratio_vs_dense']:.2f}",
        f"{case['network_share']:.0%}",
        f"{case['share_of_bare_forward']:.2f}",
        machine,
    ]


def _timed(row: dict[str, Any]) -> list[str]:
    """Cells of one method; of one that was left out, why."""
    label = html.escape(row["label"])
    if row["left_out"]:
        return [label, html.escape(row["left_out"]), *["–"] * (len(TIMES) - 2)]
    low, high = (_number(bound, ".1f") for bound in row["times_as_fast_range"])
    then = _number(row["activation_at_budget_of_dense"], ".0%")
    if row["activation_at_budget_of_dense"] is None:  # it ended, or was stopped, before
        then = f"{row['activation_of_dense']:.0%} at its end"
    return [
        label,
        f"{row['reached']} of {len(row['searches'])}",
        _number(row["seconds_to_target"], ".2f"),
        _number(row["images_to_target"], ",.0f"),
        _number(row["times_as_fast"], ".1f"),
        f"{low} to {high}",
        _number(row["times_as_fast_at_equal_images"], ".2f"),
        then,
    ]


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _aims(rows: dict[str, Any]) -> str:
    """What was aimed at, and whether it was met, in one sentence."""
    told = []
    for name, key, aim in AIMS:
        where = "to its activation" if key == "times_as_fast" else "at equal images"
        value = rows[name][key]
        met = "met" if (value or 0) >= aim else "missed"
        number = "not reached" if value is None else f"{value:.2f} x"
        told.append(f"{rows[name]['label']}, {aim} x dense {where}: {number}, {met}")
    return html.escape(f"Aims: {'; '.join(told)}.")


def _timed_on(found: dict[str, Any]) -> str:
    """What the methods were compared on, in one sentence."""
    setting = found["settings"]
    what = (
        f"{setting['network']}, {setting['generator']} ({setting['code_size']:,} numbers), "
        f"{setting['searches']} units; dense sees {setting['images']:,} images for each. "
        f"Precision auto is {setting['precision_auto']}."
    )
    hardware = found["hardware"]
    busy = (hardware["load_before"] or 0) > hardware["cores"]
    beside = f", beside other work (load {hardware['load_before']:.1f})" if busy else ""
    return f"{html.escape(what)} On {_machine(found)}{beside}."


def _machine(found: dict[str, Any]) -> str:
    hardware = found["hardware"]
    cores = "1 core" if hardware["threads"] == 1 else f"{hardware['threads']} cores"
    where = hardware.get("gpu") or f"{cores}, {hardware['instruction_set']}"
    return html.escape(f"{where}, torch {found['versions']['torch'].split('+')[0]}")
