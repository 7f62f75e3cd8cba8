"""Sweeps that silence channels of a layer."""

import numpy as np
import pytest
import torch
from conftest import checked, made

from signseg_utils import zoos
from signseg_utils.experiments import base, sweep
from signseg_utils.experiments.sweep.shards import Shard
from signseg_utils.search import evolution
from signseg_utils.search.evolution import Search
from signseg_utils.units.contributions import contributions, without_channels

SETTINGS = dict(
    signs=("positive", "negative"), alphas=(0.0, 1.0), seeds=(0, 1), search=Search(generations=2)
)
WHAT = ("shapes", ("resnet",), ("scenes",), ("red disc",))


@pytest.fixture(scope="module")
def done(tiny_zoo, tmp_path_factory):
    plan = sweep.plan(*WHAT, layer="trunk.0", **SETTINGS)
    folder = tmp_path_factory.mktemp("layers")
    return plan, folder, made(plan, folder, tiny_zoo)


def test_shards_of_the_readout_are_called_what_they_always_were() -> None:
    """Names of files that were shipped before a shard had a layer."""
    shard = Shard("shapes", "alexnet", "decoder", "blue crescent", search=Search(generations=25))
    assert shard.key == "alexnet-decoder-blue_crescent-1207d9f10a"
    assert "layer" not in shard.settings
    assert Shard.from_settings(shard.settings) == shard


def test_a_layer_makes_another_shard_that_is_read_back_whole() -> None:
    plain, deep = (sweep.plan(*WHAT, layer=layer)[0] for layer in ("readout", "trunk.0"))
    assert plain.key != deep.key
    assert deep.settings["layer"] == "trunk.0"
    assert Shard.from_settings(deep.settings) == deep


def test_intact_unit_is_searched_as_in_a_sweep_of_the_readout(done, tiny_zoo, tmp_path) -> None:
    readout = made(sweep.plan(*WHAT, **SETTINGS), tmp_path, tiny_zoo)
    intact = [found["codes"].isel(shard=0, condition=0).values for found in (done[2], readout)]
    np.testing.assert_array_equal(*intact)


def test_full_ablation_is_the_loop_without_all_channels_of_the_sign(done, tiny_zoo) -> None:
    found = done[2].isel(shard=0)
    zoo = zoos.load_zoo("shapes", tiny_zoo)
    network, generator = zoo.network("resnet"), zoo.generator("scenes")
    unit = network.readout.rows(["red disc"])
    images = generator(torch.from_numpy(found["codes"].values[0].astype("float32")))
    share = contributions(network.backbone, "trunk.0", unit, images)[0]
    for sign, gone in (("positive", share > 0), ("negative", share < 0)):
        assert gone.any()
        silent = without_channels(network.backbone, "trunk.0", gone)
        alone = evolution.evolve(unit, silent, generator, [1], Search(generations=2))
        stored = found["codes"].sel(condition=f"{sign} 1", seed=1).values.astype("float32")
        np.testing.assert_array_equal(alone.codes[0].numpy(), stored)


def test_stored_activations_are_audited(done, tiny_zoo) -> None:
    plan, folder, found = done
    assert checked(plan, folder, tiny_zoo, sample=6) == found["activation"].size
    response = found["response"].values
    np.testing.assert_allclose(response[0, 0], found["activation"].values[0, 0], rtol=1e-5)


def test_layers_are_not_mixed(done, tiny_zoo) -> None:
    plan, folder, _ = done
    found = base.read(plan, zoos.load_zoo("shapes", tiny_zoo), folder)
    with pytest.raises(ValueError, match="and layer"):
        Shard.joined([*plan, *sweep.plan(*WHAT, **SETTINGS)], [*found, found[0]])


def test_unknown_layer_is_named_with_those_there_are(tiny_zoo, tmp_path) -> None:
    plan = sweep.plan(*WHAT, layer="trunk.9", **SETTINGS)
    with pytest.raises(KeyError, match="trunk.0, trunk.1"):
        made(plan, tmp_path, tiny_zoo)
