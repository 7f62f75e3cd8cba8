"""Compact V4 models: folded networks against a plain reference, strict keys, recorded responses."""

import io
import re
import zipfile

import numpy as np
import pytest
import torch
from conftest import needs_data
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.functional import pil_to_tensor

from signseg_utils.files import paths
from signseg_utils.generators.spectral import Spectral
from signseg_utils.neurons import compact
from signseg_utils.neurons.compact import CompactNeuron, CompactNeurons, WrongLayout, layout
from signseg_utils.search.evolution import Search, evolve


def make_state(seed=0, filters=(6, 5, 3, 4, 2)):
    """A state dict of the true layout, in float64, with batch norm far from the identity."""
    draw = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in layout(filters).items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif name.endswith("running_var"):
            state[name] = 0.2 + torch.rand(shape, generator=draw, dtype=torch.float64)
        else:
            scale = np.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.5
            state[name] = torch.randn(shape, generator=draw, dtype=torch.float64) * scale
    return state


def reference(state, images):
    """The published network, layer by layer, batch norm not folded, in float64."""
    maps = images.double() * 255 - torch.tensor([116.222, 109.270, 100.381]).double().view(3, 1, 1)
    for layer in range(5):
        name = f"layers.layer{layer}"
        if layer == 0:
            maps = F.conv2d(
                maps, state[f"{name}_conv.weight"], state[f"{name}_conv.bias"], padding=2
            )
        else:
            halved = layer in (1, 2)
            maps = F.pad(maps, (1, 3, 1, 3)) if halved else F.pad(maps, (2, 2, 2, 2))
            depth = state[f"{name}_conv_depth.weight"]
            maps = F.conv2d(maps, depth, stride=2 if halved else 1, groups=len(depth))
            point = state[f"{name}_conv_point.weight"]
            maps = F.conv2d(maps, point, state[f"{name}_conv_point.bias"])
        norm = nn.BatchNorm2d(maps.shape[1], eps=1e-5).double().eval()
        norm.load_state_dict(
            {
                key.removeprefix(f"{name}_bn."): value
                for key, value in state.items()
                if key.startswith(f"{name}_bn.")
            }
        )
        maps = norm(maps).relu()
    flat = maps.permute(0, 2, 3, 1).flatten(1)
    return F.linear(flat, state["layers.Beta.weight"], state["layers.Beta.bias"])[:, 0].detach()


