"""Draws are alike on every machine, and nothing that ships is PyTorch's."""

import json
import os
import re
import subprocess
import sys

import pytest
import torch
from torch import nn

from signseg_utils import zoos
from signseg_utils.basics import draws
from signseg_utils.files import paths
from signseg_utils.networks import initial

# The processor as it is, and one without AVX: PyTorch and OpenBLAS take other paths there.
PROCESSORS = [{}, {"ATEN_CPU_CAPABILITY": "default", "OPENBLAS_CORETYPE": "Nehalem"}]

SHIPPED = """
import json
import torch
from signseg_utils import zoos
import torch.nn.functional as F
from signseg_utils.basics import draws
from signseg_utils.files import weights
from signseg_utils.files.images import sized

found = {}
for name in zoos.shipped():
    zoo = zoos.load_zoo(name)
    for network in zoo.families["untrained"]:
        found[f"{name} {network}"] = weights.digest(zoo.state(network)[0])
    for generator in zoo.generators:
        codes = zoo.generator(generator).initial_codes(range(3))
        found[f"{name} {generator}"] = weights.digest({"codes": codes})
source = draws.Twister(7)
found["stream"] = weights.digest({
    "rand": source.rand(99), "randn": source.randn(99), "randperm": source.randperm(99),
    "normal": draws.normal(99, 7), "uniform": draws.uniform(99, 7), "order": draws.order(99, 7),
})
pixels = (256 * draws.uniform((40, 3, 112, 112), 7)).to(torch.uint8)
for mode in ("bilinear", "bicubic"):
    found[mode] = weights.digest({"pixels": sized(pixels, 64, mode)})
plain = F.interpolate(pixels.float(), (64, 64), mode="bilinear", antialias=True).round()
found["torch, resized"] = weights.digest({"pixels": plain})
torch.manual_seed(1)  # of no effect on anything above
found["torch"] = weights.digest({"normal": torch.randn(4096)})
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def everywhere() -> list[dict[str, str]]:
    """What ships by drawing, drawn in a fresh process for each processor: name -> digest."""
    found = []
    for processor in PROCESSORS:
        ended = subprocess.run(
            [sys.executable, "-c", SHIPPED],
            env={**os.environ, **processor},
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(json.loads(ended.stdout.splitlines()[-1]))
    return found


def test_draws_and_resized_images_are_alike_on_two_processors(everywhere) -> None:
    ours = [{k: v for k, v in each.items() if not k.startswith("torch")} for each in everywhere]
    here, there = ours
    assert sum("-untrained" in name for name in here) == 6
    assert here == there


def test_the_two_processors_are_two_to_pytorch(everywhere) -> None:
    if torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "NO AVX"):
        pytest.skip("this processor has no AVX, so none without it can be told from it")
    here, there = everywhere
    assert here["torch"] != there["torch"] and here["torch, resized"] != there["torch, resized"]


@pytest.mark.parametrize("seed", [0, 5, 2**40 + 3])
def test_a_twister_gives_the_numbers_of_pytorch(seed: int) -> None:
    source, theirs = draws.Twister(seed), torch.Generator().manual_seed(seed)
    assert torch.equal(source.rand(7, 5), torch.rand(7, 5, generator=theirs))
    assert torch.equal(source.randint(3, 50, (40,)), torch.randint(3, 50, (40,), generator=theirs))
    assert torch.equal(source.randperm(1000), torch.randperm(1000, generator=theirs))
    for size in (16, 56, 300):  # with and without a rest of less than sixteen
        near = {"rtol": 0.0, "atol": 5e-6}
        torch.testing.assert_close(source.randn(size), torch.randn(size, generator=theirs), **near)
    assert torch.equal(source.rand(9), torch.rand(9, generator=theirs))  # still in step


def test_few_normal_draws_begin_many() -> None:
    assert torch.equal(draws.Twister(2).randn(5), draws.Twister(2).randn(16)[:5])
    assert draws.Twister(2).randn(2, 3).shape == (2, 3)


def test_philox_draws_have_their_law() -> None:
    drawn = draws.normal((200, 100), 3)
    assert abs(drawn.mean()) < 0.03 and abs(drawn.std() - 1) < 0.03
    spread = draws.uniform((200, 100), 3)
    assert 0 <= spread.min() < 0.001 and 0.999 < spread.max() < 1
    tossed = draws.coins((200, 100), 3)
    assert set(tossed.unique().tolist()) == {-1.0, 1.0} and abs(tossed.mean()) < 0.03
    assert torch.equal(draws.order(50, 3).sort().values, torch.arange(50))
    for draw in (draws.normal, draws.uniform, draws.coins, draws.order):
        assert torch.equal(draw(60, 3), draw(60, 3))
        assert not torch.equal(draw(60, 3), draw(60, 3, 1))  # another stream
        assert not torch.equal(draw(60, 3), draw(60, 4))


@pytest.mark.parametrize("zoo", zoos.shipped())
def test_no_weight_of_an_untrained_network_is_left_to_pytorch(zoo: str) -> None:
    opened = zoos.load_zoo(zoo)
    found = []
    for state in (1, 2):  # of PyTorch's generator
        torch.manual_seed(state)
        before = torch.get_rng_state()
        found += [initial("small", opened.config(n), 5, 0).state_dict() for n in opened.networks]
        assert torch.equal(torch.get_rng_state(), before)
    half = len(found) // 2
    for one, two in zip(found[:half], found[half:], strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)
        varied = [value for value in one.values() if value.numel() > 3 and value.std() > 0]
        assert varied


def test_another_random_initialisation_is_refused() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.empty(20).exponential_())

    with pytest.raises(NotImplementedError, match=r"uniform_ or normal_.*exponential"):
        draws.made(Odd, 0)


# What may ask PyTorch for random numbers, and why nothing that ships or is audited rests on it.
ALLOWED = {
    (
        "signseg_utils/training/loop.py",
        "torch.manual_seed(recipe.seed * 10_007 + epoch)",
    ): "dropout while training: what a training ends with ships",
}
RANDOM = re.compile(
    r"torch\.(rand|randn|rand_like|randn_like|randint|randperm|normal|bernoulli|multinomial|poisson"
    r"|manual_seed|seed|Generator|random)\b|\.(uniform_|normal_|exponential_|bernoulli_|random_)\("
    r"|fork_rng|manual_seed|nn\.init\.(?!constant_)|default_generator"
)


def test_nothing_draws_from_pytorch() -> None:
    root = paths.repository()
    sources = sorted([*root.glob("signseg_utils/**/*.py"), *root.glob("notebooks/*.md")])
    assert len(sources) > 100
    found = set()
    for path in sources:
        if path.name == "draws.py":
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            code = line.split("  #")[0].strip()
            if RANDOM.search(code):
                found.add((path.relative_to(root).as_posix(), code))
    assert found == set(ALLOWED), "draw with signseg_utils.basics.draws, or justify it in ALLOWED"
