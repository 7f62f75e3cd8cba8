"""What is left of a unit's answer when the weights of one sign go, a share at a time?"""

from signseg_utils import Ablation, ablate, load_zoo

zoo = load_zoo("shapes")
network = zoo.network("alexnet")
unit = network.readout.rows(["red disc"])
images = zoo.images("val", limit=200)
discs = images.pixels[images.labels == zoo.classes.index("red disc")] / 255
features = network.backbone(discs)

for sign in ("positive", "negative"):
    for alpha in (0, 0.25, 0.5, 1):
        responses = ablate(unit, Ablation(sign, alpha)).responses(features)
        print(f"{sign} {alpha:4}: mean response {responses.mean():6.2f} to {len(discs)} red discs")
