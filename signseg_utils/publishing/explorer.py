"""What the page "Turn the signs yourself" shows: a sprite of images and numbers for each network.

All of it is made of results that ship: the searches of chapters 3 and 5, whose codes are rendered
again, or the ascents that stand for them, whose pictures are stored. What was made once is kept in
the cache (`signseg_utils.files.paths.cache_folder`), under a key of the results, the weights and
this code. A zoo whose results are not here is left out.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from signseg_utils import selection
from signseg_utils.basics import registry
from signseg_utils.basics.refusals import BadFile, Refusal
from signseg_utils.chapter import parameters
from signseg_utils.chapter.chapter import Chapter
from signseg_utils.files import paths
from signseg_utils.publishing import stories
from signseg_utils.publishing.chapters import notebooks_folder
from signseg_utils.publishing.profiles import read_profile

if TYPE_CHECKING:
    from signseg_utils.analysis.single_images import Bank

PROFILE = "shipped"
# Chapters whose searches are shown, and which of their networks: all, or these.
SWEEPS = {
    "03_the_ablation_sweep": (),
    "05_rectification": ("alexnet-relu", "alexnet-tanh"),
}
QUALITY = 78  # of sprites
PANEL, PANEL_UNITS = (0.0, 0.5, 1.0), 4  # strengths and units of a panel for pages without scripts
ABOUT = "about.json"


def worlds(report: Callable[[str], None] = print) -> Iterator[tuple[dict[str, Any], Path]]:
    """What is known of each zoo that can be shown, and the folder of its sprites.

    Yields
    ------
    dict
        ``zoo``; ``banks``: of each network and generator ``network``, ``generator``, ``sprite``
        (a file of the folder: rows of units, columns of conditions), ``cell`` (side of an image,
        pixels), ``units``, ``conditions`` (sign and alpha of each) and ``measures``, name to one
        number for each unit and condition, None where it was not measured. ``shown``: the bank
        that stands for the zoo, that whose intact units others recognise best; ``plain``: HTML of
        a panel of it.
    """
    for name in stories.in_order(registry.names("zoos")):
        plans = _plans(name)
        files = [path for plan in plans.values() for path in _files(name, plan)]
        if not files:
            continue
        home = paths.cache_folder() / "explorer" / f"{name}-{_key(name, files)}"
        if not (home / ABOUT).exists():
            report(f"explorer: making images of {name}")
            try:
                _make(name, plans, home)
            except (Refusal, OSError) as error:  # costs this zoo, not the book
                report(f"explorer: without {name}, because {error}")
                continue
        yield json.loads((home / ABOUT).read_text(encoding="utf-8")), home


# ---------------------------------------------------------------- which results


def _plans(zoo: str) -> dict[str, Sequence[Any]]:
    """Experiments of a zoo, by chapter."""
    found: dict[str, Sequence[Any]] = {}
    for chapter, networks in SWEEPS.items():
        if run := _run(chapter, zoo):
            chosen = {"networks": networks} if networks else {}
            found[chapter] = Chapter(chapter, run, {}).plan(
                ("positive", "negative", run.control), **chosen
            )
    return found


def _run(chapter: str, zoo: str) -> SimpleNamespace | None:
    """Parameters of a chapter as the book has them in a zoo; None where it has no such page."""
    values = read_profile(PROFILE).get(chapter, {}).get(zoo)
    if values is None:
        return None
    declared = parameters.declared(notebooks_folder() / f"{chapter}.md")
    return selection.parse(parameters.cast(declared, {"zoo": zoo, **values}))


def _files(zoo: str, plan: Sequence[Any]) -> list[Path]:
    """Those of a plan's results that are here."""
    from signseg_utils.files.store import SHARD

    folder = paths.results_folder(zoo)
    named = (folder / f"{one.key}{SHARD}" for one in plan)
    return [path for path in named if path.exists()]


def _key(zoo: str, files: Sequence[Path]) -> str:
    """Hash of all that the sprites of a zoo are made of."""
    from signseg_utils.analysis import single_images

    sources = [Path(__file__), Path(single_images.__file__)]
    manifests = sorted(paths.zoo_folder(zoo).glob("*.json"))
    total = hashlib.sha256()
    for path in [*sources, *manifests, *sorted(files)]:
        total.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]


