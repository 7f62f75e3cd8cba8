"""The world of one setting: a small zoo of rendered scenes with a single network."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from signseg_utils.experiments.factorial.design import Setting
from signseg_utils.generators import scenes
from signseg_utils.training import classifier
from signseg_utils.zoos import Images
from signseg_utils.zoos.shapes import Shapes

# Each optimiser with values that suit it: what differs between the levels is the pair.
RATES = {"sgd": 0.1, "adamw": 3e-3}
DECAYS = {"sgd": 5e-4, "adamw": 0.05}


class World(Shapes):
    """Scenes as zoo ``shapes`` renders them, with the factors of a setting.

    With 12 classes, class i is shape i in hue i modulo 3 and, where backgrounds go with the class,
    each has its own; with 36 classes every shape comes in every hue, and three share a background.
    Where each class has a hue of its own, hues lie 10 degrees apart (of 12 classes: 30 or more);
    classes of neighbouring hues differ in shape.

    Parameters
    ----------
    folder
        Where its network lies or will lie.
    """

    name = "factorial"
    family_configs = {}

    def __init__(self, setting: Setting, folder: Path):
        super().__init__(folder, setting.context, setting.empty)
        self.setting = setting
        self.classes = Shapes.classes if setting.classes == 36 else Shapes.default_units
        config = dict(
            family="alexnet",
            widths=(16, 32, 48),
            depths=(1, 1),
            features=setting.features,
            image_size=self.image_size,
        )
        self.network_configs = {setting.key: config}

    def images(self, split: str, limit: int | None = None, seed: int = 0) -> Images:
        """Scenes of this world: the setting's number in "train", a fifth as many in "val"."""
        size = self.setting.images if split == "train" else self.setting.images // 5
        return self.dataset(split, min(size, limit or size), seed + self.setting.seed)

    def codes(
        self, renderer: scenes.Scenes, labels: np.ndarray, seed: int, context: float
    ) -> Tensor:
        """Codes [image, code] of scenes of this world's classes; -1: no object."""
        numbers = np.array([Shapes.classes.index(name) for name in self.classes])
        labels = np.where(labels < 0, -1, numbers[labels])
        codes = renderer.sample(labels, seed, context)
        if self.setting.hues == "own":
            hues = scenes.hue_logits(scenes.own_hue(np.maximum(labels, 0)))
            codes[:, renderer.slices["hue"]] = torch.from_numpy(hues).to(codes)
        return codes

    def recipe(self) -> classifier.Recipe:
        """How its network is trained."""
        return classifier.Recipe(
            epochs=self.setting.epochs,
            batch=64,
            seed=self.setting.seed,
            small_size=48,
            optimizer=self.setting.optimizer,
            loss=self.setting.loss,
            learning_rate=RATES[self.setting.optimizer],
            weight_decay=DECAYS[self.setting.optimizer],
            dale=self.setting.dale,
        )
