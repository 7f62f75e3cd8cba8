"""What a chapter calls: one object from its first code cell to its last.

::

    chapter = open_chapter(globals(), "03_the_ablation_sweep")
    run, zoo = chapter.run, chapter.zoo
    found = chapter.results(sweep.plan(run.zoo, run.networks, ...))
    chapter.figure(plots.curve_panels(...), alt="...", caption="...")
    chapter.claim("P-4", gap)
    chapter.close()

What is claimed and how it is judged stands in ``data/claims`` (`signseg_utils.chapter.claims`).
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from IPython.display import Markdown, display
from matplotlib.figure import Figure

from signseg_utils import plots
from signseg_utils.chapter import claims, ledger, parameters, reported, results
from signseg_utils.chapter.claims import Claim
from signseg_utils.chapter.judging import judge, shown_cells
from signseg_utils.chapter.ledger import Line, Measured
from signseg_utils.files import paths
from signseg_utils.plots import drawn
from signseg_utils.selection import EVOLUTION

# In the ledger's column of what is reported, where the book asks.
OURS = "ours: no source asks"

# A page opens with so many sentences at most.
MOST_SENTENCES = 4
# A forest figure tells so many cells of a line apart; the ledger unfolds to all of them.
MOST_CELLS = 9


def open_chapter(namespace: Mapping[str, Any], name: str) -> Chapter:
    """Begin a chapter: check its parameters, set the style, show where the opening will stand.

    Parameters
    ----------
    namespace
        ``globals()`` of the notebook, right after its parameters and imports.
    name
        Of the chapter's files, such as ``"03_the_ablation_sweep"``; its number is that of its
        claims in ``data/claims``.

    Raises
    ------
    signseg_utils.chapter.parameters.ParameterError
        If a parameter is unknown, of the wrong type or out of range.
    FileNotFoundError
        If the chapter has no claims.
    """
    number, _, title = name.partition("_")
    if not number.isdecimal() or not title:
        raise ValueError(f"expected a name like '03_the_ablation_sweep'; got {name!r}")
    run = parameters.read(namespace)
    stated = claims.claims(int(number))
    plots.use_style()
    opening = display(Markdown("*Filled in at the end of the run.*"), display_id="opening")
    return Chapter(name, run, stated, opening)


@dataclass(frozen=True)
class Judged:
    """A claim with its line, the fields of its text, and what the forest figure draws of it.

    ``verdict`` is one of `ledger.VERDICTS`, also where the line has the book's own word for it;
    ``why`` says why there is none although it was measured.
    """

    claim: Claim
    line: Line
    verdict: str
    fields: Mapping[str, Any]
    cells: Mapping[str, Measured]
    why: str = ""

    @property
    def sentence(self) -> str:
        """What a reader is told of it in plain words."""
        return self.claim.sentence(self.verdict, self.fields)


class Chapter:
    """One run of a chapter, from `open_chapter`.

    Attributes
    ----------
    name
        Of the chapter's files.
    run
        Its parameters, checked and parsed.
    judged
        The claims measured so far, in the order of the ledger.
    """

    def __init__(
        self, name: str, run: SimpleNamespace, stated: Mapping[str, Claim], opening: Any = None
    ) -> None:
        self.name = name
        self.run = run
        self.judged: list[Judged] = []
        self._stated = stated
        self._opening = opening
        self._audited: list[results.Audited] = []
        self._figures = 0

    @cached_property
    def zoo(self) -> Any:
        """The opened zoo: networks, generators, judges and detector that belong together."""
        from signseg_utils import zoos  # brings torch, which the publisher itself does without

        return zoos.load_zoo(self.run.zoo)

    @property
    def number(self) -> int:
        """Of the chapter."""
        return int(self.name.partition("_")[0])

    @property
    def lines(self) -> list[Line]:
        """The ledger so far."""
        return [one.line for one in self.judged]

    # ------------------------------------------------------------ results

    def plan(self, signs: Sequence[str], **changed: Any) -> list[Any]:
        """The searches that the chapter's parameters ask for, under these signs of ablation.

        By evolution, or along the gradient where the parameter ``method`` says so. ``changed`` are
        networks, generators, units or further settings (`signseg_utils.experiments.sweep.Shard`,
        `signseg_utils.experiments.ascents.Ascents`) in place of the parameters'.
        """
        from signseg_utils.experiments import ascents, sweep
        from signseg_utils.search.evolution import Search

        run = self.run
        what = {name: getattr(run, name, None) for name in ("networks", "generators", "units")}
        settings = dict(alphas=run.alphas, seeds=run.seeds, rule=run.rule)
        if getattr(run, "method", EVOLUTION) != EVOLUTION:
            asked = {**what, "signs": tuple(signs), **settings, "steps": run.generations, **changed}
            return ascents.swept(self.zoo, **asked)
        search = Search(run.optimizer, run.generations)
        return sweep.plan(
            run.zoo, **{**what, "signs": tuple(signs), **settings, "search": search, **changed}
        )

    def results(self, *plans: Sequence[Any]) -> Any:
        """The joined results of a plan, audited, source and audit recorded; of several a list.

        See `signseg_utils.chapter.results.results`.
        """
        found = [joined for joined, _ in self._results(plans)]
        return found[0] if len(plans) == 1 else found

    def fits(self, plan: Sequence[Any]) -> tuple[list[Any], str]:
        """Results of studies of neurons, audited and recorded, and whether they shipped."""
        found, own = self.obtained(plan)
        return found, own.source

    def obtained(self, plan: Sequence[Any]) -> tuple[Any, Any]:
        """As `results` of one plan, with the `signseg_utils.experiments.base.Results` beside it.

        These tell the folder in which results lie, and each by itself.
        """
        ((found, own),) = self._results([plan])
        return found, own

    def _results(self, plans: Sequence[Sequence[Any]]) -> list[tuple[Any, Any]]:
        """The record of their audits grows with each call: it tells of all that the page shows."""
        return results.results(plans, self.run, self.name, self._audited)

    def audited(self, **told: Any) -> None:
        """Say where results come from and how their audit ended, where neither of the above did.

        See `signseg_utils.chapter.results.record_audit`; ``seed`` is the chapter's.
        """
        results.record_audit(self.name, **{"seed": self.run.seed, **told})

    # ------------------------------------------------------------ what the page shows

    def figure(self, fig: Figure, *, alt: str, caption: str = "", kind: str | None = None) -> None:
        """Show a figure with its text for those who do not see it (`plots.figure_with_alt`).

        What it draws is written beside the ledger, ``NN_title.figure-1.csv`` for the first figure
        of the page (`signseg_utils.plots.drawn`), and linked; of images there is no such file.
        """
        self._figures += 1
        rows = drawn.table(fig)
        if rows:
            file = f"{self.name}.figure-{self._figures}.csv"
            paths.write_text(Path(file), drawn.as_csv(rows))
            link = f'<a class="figure-data" href="{file}" download>Data of this figure (CSV)</a>'
            caption = f"{caption} {link}".strip()
        display(plots.figure_with_alt(fig, alt, caption, kind=kind))

    def table(self, prefix: str) -> None:
        """Show the lines so far whose id begins with ``prefix``, such as ``P-T2``."""
        lines = [line for line in self.lines if line.id.startswith(prefix)]
        if not lines:
            raise ValueError(f"expected a line measured before that begins with {prefix!r}")
        display(ledger.table(lines, prefix))

    # ------------------------------------------------------------ claims

    def claim(
        self,
        id: str,
        effect: Any,
        *,
        together: Measured | None = None,
        other: Any = None,
        p: float = 0.0,
        why: str = "",
        **fields: Any,
    ) -> None:
        """Measure a claim that was stated beforehand; its line goes to the ledger.

        Parameters
        ----------
        id
            As in the first column of ``data/claims``, fields in their brackets.
        effect
            What the kind of test asks for. *direction*, *number*: values ``[unit]``, or an
            estimate of `signseg_utils.analysis.stats`. *... in each*, of claims about networks:
            values ``[network, unit]``, or ``[network]`` (each further dimension is a cell of its
            own in each network), or network to values or estimate; networks trained from other
            seeds are further networks. *alike*: two such arrays, or the result of
            `signseg_utils.analysis.stats.equivalence`. *at least*, *none*: a number. None: it
            cannot be measured here.
        together
            Of a claim about networks: what the line shows; by default
            `signseg_utils.analysis.stats.over_networks`.
        other
            Of *alike*: two measures of the condition that should not be alike. If they are, the
            test is uninformative, and no verdict follows.
        p
            Of one effect among many: its p value corrected for their number.
        why
            Why it cannot be measured; in place of the words of the test.
        fields
            For text that holds them; ``n`` is the sample of a bare number.

        Raises
        ------
        KeyError
            If no such claim was stated, or a field of its text is missing.
        """
        stated = claims.claim(self.number, id)
        fields = {**vars(self.run), "p": p, **fields}
        margin = stated.number("margin", fields)
        if margin is not None:
            fields["margin"] = margin
        found = judge(stated, effect, fields, p=p, together=together, other=other)
        fields |= {"cells": len(found.cells), "holding": found.holding}
        id = stated.text("id", fields)
        line = Line(
            id=id,
            zoo=self.run.zoo,
            statement=stated.text("statement", fields),
            reported=self._reported(stated, fields),
            measured=found.value,
            ci_low=found.low,
            ci_high=found.high,
            n=found.n,
            test=(effect is None and why)
            or "; ".join(filter(None, (stated.text("test", fields), found.why))),
            seed=found.seed,
            verdict=ledger.own_word(found.verdict, id) if stated.own else found.verdict,
            role=stated.role,
            units=found.units,
            p=found.p,
            detectable=found.detectable,
            holding=found.holding if len(found.cells) > 1 else None,
            cells=tuple(shown_cells(found.cells)),
        )
        fields |= _told(line)
        self.judged.append(Judged(stated, line, found.verdict, fields, found.cells, found.why))

    def _reported(self, stated: Claim, fields: Mapping[str, Any]) -> str:
        if stated.reported:
            return stated.text("reported", fields)
        if stated.own:
            return OURS
        return reported.words(stated.stem, stated.text("condition", fields) or None)

    # ------------------------------------------------------------ the end

    def close(self, alt: str = "", caption: str = "") -> None:
        """Write the ledger, fill in the opening, show forest figures, what was stated, the table.

        ``alt`` and ``caption`` replace the words of the forest figures.
        """
        ledger.write(self.lines, f"{self.name}.ledger.json")
        if self._opening is not None:
            self._opening.update(Markdown(opening(self.judged)))
        for scale, own in _by_scale(self.judged).items():
            samples = dict.fromkeys(
                sample for one in own for sample in one.claim.sample.split(", ")
            )
            self.figure(
                _forest(own, f"{scale}\nmean and 95 % interval over {', '.join(samples)}"),
                alt=alt or "Effects with intervals for each line of the ledger; a line at zero.",
                caption=caption or "The effect behind each line of the ledger, beside no effect.",
            )
        display(stated_table(self._stated, self.judged))
        display(ledger.table(self.lines))


def opening(judged: Sequence[Judged], most: int = MOST_SENTENCES) -> str:
    """The answer of a page: sentences of its primary claims, then of controls, at most ``most``.

    See `signseg_utils.chapter.claims.first_told`. Why something was measured and yet cannot be told
    stands behind them, once.
    """
    worded = [one for one in judged if one.claim.worded]
    lines = [(one.claim.id, one.claim.role == "primary") for one in worded]
    told = [worded[place] for place in claims.first_told(lines, most)]
    reasons = dict.fromkeys(f"{one.why[0].upper()}{one.why[1:]}." for one in told if one.why)
    return " ".join([*(one.sentence for one in told), *reasons])


def stated_table(stated: Mapping[str, Claim], judged: Sequence[Judged]) -> ledger.Table:
    """What was stated before the results, folded: claim, test, side, margin and sample."""
    heads = ("Claim", "Role", "Test", "Expected", "Margin", "Sample", "Source")
    first = {one.claim.id: one for one in reversed(judged)}
    rows = []
    for id, claim in stated.items():
        one = first.get(id)
        words = claim.statement if one is None else one.line.statement
        test = "not measured here" if one is None else one.line.test
        where = " ".join(part for part in (claim.source, claim.figure) if part)
        cells = (
            f"{id}: {words}",
            claim.role,
            test,
            claim.expected,
            claim.margin,
            claim.sample,
            where,
        )
        rows.append([html.escape(cell) or "–" for cell in cells])
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "".join(
        "<tr>"
        + "".join(f'<td data-label="{h}">{c}</td>' for h, c in zip(heads, row, strict=True))
        + "</tr>"
        for row in rows
    )
    page = (
        '<details class="signseg-stated"><summary>What was stated before the results</summary>'
        f'<table class="signseg-ledger"><thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
        "</table></details>"
    )
    text = "\n".join("; ".join(row) for row in rows)
    return ledger.Table(page, f"What was stated before the results\n{text}")


def _told(line: Line) -> dict[str, Any]:
    """What the sentences may hold of a line."""
    told: dict[str, Any] = {
        "value": line.measured,
        "n": line.n,
        "units": line.units,
        "detectable": line.detectable,
    }
    if line.ci_low is not None and line.ci_high is not None:
        told |= {"low": line.ci_low, "high": line.ci_high}
        told["interval"] = ledger.interval(line.ci_low, line.ci_high)
        if line.measured is not None:
            kept = ledger.decimals(line.ci_low, line.ci_high)
            told["value"] = claims.Number(line.measured, kept)
    return told


def _by_scale(judged: Sequence[Judged]) -> dict[str, list[Judged]]:
    """Claims that the forest figures draw, by what their effects are measured in."""
    found: dict[str, list[Judged]] = {}
    for one in judged:
        if one.claim.scale and one.cells:
            found.setdefault(one.claim.scale, []).append(one)
    return found


def _mean(one: Judged) -> dict[str, SimpleNamespace]:
    """The effect of the line itself, in place of its cells."""
    own = SimpleNamespace(value=one.line.measured, low=one.line.ci_low, high=one.line.ci_high)
    return {f"mean of {len(one.cells)}": own}


def _forest(drawn: Sequence[Judged], label: str) -> Figure:
    """The cells of each line; of too many to be told apart their mean."""
    cells = {
        one.line.id: one.cells if len(one.cells) <= MOST_CELLS else _mean(one) for one in drawn
    }
    return plots.effect_rows(cells, label)
