"""Executed notebooks as pages: nothing in them differs from run to run, errors are found.

Papermill leaves ids, timings, progress bars, widget state and folder names in a notebook; `clean`
takes them out, so that two runs of one chapter give the same bytes. `faults` names what keeps a
notebook from being published.
"""

import json
import os
import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from signseg_utils.files import paths

IMAGES = ("image/png", "image/jpeg", "image/svg+xml")
_PICTURE = re.compile(r"<img\b[^>]*>", re.IGNORECASE)
_WORDED = re.compile(r"""\balt=(?:"[^"]*\w[^"]*"|'[^']*\w[^']*')""", re.IGNORECASE)

_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_STYLER = re.compile(r"\bT_[0-9a-f]{5}(?=[_ \"#{])")
_PROGRESS = re.compile(r"\d+%\|.*\||\bit/s\b|\bs/it\b")
_SVG_DATE = re.compile(r"<dc:date>.*?</dc:date>", re.DOTALL)
_WIDGETS = ("application/vnd.jupyter.widget-view+json", "application/vnd.jupyter.widget-state+json")


def _plain(text: str) -> str:
    """``text`` without the parts that differ from run to run or from machine to machine."""
    text = _ADDRESS.sub("at 0x…", text)
    for folder in (str(paths.repository()), sys.prefix, str(Path.home())):
        if len(folder) > 1:
            text = text.replace(folder + os.sep, "")
    return text


def _terminal(text: str) -> str:
    """What a terminal would show of ``text``: carriage returns done, progress bars left out."""
    lines = []
    for line in text.split("\n"):
        shown = line.rstrip("\r").split("\r")[-1]
        if not _PROGRESS.search(shown):
            lines.append(shown)
    return "\n".join(lines)


def _numbered(pattern: re.Pattern[str], text: str, prefix: str) -> str:
    """Replace each distinct match by ``prefix`` and a running number."""
    seen: dict[str, str] = {}
    return pattern.sub(lambda m: seen.setdefault(m[0], f"{prefix}{len(seen):05d}"), text)


def _clean_outputs(outputs: list[NotebookNode], cell: int) -> list[NotebookNode]:
    """Outputs as they are published: streams merged, widgets and run-dependent text gone."""
    kept: list[NotebookNode] = []
    for number, output in enumerate(outputs):
        if output.output_type == "stream":
            last = kept[-1] if kept else None
            if last is not None and last.output_type == "stream" and last.name == output.name:
                last.text += output.text
            else:
                kept.append(nbformat.v4.new_output("stream", name=output.name, text=output.text))
            continue
        data = output.get("data", {})
        if any(kind in data for kind in _WIDGETS):
            continue
        for kind, value in data.items():
            if not isinstance(value, str) or kind in ("image/png", "image/jpeg"):
                continue
            value = _plain(value)
            if kind == "text/html":
                value = _numbered(_UUID, value, f"id-{cell}-{number}-")
                value = _numbered(_STYLER, value, f"T_{cell}_{number}_")
            if kind == "image/svg+xml":
                value = _SVG_DATE.sub("", value)
            data[kind] = value
        kept.append(output)
    for output in kept:
        if output.output_type == "stream":
            output.text = _plain(_terminal(output.text))
    return [o for o in kept if o.output_type != "stream" or o.text.strip()]


_LABELS = (
    re.compile(r"^\(([A-Za-z0-9_:.-]+)\)=\s*$", re.MULTILINE),
    re.compile(r"^:(?:label|name): +(\S+)\s*$", re.MULTILINE),
    re.compile(r"\$\$ *\(([A-Za-z0-9_:.-]+)\)\s*$", re.MULTILINE),
)


def _labels(notebook: NotebookNode) -> set[str]:
    """Names of targets, equations and figures that a chapter defines."""
    text = "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    found = {m[1] for pattern in _LABELS for m in pattern.finditer(text)}
    figures = (c.metadata.get("mystnb", {}).get("figure", {}) for c in notebook.cells)
    return found | {figure["name"] for figure in figures if "name" in figure}


