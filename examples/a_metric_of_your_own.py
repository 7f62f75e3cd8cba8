"""Ask stored preferred images a question of your own: how colourful are they?"""

import torch

from signseg_utils import Search, load_zoo
from signseg_utils.analysis.by_sign import over_alphas
from signseg_utils.analysis.images import arranged, rendered
from signseg_utils.experiments import sweep
from signseg_utils.files.paths import results_folder


def saturation(images: torch.Tensor) -> torch.Tensor:
    """Largest less smallest colour of a pixel, mean over pixels: [image, 3, h, w] -> [image]."""
    return (images.amax(1) - images.amin(1)).mean((1, 2))


zoo = load_zoo("shapes")
search = Search(generations=25)
plan = sweep.plan("shapes", ["resnet"], ["scenes"], ["red disc"], search=search)
searches = arranged(sweep.collect(plan, results_folder("shapes")))  # those that ship
codes = searches["codes"].transpose(..., "code")
images = rendered(zoo.generator("scenes"), codes)
values = codes.isel(code=0, drop=True).astype("float32")
values.data = saturation(images.flatten(0, -4)).reshape(values.shape).numpy()
for sign in ("positive", "negative"):
    print(f"{sign} ablation: {over_alphas(values.mean('seed'), sign).mean():.3f}")