# ---------------------------------------------------------------- sprites


def _make(zoo: str, plans: dict[str, Sequence[Any]], home: Path) -> None:
    """Write sprites and numbers of a zoo; the folder is there when all of it is."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as name:
        folder = Path(name) / "made"
        folder.mkdir()
        banks = list(_banks(zoo, plans))
        if not banks:
            raise BadFile(f"expected results of zoo {zoo} that can be read; got none; restore them")
        recognised = [bank.measures["recognition"][:, 0].mean() for bank in banks]
        best = recognised.index(max(recognised))
        about = {
            "zoo": zoo,
            "banks": [_written(bank, zoo, folder) for bank in banks],
            "shown": best,
            "plain": _panel(banks[best], stories.world(zoo)),
        }
        paths.write_text(folder / ABOUT, json.dumps(about))
        try:
            os.replace(folder, home)
        except OSError:  # another process was faster
            if not (home / ABOUT).exists():
                shutil.rmtree(home, ignore_errors=True)
                os.replace(folder, home)


def _banks(zoo_name: str, plans: dict[str, Sequence[Any]]) -> Iterator[Bank]:
    from signseg_utils import zoos
    from signseg_utils.analysis import single_images
    from signseg_utils.experiments import base
    from signseg_utils.files.store import ShardError

    zoo, folder = zoos.load_zoo(zoo_name), paths.results_folder(zoo_name)
    for plan in plans.values():
        groups: dict[tuple[str, str], list[tuple[Any, Any]]] = {}
        for one in plan:
            with suppress(ShardError):  # missing or damaged: the chapter's own page says so
                (its,) = base.read([one], zoo, folder)
                groups.setdefault((one.network, one.generator), []).append((one, its))
        for (network, _), group in groups.items():
            joined = plan[0].joined(*zip(*group, strict=True))
            if "picture" in joined:
                yield single_images.of_ascents(joined, network, _detector(zoo))
            else:
                yield single_images.of_searches(joined, zoo, _detector(zoo))


def _detector(zoo: Any) -> Any:
    """The zoo's detector; None if what reads it is not installed."""
    try:
        return zoo.detector()
    except (ImportError, FileNotFoundError):
        return None


def _written(bank: Bank, zoo: str, folder: Path) -> dict[str, Any]:
    """Write the sprite of a bank; returns what is told of it."""
    import torch

    from signseg_utils.files import images

    name = "-".join(part for part in (zoo, bank.network, bank.generator) if part) + ".webp"
    rows = [torch.cat(list(row), dim=-1) for row in bank.images]
    sprite = torch.cat(rows, dim=-2)
    (folder / name).write_bytes(images.encode(sprite / 255, QUALITY))
    measures = {
        measure: [[_short(value) for value in row] for row in values]
        for measure, values in bank.measures.items()
    }
    return {
        "network": bank.network,
        "generator": bank.generator,
        "sprite": name,
        "cell": bank.images.shape[-1],
        "units": list(bank.units),
        "conditions": [list(one) for one in bank.conditions],
        "measures": measures,
    }


def _panel(bank: Bank, world: str) -> str:
    """HTML of a figure of a few units, for a page without scripts."""
    from signseg_utils import plots

    told = [
        place
        for place, (sign, alpha) in enumerate(bank.conditions)
        if not sign.startswith("random") and alpha in PANEL
    ]
    units = list(bank.units[:PANEL_UNITS])
    figure = plots.ablation_panel(
        bank.images[:PANEL_UNITS, told], [bank.conditions[place] for place in told], units
    )
    made = f"through the generator {bank.generator}" if bank.generator else "by gradient ascent"
    return plots.figure_with_alt(
        figure,
        f"Preferred images of {', '.join(units)}, units of {bank.network} ({world}): without all, "
        "then half of their positive inputs, intact, without half, then all of their negative ones",
        f"{world[:1].upper()}{world[1:]}: units of <em>{bank.network}</em>, images made {made}. "
        "The network is the one whose intact units other networks recognise best.",
        kind="webp",
    ).html


def _short(value: float) -> float | None:
    """Three digits; None where there is no number."""
    return float(f"{value:.3g}") if value == value else None
