"""Sphinx extension of this book: provenance strips, ledger, costs, links; nothing from outside.

It reads what `signseg_utils.publishing` left beside each executed chapter (``*.run.json``,
``*.ledger.json``, ``*.failure.json``) while the book is built, so the notebooks themselves stay
free of timings. A page that could not be made says so over its earlier copy, or in place of it.
"""

import html
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import answers
import asked
import contents
import data_page
import explorer_page
import ledger_page
import policy
import what_holds
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from signseg_utils.basics.refusals import BadFile
from signseg_utils.chapter import ledger
from signseg_utils.files import paths
from signseg_utils.publishing import (
    changes,
    citation,
    families,
    notices,
    provenance,
    stories,
)

EXECUTED = re.compile(r"^book/executed/(?P<zoo>[^/]+)/(?P<chapter>[^/]+)$")
CONTENTS = re.compile(r"\bbook/executed/(?P<zoo>[^/\s]+)/(?P<chapter>[^/\s]+)")
LAUNCHED = re.compile(r"book/executed/[^/]+/")

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

COLAB_CELL = """\
!git clone --depth 1 {url} signseg
%cd signseg
%pip install -q -c requirements/constraints.txt -e ".[all]\""""

logger = logging.getLogger(__name__)


# ---------------------------------------------------------------- settings


