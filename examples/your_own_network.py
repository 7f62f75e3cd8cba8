"""Cut a classifier of your own before its last linear layer, and ablate one of its units."""

from torchvision.models import mobilenet_v3_small

from signseg_utils import Ablation, Search, ablate, evolve, load_zoo, wrap
from signseg_utils.units.signs import sign_ratio

model = mobilenet_v3_small(num_classes=10)  # your weights: model.load_state_dict(...)
mine = wrap(model, labels=[f"class {number}" for number in range(10)])
ratio = sign_ratio(mine.readout.weight).mean()
print(f"{len(mine.readout)} units, positive to negative weights {ratio:.2f}")

bank = ablate(mine.readout.rows(["class 7"]), Ablation("positive", alpha=0.5))
generator = load_zoo("tinyimagenet").generator("decoder")
found = evolve(bank, mine.backbone, generator, [0], Search(generations=3))
print(f"activation {found.activations.item():.3f} after {found.images_seen} images")
