"""What kind of thing each class of ImageNet is, by the upper levels of WordNet.

Classes of ImageNet are nouns of WordNet 3.0 (Fellbaum 1998, doi:10.7551/mitpress/7287.001.0001),
and their identifiers are places in its file of nouns (Deng et al. 2009,
doi:10.1109/CVPR.2009.5206848). What ships is a table of classes and kinds, ``kinds.csv``;
`kinds_of` makes it again from that file, which Debian's package ``wordnet-base`` holds as
``/usr/share/wordnet/data.noun``.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from signseg_utils.basics.refusals import UnknownName
from signseg_utils.basics.registry import unknown
from signseg_utils.files.paths import zoo_folder
from signseg_utils.files.reading import read_text

# Kind to nouns of WordNet; the first kind counts of which a class is one. Whatever is left is
# "plant, food, place": natural things that are no animals.
KINDS: dict[str, tuple[str, ...]] = {
    "dog": ("dog",),
    "other mammal": ("mammal",),
    "bird": ("bird",),
    "other vertebrate": ("vertebrate",),
    "invertebrate": ("animal",),
    "vehicle": ("conveyance",),
    "musical instrument": ("musical_instrument",),
    "container": ("container",),
    "clothing, covering": ("covering", "clothing"),
    "structure": ("structure",),
    "device": ("device", "equipment", "implement"),
    "other artefact": ("artifact",),
}
REST = "plant, food, place"
ANIMALS = ("dog", "other mammal", "bird", "other vertebrate", "invertebrate")
ARTEFACTS = tuple(kind for kind in KINDS if kind not in ANIMALS)


def kinds(classes: Sequence[str]) -> list[str]:
    """Kind of each class of ImageNet, by the table that ships: one of `KINDS`, or `REST`.

    Raises
    ------
    UnknownName
        If ImageNet has no such class.
    """
    table = pd.read_csv(zoo_folder("efficientnet") / "kinds.csv").set_index("class")["kind"]
    for name in classes:
        if name not in table.index:
            raise UnknownName(unknown("class of ImageNet", name, table.index.tolist()))
    return [str(kind) for kind in table.loc[list(classes)]]


def kinds_of(identifiers: Sequence[str], nouns: Path) -> list[str]:
    """Kind of each noun, such as ``n02084071``, from WordNet's ``data.noun``."""
    above: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    for line in read_text(nouns, "the nouns of WordNet").splitlines():
        if line.startswith("  "):
            continue  # licence
        words = line.split("|")[0].split()
        place, count = words[0], int(words[3], 16)
        pointers = words[5 + 2 * count :]  # a sign, a place, a part of speech, two numbers; ...
        first[place] = words[4]
        above[place] = [
            target
            for sign, target, part in zip(
                pointers[::4], pointers[1::4], pointers[2::4], strict=False
            )
            if sign in ("@", "@i") and part == "n"
        ]
    return [_kind(identifier[1:], above, first) for identifier in identifiers]


def _kind(noun: str, above: dict[str, list[str]], first: dict[str, str]) -> str:
    found, names = [noun], set()
    for place in found:  # grows while it is walked
        names.add(first[place])
        found += [one for one in above[place] if one not in found]
    return next((kind for kind, nouns in KINDS.items() if names.intersection(nouns)), REST)
