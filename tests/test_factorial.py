"""The factorial experiment: the design is what it claims, and planted effects are found again."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import collected, made, needs_data

from signseg_utils import zoos
from signseg_utils.chapter import claims
from signseg_utils.experiments import base, factorial
from signseg_utils.experiments.base import AuditError
from signseg_utils.experiments.factorial import Setting, World
from signseg_utils.experiments.factorial.running import gauges
from signseg_utils.experiments.sweep import Shard
from signseg_utils.files import store
from signseg_utils.generators.scenes import Scenes, hue_logits, own_hue
from signseg_utils.search.evolution import Search

LEVELS = dict(classes=12, empty=0.15, context=0.0, hues="shared", loss="softmax")
LEVELS |= dict(optimizer="sgd", features=8, epochs=1, images=128)
SWEEP = Shard("factorial", "", "", "", alphas=(0.0, 1.0), seeds=(0,), search=Search(generations=2))


def test_columns_are_balanced_and_orthogonal():
    design = factorial.columns()
    assert design.shape == (64, 9) and set(design.ravel()) == {-1, 1}
    assert np.array_equal(design.T @ design, 64 * np.eye(9))
    assert not design.sum(0).any()


def test_no_main_effect_is_confounded_with_an_interaction_of_two():
    design = factorial.columns()
    pairs = [design[:, i] * design[:, j] for i in range(9) for j in range(i)]
    assert not (design.T @ np.array(pairs).T).any()


def test_all_but_six_interactions_stand_alone():
    strings = factorial.aliases()
    assert sorted(map(len, strings)) == [1] * 30 + [2] * 3
    assert {name for names in strings if len(names) > 1 for name in names} == {
        "AD",
        "AG",
        "AH",
        "DG",
        "DH",
        "GH",
    }
    assert ("AD", "GH") in strings


def test_the_design_has_one_word_of_four_letters():
    design = dict(zip("ABCDEFGHJ", factorial.columns().T, strict=True))
    constant = [
        word
        for count in range(1, 10)
        for word in combinations(design, count)
        if np.prod([design[letter] for letter in word], axis=0).sum() == 64
    ]
    assert [len(word) for word in constant] == [4, 5, 5, 5, 5, 6, 6]
    assert "".join(constant[0]) == "ADGH"


def test_a_generator_must_use_basic_factors():
    with pytest.raises(ValueError, match="basic"):
        factorial.columns("ABC", {"D": "ABE"})


def test_settings_hold_each_level_equally_often_and_differ():
    settings = factorial.settings(replicates=2)
    assert len({setting.key for setting in settings}) == len(settings) == 128
    assert len({setting.seed for setting in settings}) == 128
    for factor in factorial.FACTORS:
        values = [getattr(setting, factor.name) for setting in settings]
        assert values.count(factor.low) == values.count(factor.high) == 64


def test_planted_effects_are_found_and_no_others():
    rng, design = np.random.default_rng(0), factorial.columns()
    planted = np.array([0.4, 0, 0, -0.3, 0, 0, 0, 0, 0.2])
    response = 1 + design @ planted / 2 + rng.normal(0, 0.1, 64)
    effects = factorial.main_effects(design, response)
    assert np.allclose([effect.value for effect in effects], planted, atol=0.1)
    assert [effect.p < 0.001 for effect in effects] == list(planted != 0)
    assert all(effect.low < effect.value < effect.high and effect.n == 64 for effect in effects)


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng, design = np.random.default_rng(1), factorial.columns()
    planted = np.linspace(-0.5, 0.5, 9)
    crossed = 0.4 * design[:, 0] * design[:, 1]
    held = [
        (effect.low < truth < effect.high, two.low < 0.8 < two.high)
        for _ in range(200)
        for response in [design @ planted / 2 + crossed + rng.normal(0, 1, 64)]
        for two in [factorial.interactions(design, response)["AB"]]
        for effect, truth in zip(factorial.main_effects(design, response), planted, strict=True)
    ]
    main, pairs = np.mean(held, axis=0)
    assert 0.94 < main < 0.99  # the interaction makes intervals wider, never narrower
    assert 0.91 < pairs < 0.98


def test_an_interaction_widens_intervals_but_moves_no_main_effect():
    design = factorial.columns()
    noise = np.random.default_rng(2).normal(0, 0.01, 64)
    crossed = noise + 0.3 * design[:, 0] * design[:, 3]
    plain, mixed = factorial.main_effects(design, noise), factorial.main_effects(design, crossed)
    assert np.allclose([a.value - b.value for a, b in zip(plain, mixed, strict=True)], 0)
    assert all(b.scale > a.scale for a, b in zip(plain, mixed, strict=True))
    name, effect = next(iter(factorial.interactions(design, crossed).items()))
    assert name == "AD + GH" and effect.value == pytest.approx(0.6, abs=0.03)
    assert effect.p < 1e-6


def test_one_of_two_or_both_is_compared_with_neither():
    design = factorial.columns()
    noise = np.random.default_rng(5).normal(0, 0.01, 64)
    apart = (design[:, 1] > 0) | (design[:, 4] > 0)
    found = factorial.neither(design, 0.5 * apart + 0.3 * design[:, 0] + noise, "B", "E")
    assert found.value == pytest.approx(0.5, abs=0.01)
    assert found.low < 0.5 < found.high and found.high - found.low < 0.02


def test_a_covariate_takes_what_it_explains():
    rng, design = np.random.default_rng(3), factorial.columns()
    accuracy = 0.5 * design[:, 7] + rng.normal(0, 0.2, 64)
    response = accuracy + rng.normal(0, 0.01, 64)
    assert factorial.main_effects(design, response)[7].value > 0.5
    assert abs(factorial.main_effects(design, response, accuracy)[7].value) < 0.05


def test_unfit_responses_are_refused():
    design = factorial.columns()
    with pytest.raises(ValueError, match="finite"):
        factorial.main_effects(design, np.full(64, np.nan))
    with pytest.raises(ValueError, match="replicate"):
        factorial.main_effects(design[:8], np.arange(8.0))
    with pytest.raises(ValueError, match="2 networks"):
        factorial.over_networks([1.0])


def test_a_mean_over_networks_has_the_interval_of_t():
    effect = factorial.over_networks([1.0, 2.0, 3.0])
    assert effect.value == 2 and effect.n == 3
    assert effect.low == pytest.approx(2 - 4.3027 / np.sqrt(3), abs=1e-3)


def test_hues_of_classes_are_rendered_as_meant():
    degrees = np.array([0.0, 60.0, 120.0, 190.0, -55.0])
    weights = (4 * torch.from_numpy(hue_logits(degrees))).softmax(1)
    pure = [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 5 / 11, 6 / 11], [12 / 23, 0, 11 / 23]]
    assert torch.allclose(weights, torch.tensor(pure).double(), atol=0.01)
    hues = np.sort(own_hue(np.arange(36)) % 360)
    assert np.allclose(np.diff(hues), 10)


@pytest.fixture
def setting():
    return Setting(99, **LEVELS)


def test_classes_share_hues_or_have_their_own(setting, tmp_path):
    renderer, labels = Scenes(), np.array([0, 3, -1])
    shared = World(setting, tmp_path).codes(renderer, labels, 0, 0.0)
    own = World(replace(setting, hues="own"), tmp_path).codes(renderer, labels, 0, 0.0)
    hue = renderer.slices["hue"]
    assert renderer.describe(shared)["hue"][:2, 0].min() > 0.9  # red disc and red star
    first, second = renderer.describe(own)["hue"][:2]
    assert (first - second).abs().max() > 0.15  # 30 degrees apart
    kept = [i for i in range(renderer.code_size) if not hue.start <= i < hue.stop]
    assert torch.equal(shared[:, kept], own[:, kept])  # nothing else differs
    assert renderer.describe(own)["opacity"][2] < 0.05


def test_a_world_draws_its_classes_and_its_share_of_nothing(setting, tmp_path):
    images = World(replace(setting, images=2000), tmp_path).images("train")
    assert set(images.labels.tolist()) == set(range(-1, 12))
    assert (images.labels < 0).float().mean() == pytest.approx(0.15, abs=0.03)
    full = World(replace(setting, images=500, empty=0.0, classes=36), tmp_path).images("train")
    assert full.labels.min() == 0 and full.labels.max() > 30


def test_centring_is_a_gauge_only_under_a_softmax(setting):
    assert gauges(setting) == ("raw", "centred")
    assert gauges(replace(setting, loss="one_vs_rest")) == ("raw",)
    assert gauges(replace(setting, dale=True)) == ("raw",)  # centred weights would break the law


@pytest.fixture
def pair(setting):
    return [setting, replace(setting, row=98, optimizer="adamw", loss="one_vs_rest")]


UNITS = ("red disc", "green square")


def searched(settings, folder, **options):
    return made(factorial.plan(settings, UNITS, SWEEP), folder, None, **options)


def test_a_run_is_stored_read_and_audited(pair, tmp_path):
    found = searched(pair, tmp_path)
    assert found.sizes["shard"] == 6  # two gauges of the first, one of the second
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path.is_file()}
    again = searched(pair, tmp_path)
    assert found.equals(again)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    plan, zoo = factorial.plan(pair, UNITS, SWEEP), zoos.load_zoo("shapes")
    pieces = base.read(plan, zoo, tmp_path)
    assert base.demand(base.audit(plan, pieces, zoo, sample=6)) == 6
    pieces[0]["activation"][0, 0, 0] += 1
    with pytest.raises(AuditError, match="recompute"):
        base.demand(base.audit(plan, pieces, zoo, sample=100))


def test_a_run_that_was_cut_off_ends_the_same(setting, tmp_path, monkeypatch):
    whole = searched([setting], tmp_path / "whole")
    write = store.Store.write_partial

    def killed(self, *arguments):
        write(self, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(store.Store, "write_partial", killed)
        searched([setting], tmp_path / "cut", checkpoint_seconds=0)
    resumed = searched([setting], tmp_path / "cut")
    assert resumed.equals(whole)


def test_other_searches_are_not_taken_for_these(setting, tmp_path):
    searched([setting], tmp_path)
    with pytest.raises(store.ForeignShard, match="units"):
        collected(factorial.plan([setting], UNITS[:1], SWEEP), tmp_path, None)


def test_presence_is_read_from_the_code(setting, tmp_path):
    zoo = zoos.load_zoo("shapes")
    if not zoo.path("detector").exists():
        needs_data("the weights of shapes are not here; `make zoo` trains them")
    found = searched([setting], tmp_path)
    slices = Scenes().slices
    sunk = np.where(found["sign"].values == "positive", -3, 3)
    found["codes"][..., slices["presence"]] = sunk[:, None, None]
    disc = np.eye(12)[0] * 9  # whatever the unit, without negative inputs its object is a disc
    found["codes"][:, found["sign"].values == "negative", :, slices["shape"]] = disc
    seen = factorial.look(found, zoo)
    assert float(seen["presence"].sel(condition="positive 1").max()) < 0.01
    assert float(seen["presence"].sel(condition="negative 1").min()) > 0.99
    assert set(seen["presence"].dims) == {"network", "unit", "condition"}
    assert float(seen["shape"].sel(condition="negative 1", unit="red disc").min()) > 0.99
    assert float(seen["shape"].sel(condition="negative 1", unit="green square").max()) < 0.01
    runs = factorial.table(seen, [setting], tmp_path)
    assert runs["presence"][0] > 0.99 and runs["presence, centred"][0] > 0.99
    assert runs["shape"][0] == pytest.approx(0.5, abs=0.01)  # of two units one has its own shape
    assert runs["presence without positive"][0] < 0.01
    assert runs["classes"][0] == 12 and 0 <= runs["accuracy"][0] <= 1


@pytest.fixture
def runs():
    """A table of all networks in which a hue of its own and centring add to each response."""
    rng = np.random.default_rng(4)
    table = pd.DataFrame([factorial.levels(row) for row in range(64)])
    for kind in factorial.KINDS:
        table[kind] = 0.3 * (table["hues"] == "own") + rng.normal(0, 0.01, 64)
        centred = table[kind] + 0.2
        kept = (table["loss"] == "softmax") & ~table["dale"]
        table[f"{kind}, centred"] = centred.where(kept)
    for kind in factorial.KINDS[1:]:
        table[f"{kind} intact"] = 0.8
        for sign, change in (("positive", 0.1), ("negative", -0.3), ("random", 0.0)):
            table[f"{kind} without {sign}"] = 0.8 + change + rng.normal(0, 0.01, 64)
    table["accuracy"] = rng.uniform(size=64)
    return table


def test_effects_have_names_and_the_gauge_is_paired(runs):
    assert np.array_equal(factorial.coded(runs), factorial.columns())
    found = factorial.by_factor(runs, "similarity")
    assert found["hues"].value == pytest.approx(0.3, abs=0.02)
    assert found["gauge"].value == pytest.approx(0.2) and found["gauge"].n == 16
    assert "gauge" not in factorial.by_factor(runs, "similarity", "accuracy")
    assert "gauge" not in factorial.by_factor(runs, "accuracy")


def test_factors_are_compared_the_largest_on_top(runs):
    compared = factorial.compared(runs)
    assert list(compared.index[:2]) == ["hues", "gauge"]
    assert compared["presence"]["hues"] == factorial.by_factor(runs, "presence")["hues"].value
    assert np.isnan(compared["similarity at equal accuracy"]["gauge"])


def test_interactions_are_told_by_the_names_of_their_factors(runs):
    runs["shape"] += 0.2 * ((runs["loss"] == "one_vs_rest") == runs["dale"])
    told = factorial.together(runs, "shape", most=3)
    assert list(told.columns) == ["effect", "low", "high", "p"] and len(told) == 3
    assert told.index[0] == "loss x dale" and told["p"].iloc[0] < 1e-6 < told["p"].iloc[1]
    assert told["effect"].iloc[0] == pytest.approx(0.2, abs=0.02)


def test_each_network_is_one_dot_of_its_cell(runs):
    panels = factorial.by_refusal(runs, "presence")
    assert [len(cell) for panel in panels.values() for cell in panel.values()] == [8] * 8


def test_every_claim_on_networks_has_its_effect_and_no_other(runs):
    stated = [name for name, one in claims.claims(9).items() if one.sample == "networks"]
    asked = {
        **factorial.overall(runs),
        **factorial.of_factors(runs),
        **factorial.of_constraints(runs),
    }
    assert set(asked) == set(stated) - {"W-accuracy", "W-factors"}


def test_falls_are_changes_from_the_intact_unit(runs):
    found = factorial.overall(runs)
    assert found["W-fall positive presence"].value == pytest.approx(0.1, abs=0.01)
    assert found["W-fall negative shape"].value == pytest.approx(-0.3, abs=0.01)
    assert found["W-mean shape"].value == pytest.approx(0.15, abs=0.01)


def test_a_planted_factor_survives_the_correction_for_ten(runs):
    found = factorial.of_factors(runs)
    assert sorted(name for name, (_, p) in found.items() if p < 1e-6) == sorted(
        f"W-{name}{kind}" for name in ("hues", "gauge") for kind in ("", " presence", " shape")
    )


def test_constraints_are_asked_of_networks_that_obey(runs):
    runs.loc[runs["dale"], "shape"] += 1.0
    runs.loc[(runs["empty"] > 0) | (runs["loss"] == "one_vs_rest"), "presence"] += 0.4
    found = factorial.of_constraints(runs)
    assert found["W-dale mean shape"].value == pytest.approx(1.15, abs=0.01)
    assert found["W-dale mean shape"].n == 32
    assert found["W-refusal presence"].value == pytest.approx(0.4, abs=0.02)
