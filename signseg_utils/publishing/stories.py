"""Which chapters belong together, and what a zoo is called in them: computed from what there is.

A chapter belongs to the story of networks, to that of neurons, beyond the paper, or to how it was
done, by the sources of its primary claims and by whether it takes recorded neurons.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from signseg_utils.chapter import claims, parameters
from signseg_utils.publishing.chapters import notebooks_folder

NETWORKS, NEURONS, BEYOND, METHOD = STORIES = (
    "The network story",
    "The neuron story",
    "Beyond the paper",
    "How it was done",
)
# Sources whose claims are the book's subject.
PAPER = ("submission", "iclr2026", "compact_v4", "negative_selectivity")
_METHOD_IDS = ("Z-", "E-")  # checks of a zoo and of the search

# What a zoo is to a reader: the images that its networks see, and the neurons that it asks about.
# A zoo that is not here is called by its name, and stands behind these.
_WORLDS = {
    "tinyimagenet": ("natural images", "macaque V4"),
    "shapes": ("rendered scenes", "simulated neurons"),
    "efficientnet": ("public ImageNet networks", "V4, ImageNet networks"),
    "imagenet": ("the paper's networks", "macaque V4"),
}


@dataclass(frozen=True)
class Question:
    """A chapter as readers know it.

    Attributes
    ----------
    name
        Of its files, such as ``03_the_ablation_sweep``.
    title
        Its heading, a question.
    story
        One of `STORIES`.
    recorded
        Whether it asks recorded or simulated neurons.
    """

    name: str
    title: str
    story: str
    recorded: bool

    @property
    def number(self) -> int:
        """Of the chapter."""
        return int(self.name.partition("_")[0])

    def world(self, zoo: str) -> str:
        """What a zoo is called in it."""
        return world(zoo, self.recorded)


def world(zoo: str, recorded: bool = False) -> str:
    """What a zoo is called: by its images, or by its neurons."""
    return _WORLDS.get(zoo, (zoo, zoo))[recorded]


def in_order(zoos: Iterable[str]) -> list[str]:
    """Zoos as columns and pages follow each other: known ones first, then by name."""
    known = list(_WORLDS)
    return sorted(set(zoos), key=lambda zoo: (known.index(zoo) if zoo in known else 99, zoo))


def question(name: str, folder: Path | None = None) -> Question:
    """What is known of a chapter from its notebook and its claims; of one without, its name."""
    source = (folder or notebooks_folder()) / f"{name}.md"
    text = source.read_text(encoding="utf-8") if source.exists() else ""
    heading = re.search(r"^# (.+?) *$", text, re.MULTILINE)
    recorded = bool(text) and "recording" in parameters.declared(source)
    try:
        stated = claims.claims(int(name.partition("_")[0]))
    except (FileNotFoundError, ValueError):
        stated = {}
    return Question(name, heading[1] if heading else name, _story(stated, recorded), recorded)


def _story(stated: Mapping[str, claims.Claim], recorded: bool) -> str:
    primary = [one for one in stated.values() if one.role == "primary"]
    if primary and all(one.id.startswith(_METHOD_IDS) for one in primary):
        return METHOD
    if not any(one.source in PAPER and not one.own for one in primary):
        return BEYOND
    return NEURONS if recorded else NETWORKS
