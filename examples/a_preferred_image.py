"""Let an evolution strategy find the image that a unit likes best, intact and ablated."""

from signseg_utils import Ablation, Search, ablate, evolve, load_zoo
from signseg_utils.plots import image_grid

zoo = load_zoo("tinyimagenet")
network, generator = zoo.network("alexnet"), zoo.generator("decoder")
unit = network.readout.rows(["goldfish"])

images = []
for ablation in (Ablation("positive", alpha=1), Ablation(), Ablation("negative", alpha=1)):
    bank = ablate(unit, ablation)
    found = evolve(bank, network.backbone, generator, [0], Search(generations=20))
    print(f"{ablation.label}: activation {found.activations.item():.2f}")
    images.append(generator(found.codes)[0])

names = ["no positive inputs", "intact", "no negative inputs"]
image_grid([images], column_labels=names).savefig("preferred.png")