@pytest.fixture(scope="module")
def images():
    return torch.rand(5, 3, 112, 112, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def bank():
    return CompactNeurons({"a": make_state(0), "b": make_state(1, (4, 6, 2, 3, 5))})


def test_folded_equals_unfolded(bank, images):
    found = bank.responses(images)
    for row, state in enumerate((make_state(0), make_state(1, (4, 6, 2, 3, 5)))):
        expected = reference(state, images)
        error = (found[:, row].double() - expected).abs().max()
        assert error < 1e-5 * expected.abs().max()
        assert expected.std() > 1e-3  # images are told apart, so the comparison can fail


def test_chunks_and_one_by_one_agree(bank, images):
    whole = bank.responses(images)
    alone = torch.cat([bank.responses(image[None]) for image in images])
    torch.testing.assert_close(whole, alone, rtol=1e-5, atol=1e-5)
    assert bank.responses(images[:0]).shape == (0, 2)


def test_any_image_size_and_bytes(bank, images):
    enlarged = F.interpolate(images, size=(224, 224), mode="nearest")
    torch.testing.assert_close(bank.responses(enlarged), bank.responses(images), rtol=0.2, atol=5)
    assert bank.responses(images[:2, :, :64, :48]).shape == (2, 2)
    as_bytes = (images * 255).round().to(torch.uint8)
    torch.testing.assert_close(
        bank.responses(as_bytes), bank.responses(as_bytes.float() / 255), rtol=0, atol=0
    )


def test_names_rows_and_errors(bank, images):
    assert bank.labels == ("a", "b") and len(bank) == 2
    picked = bank.pick(["b"])
    assert picked.labels == ("b",)
    assert torch.equal(picked.responses(images), bank.responses(images)[:, 1:])
    with pytest.raises(KeyError, match="name of a neuron"):
        bank.pick(["c"])
    with pytest.raises(ValueError, match="0..1"):
        bank.responses(images * 255)
    with pytest.raises(ValueError, match=r"\[n, 3, height, width\]"):
        bank.responses(images[0])
    with pytest.raises(ValueError, match="chunk"):
        CompactNeurons({"a": make_state()}, chunk=0)


def test_z_scores_against_given_images(bank, images):
    scored = bank.standardised(*bank.statistics(images))
    z = scored.responses(images)
    torch.testing.assert_close(z.mean(0), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(2), atol=1e-4, rtol=0)
    assert torch.equal(scored.pick(["b"]).responses(images), z[:, 1:])
    with pytest.raises(ValueError, match="positive spread"):
        bank.standardised(torch.zeros(2), torch.tensor([1.0, 0.0]))
    with pytest.raises(ValueError, match="centre of shape"):
        bank.standardised(torch.zeros(3), torch.ones(3))


def test_wrong_state_dicts_are_refused_by_name(tmp_path):
    state = make_state()
    missing = {k: v for k, v in state.items() if k != "layers.layer2_bn.running_var"}
    with pytest.raises(WrongLayout, match="layers.layer2_bn.running_var is missing"):
        CompactNeuron(missing)
    with pytest.raises(WrongLayout, match="layers.extra is not expected"):
        CompactNeuron(state | {"layers.extra": torch.zeros(1)})
    short = state | {"layers.Beta.weight": torch.zeros(1, 100, dtype=torch.float64)}
    with pytest.raises(WrongLayout, match=r"Beta.weight has shape \(1, 100\), not \(1, 1568\)"):
        CompactNeuron(short)
    with pytest.raises(WrongLayout, match="neuron x: .*layer0_conv.weight is missing"):
        CompactNeurons({"x": {}})
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(WrongLayout, match="list"):
        compact.read(tmp_path / "list.pt")
    with pytest.raises(FileNotFoundError, match="SIGNSEG_DATASETS"):
        compact.read(tmp_path / "none.pt")


def test_files_are_named_by_session_and_neuron(tmp_path, images):
    for number in (0, 10):
        torch.save(make_state(number), tmp_path / f"compact_model_190923_neuron{number}.pt")
    bank = CompactNeurons.from_files(sorted(tmp_path.glob("*.pt")))
    assert bank.labels == ("190923-0", "190923-10")
    expected = reference(make_state(10), images)
    found = bank.responses(images)[:, 1].double()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_sessions_come_in_the_order_of_the_recording(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGNSEG_DATASETS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="compact_model_1_neuron0"):
        compact.session("1")
    compact.folder().mkdir(parents=True)
    for number in (10, 2, 0):
        torch.save(make_state(number), compact.folder() / f"compact_model_1_neuron{number}.pt")
    assert compact.session("1").labels == ("1-0", "1-2", "1-10")


def test_the_closed_loop_runs_on_a_twin(bank):
    generator = Spectral.pink(32, components=12)
    twin = bank.standardised(
        *bank.statistics(generator(torch.randn(20, 12, generator=torch.Generator().manual_seed(0))))
    ).pick(["a"])
    found = evolve(twin.readout(), twin, generator, (3,), Search(generations=6))
    start = twin.responses(generator(generator.initial_codes([3])))[0, 0]
    assert found.activations[0] > start + 0.5
    again = twin.responses(generator(found.codes))[0, 0]
    assert found.activations[0].item() == pytest.approx(again.item(), abs=1e-4)


@pytest.mark.parametrize("name", ["190923", "210225"])
def test_published_models_predict_recorded_responses(name):
    """Median over neurons of r on images 601 to 1200, here on some of both for time's sake."""
    folder = paths.dataset_folder() / "v4"
    if not (folder / f"responses_{name}.npy").exists():
        needs_data(f"no recording in {folder}; set SIGNSEG_DATASETS to the folder that holds v4/")
    chosen, numbers = range(0, 30, 3), range(601, 1201, 10)
    pixels = torch.empty(len(numbers), 3, 112, 112, dtype=torch.uint8)
    with zipfile.ZipFile(folder / f"images_{name}.zip") as archive:
        files = {int(m[1]): n for n in archive.namelist() if (m := re.search(r"(\d+)\.jpg$", n))}
        for row, number in enumerate(numbers):
            with Image.open(io.BytesIO(archive.read(files[number]))) as image:
                pixels[row] = pil_to_tensor(image.convert("RGB"))
    recorded = np.load(folder / f"responses_{name}.npy")[:, [number - 1 for number in numbers]]
    files = [compact.folder() / f"compact_model_{name}_neuron{neuron}.pt" for neuron in chosen]
    predicted = CompactNeurons.from_files(files).responses(pixels).numpy()
    own = recorded[list(chosen)].T

    def median(images):
        pairs = zip(images.T, own.T, strict=True)
        return np.median([np.corrcoef(a, b)[0, 1] for a, b in pairs])

    assert 0.5 < median(predicted) < 0.75
    assert abs(median(np.roll(predicted, 1, axis=0))) < 0.2  # the next image's says nothing
