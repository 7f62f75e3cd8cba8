"""Trained and untrained classifiers: the same function as the zoo's network, the same start."""

from pathlib import Path

import pytest
import torch

from signseg_utils.files import weights
from signseg_utils.networks import Classifier
from signseg_utils.networks.small import PLUGIN, SmallBackbone
from signseg_utils.training import restore
from signseg_utils.zoos import Zoo, load_zoo


@pytest.fixture(params=["alexnet", "vgg", "resnet"])
def named(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Zoo, str]:
    """A zoo with one network in it, whose batch-norm scales have both signs."""
    zoo, name = load_zoo("shapes", tmp_path), str(request.param)
    config = zoo.network_configs[name]
    torch.manual_seed(5)
    model = Classifier(PLUGIN(config), len(zoo.classes))
    tensors = {}
    for key, value in model.state_dict().items():
        if value.is_floating_point():
            value = value + 0.1 * torch.randn(value.shape).abs()
        if value.ndim == 1 and key.endswith("1.weight"):
            value[::3] *= -1
        tensors[key.removeprefix("backbone.")] = value
    weights.save(zoo.path(name), tensors, {"module": "small", "config": config, "seed": 5})
    return zoo, name


def test_trained_answers_as_the_folded_network(named: tuple[Zoo, str]) -> None:
    zoo, name = named
    images = torch.rand(4, 3, zoo.image_size, zoo.image_size)
    whole = restore.classifier(zoo, name)(images)
    torch.testing.assert_close(whole, zoo.network(name).logits(images), rtol=1e-3, atol=1e-3)


def test_folding_turns_signs_where_a_scale_is_negative(named: tuple[Zoo, str]) -> None:
    zoo, name = named
    raw = restore.classifier(zoo, name).backbone.trunk[0][0].weight
    folded = zoo.network(name).backbone.trunk[0][0].weight
    turned = (raw.sign() != folded.sign()).flatten(1).double().mean(1)
    assert (turned[::3] == 1).all() and (turned[1::3] == 0).all()


def test_start_is_what_training_began_with(named: tuple[Zoo, str]) -> None:
    zoo, name = named
    torch.manual_seed(5)
    expected = Classifier(PLUGIN(zoo.network_configs[name]), len(zoo.classes)).state_dict()
    for state in ("start", 5):
        found = restore.classifier(zoo, name, state).state_dict()
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    other = restore.classifier(zoo, name, 6).state_dict()
    assert not torch.equal(other["readout.weight"], expected["readout.weight"])


def test_restoring_leaves_the_random_stream_alone(named: tuple[Zoo, str]) -> None:
    zoo, name = named
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    restore.classifier(zoo, name, 7)
    assert torch.equal(torch.rand(3), expected)


def test_unknown_state_and_network(named: tuple[Zoo, str]) -> None:
    zoo, name = named
    with pytest.raises(ValueError, match="'trained', 'start' or a seed"):
        restore.classifier(zoo, name, "begin")
    with pytest.raises(KeyError, match="network of zoo shapes"):
        restore.classifier(zoo, "alexnett")


def test_layers_run_from_pixels_to_classes(named: tuple[Zoo, str]) -> None:
    zoo, name = named
    model = restore.classifier(zoo, name)
    layers = restore.layers_by_depth(model)
    assert layers[0][1].shape[1] == 3 and layers[-1][0] == "readout"
    assert not any("shortcut" in layer for layer, _, _ in layers)
    seen: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, key=key: seen.append(key))
        for key, module in model.named_modules()
        if key in {layer for layer, _, _ in layers}
    ]
    assert isinstance(model.backbone, SmallBackbone)
    model(torch.rand(1, 3, zoo.image_size, zoo.image_size))
    for hook in hooks:
        hook.remove()
    assert seen == [layer for layer, _, _ in layers]