def repository_url(source: Path) -> str:
    """Web address of the repository: from the CI's variables or from the git remote, or ''."""
    if "GITHUB_REPOSITORY" in os.environ:
        server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
        return f"{server}/{os.environ['GITHUB_REPOSITORY']}"
    words = ["git", "remote", "get-url", "origin"]
    try:
        run = subprocess.run(words, cwd=source, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    found = re.match(
        r"(?:https://|git@|ssh://git@)(github\.com|gitlab\.com)[/:](.+?)(?:\.git)?/?$",
        run.stdout.strip(),
    )
    return f"https://{found[1]}/{found[2]}" if found else ""


def set_defaults(app: Sphinx, config: Config) -> None:
    """Add to Jupyter Book's theme options what `_config.yml` can only replace whole."""
    options = config["html_theme_options"]
    options["navbar_persistent"] = []  # the theme's sidebar has a search field already
    config["html_context"].setdefault("default_mode", "auto")  # dark where the reader's system is
    url = str(options.get("repository_url") or "").rstrip("/") or repository_url(Path(app.srcdir))
    options["repository_url"] = url
    options["extra_footer"] = foot(Path(app.srcdir), str(config["copyright"]), url)
    if url:
        options["use_repository_button"] = options["use_issues_button"] = True
        options["launch_buttons"] = {
            **options.get("launch_buttons", {}),
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com" if "github.com" in url else "",
        }


def foot(source: Path, year: str, url: str) -> str:
    """HTML of a page's foot: how the book is cited; '' where no file says it."""
    if not (source / "CITATION.cff").exists():
        return ""
    words = citation.sentence(citation.read(source), year, url)
    return f'<p class="to-cite"><b>To cite:</b> {html.escape(words)}</p>'


def stay_local(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Drop scripts that load from elsewhere; point launch links at the notebooks' sources."""
    kept = []
    for script in context.get("script_files", []):
        name = str(getattr(script, "filename", script) or "")
        body = (getattr(script, "attributes", {}) or {}).get("body") or ""
        if "thebe" in name or "THEBE" in body or name.startswith(("http:", "https:", "//")):
            continue
        kept.append(script)
    context["script_files"] = kept

    def rewrite(buttons: list[dict[str, Any]]) -> None:
        for button in buttons:
            if "url" in button:
                button["url"] = LAUNCHED.sub("notebooks/", button["url"])
            rewrite(button.get("buttons", []))

    rewrite(context.get("header_buttons", []))


def finish(app: Sphinx, error: Exception | None) -> None:
    """What can be done only to pages as they were written: names for the sidebar, a policy."""
    if error or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        if "_static" not in page.relative_to(app.outdir).parts:
            text = page.read_text(encoding="utf-8")
            paths.write_text(page, policy.protected(contents.with_names(text)))


# ---------------------------------------------------------------- provenance


def read_runs(source: Path) -> list[dict[str, Any]]:
    """What is known of the pages of the book, ordered by zoo and chapter."""
    files = sorted((source / "book" / "executed").glob("*/*.run.json"))
    runs = [run_of(file.parent, file.name.removesuffix(".run.json")) for file in files]
    return [run for run in runs if run]


def run_of(folder: Path, chapter: str) -> dict[str, Any] | None:
    """What is known of a page; None if that is not there, or damaged: then it is not whole."""
    try:
        return provenance.read(folder / f"{chapter}.ipynb")
    except (BadFile, FileNotFoundError):
        return None


def origin(audit: dict[str, Any] | None) -> str:
    """Where a page's results come from, in words."""
    if not audit:
        return "computed while the page was made"
    if audit["source"] == "recomputed":
        return "newly computed"
    if not audit["checked"]:
        return "shipped; not audited here, because the data behind them are not on this machine"
    outcome = notices.outcome(audit)
    verdict = "all agree" if audit["agreed"] == audit["checked"] else "THEY DO NOT ALL AGREE"
    if outcome != "agrees":
        verdict = f"the others differ {outcome.upper() if outcome == 'beyond bounds' else outcome}"
    share = f"{audit['agreed']} of {audit['checked']} {audit.get('what', 'stored codes')}"
    return (
        f"shipped, in {audit['shards']} files; audit: {share} "
        f"(drawn with seed {audit['seed']}, within {audit['tolerance']:g}): {verdict}"
    )


def remarks(audit: dict[str, Any] | None) -> str:
    """HTML below a strip: how an audit differs, and shipped files that were damaged."""
    outcome, rows = notices.outcome(audit), []
    said = [html.escape(note) for note in (audit or {}).get("notes", [])]
    if outcome == "beyond bounds":
        why = " ".join(said) or "The page's audit says no more."
        rows.append(
            "<b>✗ The audit of this page failed.</b> What is stored and what this machine "
            f"computes differ by more than the declared bounds. {why}"
        )
    elif outcome == "within bounds":
        why = " ".join(said)
        rows.append(
            "<b>≈ Not the same to the last digit.</b> What is stored and what this machine "
            f"computes differ, within the declared bounds. {why}"
        )
    else:
        rows += said
    damaged = (audit or {}).get("damaged", [])
    if damaged:
        names = ", ".join(f"<code>{html.escape(name)}</code>" for name in damaged)
        rows.append(
            "<b>! Damaged shipped files.</b> These could not be used and were computed again for "
            f"this page; the files themselves were left as they are: {names}"
        )
    return "".join(f'<p class="remark">{row}</p>' for row in rows)


# ---------------------------------------------------------------- pages that failed


def title_of(source: Path, zoo: str, chapter: str) -> str:
    """Heading of a chapter's page, as the publisher would make it."""
    notebook = source / "notebooks" / f"{chapter}.md"
    text = notebook.read_text(encoding="utf-8") if notebook.exists() else ""
    heading = re.search(r"^# (.+?) *$", text, re.MULTILINE)
    return f"{heading[1] if heading else chapter} ({zoo})"


def command_for(zoo: str, chapter: str) -> str:
    """The command that makes one page."""
    return f"make book ZOO={zoo} CHAPTERS={int(chapter.split('_')[0])}"


def notice(folder: Path, chapter: str) -> str:
    """HTML of what is wrong with a page as a whole, or '' if nothing is."""
    again = "To try again:"
    page, run = folder / f"{chapter}.ipynb", run_of(folder, chapter)
    failure = notices.read(folder, chapter)
    command = failure.command if failure else command_for(folder.name, chapter)
    if failure:
        title = "✗ This page could not be made."
        when = notices.readable(failure.since)
        text = f"On {when}: {html.escape(failure.what)}."
    elif page.exists() and run:
        return ""
    elif page.exists():
        title = "✗ This page is not whole."
        text = "What belongs to it is not all there, or damaged."
    else:
        title, text, again = "○ This page has not been made yet.", "", "To make it:"
    if failure and page.exists():
        made = when_made(run) if run else ""
        text += f" Below stands its earlier copy{made}; what has changed since is not in it."
    elif failure:
        text += " There is no earlier copy to show."
    return (
        '<aside class="page-notice" role="note" aria-label="State of this page">'
        f"<p><b>{title}</b> {text}</p><p>{again}</p>"
        f'<div class="highlight"><pre>{html.escape(command)}</pre></div></aside>'
    )


def when_made(run: dict[str, Any]) -> str:
    """When and from which commit a page was made, as a phrase after a noun."""
    when = f"of {notices.readable(run['made'])}, " if "made" in run else ""
    return f", {when}commit {html.escape(run['commit'])}"


def raw(text: str) -> str:
    """HTML as a block of MyST."""
    return f"```{{raw}} html\n{text.replace('`', '&#96;')}\n```\n"


def pages_of(source: Path) -> list[tuple[Path, str]]:
    """Folder and chapter of every executed page that the contents name."""
    contents = (source / "_toc.yml").read_text(encoding="utf-8")
    executed = source / "book" / "executed"
    return [(executed / m["zoo"], m["chapter"]) for m in CONTENTS.finditer(contents)]


def fill_gaps(app: Sphinx, config: Config) -> None:
    """Write a stand-in for each page that the contents name and that is not there."""
    for folder, chapter in pages_of(Path(app.srcdir)):
        stand_in = folder / f"{chapter}.md"
        if (folder / f"{chapter}.ipynb").exists():
            stand_in.unlink(missing_ok=True)
            continue
        title = title_of(Path(app.srcdir), folder.name, chapter)
        paths.write_text(stand_in, f"# {title}\n\n{raw(notice(folder, chapter))}")


def unwell(source: Path) -> list[tuple[str, str]]:
    """Address below ``book/`` and state of each page that is not as it should be."""
    found = []
    for folder, chapter in pages_of(source):
        run = run_of(folder, chapter) or {}
        if notice(folder, chapter):
            earlier = (folder / f"{chapter}.ipynb").exists()
            state = "failed" if notices.read(folder, chapter) else "is not whole or not made yet"
            state += "; its earlier copy is shown" if earlier else ""
        elif notices.outcome(run.get("audit")) == "beyond bounds":
            state = "shows results that this machine does not confirm"
        else:
            continue
        found.append((f"executed/{folder.name}/{chapter}", state))
    return found


def gap_list(source: Path) -> str:
    """HTML of `unwell`, or '' if all pages are as they should be."""
    rows = "".join(
        f'<li><a href="{page}.html">{html.escape(page.removeprefix("executed/"))}</a> {state}</li>'
        for page, state in unwell(source)
    )
    what = "These pages are not as they should be; lines of the table may be missing or old."
    start = f'<aside class="page-notice" role="note"><p><b>✗ Not all is here.</b> {what}</p>'
    return f"{start}<ul>{rows}</ul></aside>" if rows else ""


def tell(app: Sphinx, error: Exception | None) -> None:
    """At the end of a build: which pages are not as they should be."""
    found = unwell(Path(app.srcdir))
    for page, state in found if error is None else []:
        logger.info("page %s %s", page, state)


def duration(seconds: float) -> str:
    """Seconds, or minutes where that reads better."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def broken(command: str) -> str:
    """A shell command with one parameter a line."""
    return re.sub(r" (-[pr]) ", r" \\\n  \1 ", command)


def strip(run: dict[str, Any]) -> str:
    """MyST of a page's provenance strip and re-run card."""
    device = run["hardware"].get("gpu") or f"{run['hardware']['cores']} CPU cores"
    facts = {
        "zoo": run["zoo"],
        "commit": run["commit"],
        "seed": run["seed"],
        "profile": run["profile"],
        "time": duration(run["seconds"]),
        "memory": f"{run['peak_memory_mib']} MiB",
        "on": device,
    }
    items = "".join(
        f"<span><b>{html.escape(name)}</b> {html.escape(str(value))}</span>"
        for name, value in facts.items()
        if value is not None
    )
    outcome = notices.outcome(run.get("audit"))
    mark = "" if outcome == "agrees" else " " + outcome.replace(" ", "-")
    versions = ", ".join(f"{name} {number}" for name, number in sorted(run["versions"].items()))
    return "\n".join(
        [
            raw(
                f'<div class="provenance{mark}" role="note" aria-label="Provenance of this page">'
                f"{items}<span><b>results</b> {html.escape(origin(run.get('audit')))}</span>"
                f"{remarks(run.get('audit'))}</div>"
            ),
            f"::::{{dropdown}} Run this page again ({facts['time']}, {facts['memory']})",
            "```bash",
            broken(run["command"]),
            "```",
            "",
            f"`papermill --help-notebook notebooks/{run['chapter']}.ipynb` lists every parameter.",
            f"Made with {versions}; key `{run['key'][:16]}`.",
            "::::",
            "",
        ]
    )


def in_readers_order(app: Sphinx, page: str, content: list[str]) -> None:
    """Title, what is wrong with the page, its answer; provenance at the end.

    An audit beyond its bounds is something wrong: then the strip stays at the top.
    """
    found = EXECUTED.match(page)
    if not found or not app.env.doc2path(page).endswith(".ipynb"):
        return
    folder, chapter = Path(app.srcdir) / "book" / "executed" / found["zoo"], found["chapter"]
    known = provenance.file_of(folder / f"{chapter}.ipynb")
    for path in (known, notices.file_of(folder, chapter), *folder.glob("*.ledger.json")):
        app.env.note_dependency(str(path))
    notebook = json.loads(content[0])
    cells = notebook["cells"]
    wrong, run = notice(folder, chapter), run_of(folder, chapter)
    failed = run is not None and notices.outcome(run.get("audit")) == "beyond bounds"
    lines = [one for one in families.of_folder(folder) if one.chapter == chapter]
    top = raw(wrong) if wrong else ""
    top += strip(run) if run and failed else ""
    answer = answers.box(answers.told(answers.taken(cells), lines))
    top += raw(answer) if answer else ""
    answers.without_pointer(cells)
    for cell in cells:
        text = "".join(cell["source"])
        heading = re.search(r"^# .+$", text, re.MULTILINE)
        if cell["cell_type"] == "markdown" and heading:
            cut = heading.end()
            cell["source"] = f"{titled(text[:cut], folder.name, chapter)}\n\n{top}\n{text[cut:]}"
            break
    if app.builder.format == "html":
        images = Path(app.outdir) / "_images"
        answers.pictures_apart(cells, images, "../" * page.count("/") + images.name)
    answers.picture_first(cells)
    made = answers.parameters(cells)
    source = "## How this page was made\n\n" + (strip(run) if run and not failed else "")
    cells += [{"cell_type": "markdown", "id": "made", "metadata": {}, "source": source}, *made]
    content[0] = json.dumps(notebook)


def titled(heading: str, zoo: str, chapter: str) -> str:
    """A heading with what its zoo is to readers in place of its name."""
    recorded = stories.question(chapter).recorded
    return heading.replace(f"({zoo})", f"({stories.world(zoo, recorded)})")


# ---------------------------------------------------------------- tables


def _table(heads: list[str], rows: list[list[str]], name: str) -> str:
    """HTML of a table whose cells carry their column's head, for narrow screens."""
    top = "".join(f'<th scope="col">{head}</th>' for head in heads)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td data-label="{html.escape(head)}">{cell}</td>'
            for head, cell in zip(heads, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="book-wide"><table class="book-table {name}"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


class LedgerTable(ledger_page.LedgerTable):
    """``{ledger-table}``, below what is to be said of pages that are not as they should be."""

    def run(self) -> list[nodes.Node]:
        gaps = nodes.raw("", gap_list(Path(self.env.srcdir)), format="html")
        return [gaps, *super().run()]


class ChangesTable(SphinxDirective):
    """``{changes-table}``: lines of the first version whose verdict is another now, and why."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        found = changes.of_book(Path(self.env.srcdir) / "book" / "executed")
        shown = [one for one in found if not one.same]
        text = f"<p>{len(found) - len(shown)} of {len(found)} lines have the verdict that they had."
        heads = ["was", "verdict", "measured", "is now", "verdict", "measured (95 %)", "why"]
        rows = [
            [
                f"{html.escape(one.was_id)} {html.escape(one.zoo)}",
                html.escape(one.was),
                one.was_measured,
                *_now(one.now),
                html.escape(one.why),
            ]
            for one in shown
        ]
        return [nodes.raw("", f"{text}</p>" + _table(heads, rows, "changes"), format="html")]


def _now(one: families.Corrected | None) -> list[str]:
    """Id, verdict and number of a line of today, or that it is gone."""
    if one is None:
        return ["–", "no longer told", "–"]
    link = f"executed/{one.line.zoo}/{one.chapter}.html"
    name = f'<a href="{link}">{html.escape(one.line.id)}</a>'
    return [name, html.escape(one.found), ledger.measured(one.line)]


class CostTable(SphinxDirective):
    """``{cost-table}``: seconds and memory of each page, from the runs that made them."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        rows = [
            [
                f'<a href="executed/{run["zoo"]}/{run["chapter"]}.html">'
                f"{html.escape(run['chapter'])}</a>",
                html.escape(run["zoo"]),
                duration(run["seconds"]),
                f"{run['peak_memory_mib']} MiB",
                html.escape(run["hardware"].get("gpu") or f"{run['hardware']['cores']} cores"),
                html.escape(origin(run.get("audit"))),
            ]
            for run in read_runs(Path(self.env.srcdir))
        ]
        if not rows:
            return [nodes.paragraph(text="No chapter has been published yet.")]
        heads = ["chapter", "zoo", "time", "peak memory", "on", "results"]
        return [nodes.raw("", _table(heads, rows, "costs"), format="html")]


class SpeedTable(SphinxDirective):
    """``{speed-table}``: what the benchmarks in ``benchmarks/results`` found."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        speed, memory = [], []
        for path in sorted((Path(self.env.srcdir) / "benchmarks" / "results").glob("*.json")):
            found = json.loads(path.read_text(encoding="utf-8"))
            for case in [part for part in (found, found.get("zoo_generator")) if part]:
                speed += [_speed(case, _machine(found))] if "engine" in case else []
            for row in found.get("memory", []):
                cells = [str(row["runs"]), f"{row['one_run_mib']:.0f}", f"{row['peak_mib']:.0f}"]
                memory.append([_machine(found), *cells])
        if not speed and not memory:
            return [nodes.paragraph(text="No benchmark has been run yet.")]
        heads = ["network, generator", "images/s", "s a visualisation", "x pycma",
                 "x dense", "in networks", "of bare forward", "on"]  # fmt: skip
        text = _table(heads, speed, "speed")
        if memory:
            heads = ["on", "runs at once", "memory of one, MiB", "at most, MiB"]
            text += _table(heads, memory, "memory")
        return [nodes.raw("", text, format="html")]


class TimeTable(SphinxDirective):
    """``{time-table}``: seconds until the activation that dense CMA ends with, by method."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        text = ""
        for path in sorted((Path(self.env.srcdir) / "benchmarks" / "results").glob("*.json")):
            found = json.loads(path.read_text(encoding="utf-8"))
            if "time_to_activation" in found:
                rows = [_timed(row) for row in found["time_to_activation"].values()]
                text += f"<p>{_timed_on(found)}</p>" + _table(TIMES, rows, "times")
                text += f"<p>{_aims(found['time_to_activation'])}</p>"
        if not text:
            return [nodes.paragraph(text="No benchmark has been run yet.")]
        return [nodes.raw("", text, format="html")]


class PortableTable(SphinxDirective):
    """``{portable-table}``: how each page ended on each machine of ``make portable``."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        path = Path(self.env.srcdir) / "benchmarks" / "results" / "portable.json"
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"pages": {}}
        if not found["pages"]:
            return [nodes.paragraph(text="`make portable` has not been run yet.")]
        machines = [
            name for name in found["machines"] if any(name in r for r in found["pages"].values())
        ]
        rows = []
        for page, cells in sorted(found["pages"].items()):
            zoo, chapter = page.split("/")
            link = f'<a href="executed/{page}.html">{html.escape(chapter)}</a> {html.escape(zoo)}'
            rows.append([link, *(_ended(cells.get(name)) for name in machines)])
        words = {name: _imitated(found["machines"][name]) for name in machines}
        described = "".join(
            f"<li><b>{html.escape(name)}</b>: {html.escape(said)}</li>"
            for name, said in words.items()
        )
        versions = sorted({c["commit"] for row in found["pages"].values() for c in row.values()})
        text = (
            _table(["page", *machines], rows, "portable")
            + f"<ul>{described}</ul><p>Code: {html.escape(', '.join(versions))}.</p>"
        )
        return [nodes.raw("", text, format="html")]


class ColabCell(SphinxDirective):
    """``{colab-cell}``: what installs the package in Google Colab, with this book's address."""

    def run(self) -> list[nodes.Node]:
        url = self.env.config.html_theme_options.get("repository_url")
        text = COLAB_CELL.format(url=url or "<address of this repository>")
        return [nodes.literal_block(text, text, language="text")]


def _ended(cell: dict[str, Any] | None) -> str:
    """One cell of the table of machines: how the page ended there, and its seconds."""
    if cell is None:
        return "not run"
    return html.escape(f"{cell['outcome']} ({duration(cell['seconds'])})")


def _imitated(machine: dict[str, Any]) -> str:
    """A machine of that table in words."""
    names = " ".join(f"{name}={value}" for name, value in machine["environment"].items())
    return (
        f"{machine['machine']}, instructions {machine['instructions']}, BLAS {machine['blas']}, "
        f"threads {machine['threads']}; {names or 'nothing set'}"
    )


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


def setup(app: Sphinx) -> dict[str, Any]:
    """Register everything; called by Sphinx."""
    app.connect("config-inited", fill_gaps, priority=100)  # before the contents are read
    app.connect("config-inited", contents.arrange, priority=200)
    app.connect("config-inited", set_defaults, priority=900)
    app.connect("html-page-context", stay_local, priority=950)
    app.connect("source-read", in_readers_order)
    app.connect("build-finished", tell, priority=950)
    for name in ("scoreboard.css", "ledger.css", "explorer.css"):
        app.add_css_file(name)
    app.add_js_file("zoom.js")
    app.connect("build-finished", contents.write_figures)
    app.connect("build-finished", ledger_page.downloads)
    app.connect("build-finished", data_page.copy)
    app.connect("build-finished", explorer_page.write_sprites)
    app.connect("build-finished", finish, priority=900)
    app.add_directive("asked", asked.Asked)
    app.add_directive("explorer", explorer_page.Explorer)
    app.add_directive("questions", contents.Questions)
    app.add_directive("scoreboard", what_holds.Scoreboard)
    app.add_directive("figure-data", data_page.FigureData)
    app.add_directive("data-dictionary", data_page.DataDictionary)
    app.add_directive("colab-cell", ColabCell)
    app.add_directive("ledger-table", LedgerTable)
    app.add_directive("changes-table", ChangesTable)
    app.add_directive("cost-table", CostTable)
    app.add_directive("speed-table", SpeedTable)
    app.add_directive("time-table", TimeTable)
    app.add_directive("portable-table", PortableTable)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
