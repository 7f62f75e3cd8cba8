"""``signseg publish``: run chapters and write their pages, provenance and audits.

Exit status: 0, all pages are as they should be; 1, nothing was run, because what was asked for
does not exist; 3, one page or more failed, or shows results whose audit is beyond its bounds; 130,
stopped by Ctrl-C.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from signseg_utils import selection
from signseg_utils.cli._arguments import number
from signseg_utils.publishing import families
from signseg_utils.publishing.chapters import Chapter, chapters, executed_folder, left_out
from signseg_utils.publishing.notices import SOME_FAILED, Notice
from signseg_utils.publishing.publisher import Publisher


def main(words: Sequence[str]) -> int:
    """Publish what was asked for; returns the exit status."""
    given = _arguments(words)
    zoos = () if given.zoo == "all" else selection.split(given.zoo, "zoos")
    numbers = () if given.chapters == "all" else selection.integers(given.chapters, "chapters")
    selection.parse({name: str(getattr(given, name) or "") for name in ("output", "results")})
    how = dict(recompute=given.recompute, results=given.results, force=given.force)
    wanted = chapters(given.profile, zoos, numbers)
    for zoo, why in ({} if zoos else left_out(given.profile)).items():
        print(f"zoo {zoo} is left out: {why}", file=sys.stderr)
    computes = given.profile != "shipped" or given.recompute or given.results
    groups = _groups(wanted, by_zoo=bool(computes))
    publisher, jobs = Publisher(given.output, how), min(given.jobs, len(groups))
    try:
        if jobs <= 1:
            found = publisher.in_turn(wanted)
        else:
            found = publisher.side_by_side(groups, jobs)
    except KeyboardInterrupt:
        print(
            "stopped: pages that were finished stay, those under way keep their earlier copies; "
            "the same command goes on from here",
            file=sys.stderr,
        )
        return 130
    for zoo in {chapter.zoo for chapter in wanted}:  # a claim is judged among all of its zoo
        families.store((given.output or executed_folder()) / zoo)
    if found:
        print(_listed(found, len(wanted)), file=sys.stderr)
    return SOME_FAILED if found else 0


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="signseg publish",
        description=__doc__,
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--profile", default="shipped", help="smoke, shipped, quick or paper")
    parser.add_argument("--zoo", default="all", help="zoos, or all that are here")
    parser.add_argument("--chapters", default="all", help="comma-separated numbers, or all")
    parser.add_argument("--output", type=Path, help="folder instead of book/executed")
    parser.add_argument("--recompute", action="store_true", help="do not use shipped results")
    parser.add_argument("--results", type=Path, help="folder that gets the searches it lacks")
    parser.add_argument("--force", action="store_true", help="run even what is current")
    parser.add_argument(
        "--jobs",
        type=number("jobs"),
        default=os.cpu_count() or 1,
        help="pages made side by side, at most; of one zoo where results ship",
    )
    return parser.parse_args(words)


def _groups(wanted: Sequence[Chapter], by_zoo: bool) -> list[list[Chapter]]:
    """Chapters that are to be published in order, group by group.

    Where results ship, each by itself: none needs what another computes. (Should one not ship, two
    pages may compute it twice, which costs time alone.) Where they are computed, those of a zoo
    together, for they go on from each other's searches; zoos share none.
    """
    if not by_zoo:
        return [[chapter] for chapter in wanted]
    of_zoo: dict[str, list[Chapter]] = {}
    for chapter in wanted:
        of_zoo.setdefault(chapter.zoo, []).append(chapter)
    return list(of_zoo.values())


def _listed(found: Sequence[Notice], asked: int) -> str:
    """The list at the end of the command."""
    lines = [f"{len(found)} of {asked} pages are not as they should be:"]
    for notice in found:
        verdict = "published, but" if notice.published else "not published, because"
        lines.append(f"error: {notice.zoo}/{notice.chapter}: {verdict} {notice.what}")
        lines.append(f"  try again: {notice.command}")
    return "\n".join(lines)
