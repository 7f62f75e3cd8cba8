"""Where a page's numbers come from: its provenance strip, and the command that makes it again."""

import html
from pathlib import Path
from typing import Any

from markup import broken, duration, raw

from signseg_utils.basics.refusals import BadFile
from signseg_utils.publishing import notices, provenance

AGAIN = (
    "These could not be used and were computed again for this page; the files themselves were left "
    "as they are:"
)


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
    refused = {"damaged": "Damaged shipped files.", "unfit": "Shipped files of other weights."}
    for kind, title in refused.items():
        names = ", ".join(f"<code>{html.escape(n)}</code>" for n in (audit or {}).get(kind, []))
        rows += [f"<b>! {title}</b> {AGAIN} {names}"] if names else []
    return "".join(f'<p class="remark">{row}</p>' for row in rows)


def when_made(run: dict[str, Any]) -> str:
    """When and from which commit a page was made, as a phrase after a noun."""
    when = f"of {notices.readable(run['made'])}, " if "made" in run else ""
    return f", {when}commit {html.escape(run['commit'])}"


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