def _relabel(text: str, labels: set[str], zoo: str) -> str:
    """``text`` with the zoo's name put before each of ``labels``, where defined and where used."""
    for label in sorted(labels, key=len, reverse=True):
        name = re.escape(label)
        new = f"{zoo}-{label}"
        text = re.sub(rf"^\({name}\)=", f"({new})=", text, flags=re.MULTILINE)
        text = re.sub(rf"^(:(?:label|name): +){name}(?=\s*$)", rf"\g<1>{new}", text, flags=re.M)
        text = re.sub(rf"(\$\$ *)\({name}\)", rf"\g<1>({new})", text)
        text = re.sub(rf"\]\((#?){name}\)", rf"](\g<1>{new})", text)
        text = re.sub(rf"(\{{(?:ref|eq|numref)\}}`(?:[^`<]*<)?){name}(>?`)", rf"\g<1>{new}\2", text)
    return text


def clean(notebook: NotebookNode, zoo: str) -> NotebookNode:
    """A copy of an executed notebook that depends on nothing but its content.

    Cells get fixed ids, timings and widget state go, the first heading gets the zoo's name, labels
    become unique to the zoo, and the injected parameters are folded under a prompt.
    """
    page = nbformat.from_dict(json.loads(json.dumps(notebook)))
    language = page.metadata.get("language_info", {})
    page.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {
                "name": language.get("name", "python"),
                "pygments_lexer": language.get("pygments_lexer", "ipython3"),
            },
        }
    )
    labels = _labels(page)
    titled = False
    for number, cell in enumerate(page.cells):
        cell.id = f"cell-{number:03d}"
        keep = ("tags", "mystnb", "editable")
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in keep})
        if cell.cell_type == "markdown":
            if not titled and re.search(r"^# ", cell.source, re.MULTILINE):
                cell.source = re.sub(
                    r"^# (.+?) *$", rf"# \1 ({zoo})", cell.source, count=1, flags=re.MULTILINE
                )
                titled = True
            cell.source = _relabel(cell.source, labels, zoo)
        elif cell.cell_type == "code":
            tags = cell.metadata.get("tags", [])
            prompts = {
                "parameters": "Parameters of this chapter: names, defaults, meaning",
                "injected-parameters": "Parameters of this run",
            }
            for tag, prompt in prompts.items():
                if tag in tags:
                    folded = [*(t for t in tags if t != "hide-input"), "hide-input"]
                    cell.metadata["tags"] = folded
                    options = cell.metadata.setdefault("mystnb", {})
                    options["code_prompt_show"] = options["code_prompt_hide"] = prompt
            figure = cell.metadata.get("mystnb", {}).get("figure", {})
            if "name" in figure:
                figure["name"] = f"{zoo}-{figure['name']}"
            cell.outputs = _clean_outputs(cell.outputs, number)
    return page


def faults(notebook: NotebookNode) -> list[str]:
    """What keeps an executed notebook from being published: errors, pictures without words."""
    found = []
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        for output in cell.outputs:
            if output.output_type == "error":
                found.append(f"cell {number} raised {output.ename}: {_plain(output.evalue)}")
            data = output.get("data", {})
            worded = bool(cell.metadata.get("mystnb", {}).get("image", {}).get("alt"))
            pictured = any(kind in data for kind in IMAGES) and not worded
            tags = _PICTURE.findall(data.get("text/html", ""))
            if pictured or any(not _WORDED.search(tag) for tag in tags):
                start = cell.source.strip().split("\n")[0][:60]
                found.append(
                    f"cell {number} ({start!r}) shows a picture without alternative text; "
                    "show it with `plots.figure_with_alt`, or set `mystnb: image: alt:` in the "
                    "cell's metadata"
                )
    return found
