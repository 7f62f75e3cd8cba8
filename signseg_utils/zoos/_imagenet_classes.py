"""The 1,000 classes of ImageNet by name, and the eleven that the paper shows.

Classes have torchvision's names. Names that differ in nothing but case, or not at all, are told
apart by their class number: "Cardigan (264)", "cardigan (474)".
"""

from collections import Counter

from torchvision.models import ResNet50_Weights

# Figure captions: ten classes of imagenette and the macaque. The appendix numbers some of them
# otherwise, wrongly.
UNITS = (0, 217, 482, 491, 497, 566, 569, 571, 574, 701, 373)


def class_names(categories: list[str]) -> tuple[str, ...]:
    """Categories, each name once whatever its case: what is there twice gets its number."""
    count = Counter(name.lower() for name in categories)
    return tuple(
        f"{name} ({number})" if count[name.lower()] > 1 else name
        for number, name in enumerate(categories)
    )


CLASSES = class_names(ResNet50_Weights.IMAGENET1K_V1.meta["categories"])
