"""Every shipped result is still found by the settings that made it, and none is left over."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import needs_data

from signseg_utils import selection, zoos
from signseg_utils.analysis import by_sign, neuron_signs, over_classes
from signseg_utils.chapter import parameters
from signseg_utils.experiments import (
    all_units,
    ascents,
    audits,
    base,
    channel_maps,
    class_accuracy,
    diverse_images,
    factorial,
    feature_images,
    negative_selectivity,
    occlusion,
    races,
    sweep,
)
from signseg_utils.experiments.factorial import running as searching
from signseg_utils.experiments.recorded import (
    ablated_models,
    compressed,
    consolidation,
    dot_detectors,
    driven,
    encoding_accuracy,
    encoding_signs,
    localisation,
    noise_correction,
    perturbed,
    published,
    task_driven,
)
from signseg_utils.files import paths, store
from signseg_utils.publishing.chapters import Chapter, chapters
from signseg_utils.search.evolution import Search

RESULTS = paths.data_folder() / "results"
# What results cost is noted beside them where they are computed, and does not ship.
FILES = sorted(p for p in RESULTS.rglob("*") if p.is_file() and p.name != base.TIMINGS)
WEIGHTS = re.compile(r"shapes/factorial/run-.*\.(json|safetensors)")  # of networks made there


def test_every_shipped_file_is_what_its_settings_ask_for() -> None:
    found = audits.shipped()
    assert len(found) > 700
    for one in found:
        folder = paths.results_folder("") / one.home
        told = store.Store(folder).provenance_of(one.key)
        identity = one.identity(one.opened(zoos.load_zoo(one.zoo), folder))
        for name, value in json.loads(json.dumps(identity)).items():
            assert told[name] == value, f"{one.key}: {name}"
    files = {f"{paths.results_folder('') / one.home / one.key}{store.SHARD}" for one in found}
    assert files == {str(path) for path in FILES if path.name.endswith(store.SHARD)}


KINDS = (sweep.Shard, *audits.KINDS)


def test_of_every_kind_something_ships() -> None:
    assert set(KINDS) == {type(own) for own in audits.shipped()}


def test_the_ascents_that_a_command_computes_by_default_are_those_that_ship() -> None:
    asked = {option.name: option.default for option in ascents.Ascents.options()}
    zoo = zoos.load_zoo(str(asked["zoo"]))
    parsed = selection.parse({name: value for name, value in asked.items() if value != ""})
    plan = ascents.Ascents.asked(SimpleNamespace(**{**asked, **vars(parsed)}), zoo)
    kept = [own for own in audits.shipped() if type(own) is ascents.Ascents]
    alike = [own for own in kept if (own.ascent, own.seeds) == (plan[0].ascent, plan[0].seeds)]
    assert {own.key for own in plan} == {own.key for own in alike if own.zoo == zoo.name}


def test_the_factorial_that_a_command_computes_by_default_is_the_one_that_ships() -> None:
    asked = {option.name: option.default for option in searching.Searches.options()}
    given = {name: value for name, value in asked.items() if value != ""}
    parsed = selection.parse({**given, "zoo": "shapes"})
    plan = searching.Searches.asked(SimpleNamespace(**{**asked, **vars(parsed)}), None)
    kept = {own.key for own in audits.shipped() if isinstance(own, searching.Searches)}
    assert {own.key for own in plan} == kept


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_sample_of_each_kind_is_made_again(kind: type) -> None:
    one = next(own for own in audits.shipped() if type(own) is kind)
    zoo = zoos.load_zoo(one.zoo)
    found = base.read([one], zoo, paths.results_folder("") / one.home)
    audited = base.audit([one], found, zoo, sample=2)
    if not audited:
        needs_data(f"what {kind.__name__} is made from is not on this machine")
    assert base.demand(audited) > 0


# ---------------------------------------------------------------- what the chapters ask for


def values(chapter: Chapter) -> SimpleNamespace:
    """Parameters of a chapter as the shipped profile gives them."""
    declared = parameters.declared(chapter.source)
    given = {name: own.default for name, own in declared.items()}
    given |= parameters.cast(declared, {"zoo": chapter.zoo, **chapter.values})
    return selection.parse(given)


def shared(run: SimpleNamespace) -> dict[str, Any]:
    return dict(
        signs=("positive", "negative", run.control),
        alphas=run.alphas,
        seeds=run.seeds,
        rule=run.rule,
        search=Search(run.optimizer, run.generations),
    )


def asked(number: int, run: SimpleNamespace) -> Iterator[Path]:
    """Shards that a chapter reads."""
    own = paths.results_folder(run.zoo)
    recorded = paths.results_folder(getattr(run, "recording", ""))
    plan: list[Any] = []
    if 3 <= number <= 8 or number == 23:
        networks = getattr(run, "networks", None) or [run.network]
        networks = [n for n in networks if number != 8 or not n.endswith("-untrained")]
        what = {"networks": networks, "generators": run.generators, "units": run.units}
        if getattr(run, "method", selection.EVOLUTION) == selection.EVOLUTION:
            plan = sweep.plan(run.zoo, **what, **shared(run))
        else:
            settings = {name: own for name, own in shared(run).items() if name != "search"}
            what |= {**settings, "steps": run.generations}
            plan = list(ascents.swept(zoos.load_zoo(run.zoo), **what))
    if number == 3 and run.further:
        coarse = {**shared(run), "alphas": run.alphas[:: run.every], "seeds": run.seeds[:2]}
        plan += sweep.plan(run.zoo, run.further, run.generators, run.units, **coarse)
    if number == 8:
        zoo = zoos.load_zoo(run.zoo)
        layer = run.layer or channel_maps.middle(zoo.network(run.network).backbone)
        plan += sweep.plan(
            run.zoo, (run.network,), (run.generator,), run.units, layer=layer, **shared(run)
        )
        if run.zoo == "tinyimagenet":  # of shapes they are made on the spot
            yield from (own / channel_maps.ChannelMaps(run.zoo, n).key for n in run.networks)
    if number == 7 and run.zoo != "efficientnet":  # of it there is one image of each class
        yield own / class_accuracy.ClassAccuracy(run.zoo, run.network).key
    if number == 9:
        if run.zoo == "shapes":
            for setting in factorial.settings(run.learned, run.replicates):
                for gauge in searching.gauges(setting):
                    yield own / "factorial" / f"{setting.key}-{gauge}"
        else:
            drives = occlusion.plan(run.zoo, run.networks, run.occluded, run.seed)
            yield from (own / "occlusion" / one.key for one in drives)
    if number == 10 and run.zoo == "tinyimagenet":  # of shapes they are made on the spot
        sets = (run.images, run.pool, run.seeds, run.random_sets)
        yield own / diverse_images.DiverseImages(run.zoo, run.networks, *sets).key
    if number == 11:
        plan = encoding_accuracy.plan(
            run.recording,
            run.zoo,
            run.networks,
            run.sessions,
            images=run.images,
            draws=run.draws,
            seed=run.seed,
        )
    if number == 12:
        plan = encoding_signs.plan(
            run.recording,
            run.zoo,
            run.networks,
            run.sessions,
            seed=run.seed,
            images=run.images,
            draws=run.draws,
            judge=run.networks[0],
        )
        first = [study for study in plan if study.network == run.networks[0]]
        fits = [store.Store(recorded).read(study.key) for study in first]
        share = neuron_signs.positive_share(fits).mean(0)
        features = sum(neuron_signs.extremes(share, run.shown).values(), ())
        names = (run.zoo, run.networks[0], run.generators[0])
        wish = feature_images.FeatureImages(*names, features, run.seeds, run.generations)
        yield own / wish.key
    if number == 13:
        options = shared(run) | dict(
            images=run.images,
            least=run.least_fit,
            generator=run.generator,
            optimizer=run.optimizer,
            generations=run.generations,
            seed=run.seed,
        )
        del options["search"]
        plan = ablated_models.plan(run.recording, run.zoo, run.networks, run.sessions, **options)
    if number == 14:
        plan = localisation.plan(
            run.recording,
            run.zoo,
            run.networks[0],
            run.generators[0],
            run.sessions,
            images=run.images,
            neurons=run.neurons,
            least_fit=run.least_fit,
            generations=run.generations,
            seeds=run.seeds,
            optimizer=run.optimizer,
            discs=run.discs,
            least_change=run.least_change,
            seed=run.seed,
        )
    if number == 17:
        options = dict(layer=run.layer, draws=run.draws, seed=run.seed)
        plan = noise_correction.plan(run.recording, run.zoo, run.network, run.sessions, **options)
        if run.recording == "v4":
            for other in ((run.beside, "lite0"), (run.zoo, run.network, (run.layer,))):
                plan += task_driven.plan(run.recording, *other, seed=run.seed)
    if number == 18:
        common = dict(layer=run.layer, seed=run.seed)
        plan = compressed.plan(
            run.recording,
            run.zoo,
            run.network,
            neurons=run.neurons,
            channels=run.channels,
            images=run.images,
            epochs=run.epochs,
            retrained=run.retrained,
            **common,
        )
        if run.recording == "v4":
            plan += published.plan(run.recording, run.zoo, run.network, **common)
    if number == 19:
        asked_of = (run.own, 1)
        plan = driven.plan(
            run.recording, run.zoo, asked_of, permutations=run.permutations, seed=run.seed
        )
        options = dict(layer=run.layer, bases=run.bases, least_fit=run.least_fit, seed=run.seed)
        plan += perturbed.plan(run.recording, run.zoo, run.network, **options)
    if number == 20:
        few = dict(images=run.images, shown=run.shown, randomised=run.randomised, seed=run.seed)
        plan = consolidation.plan(run.recording, run.zoo, **few)
    if number == 21:
        few = dict(images=run.images, shown=run.shown, detailed=run.detailed)
        plan = dot_detectors.plan(run.recording, run.zoo, **few)
    if number == 15:
        own = own / races.Race.FOLDER
        plan = races.plan(
            run.zoo,
            run.networks,
            run.generators,
            run.units,
            run.optimizers,
            noises=run.noises,
            seeds=run.seeds,
            generations=run.generations,
            reference=run.optimizers[0],
        )
    if number == 16:
        zoo = zoos.load_zoo(run.zoo)
        what = (zoo, run.networks, run.units)
        plan = ascents.plan(*what, alphas=run.alphas, seeds=run.seeds, steps=run.steps)
        once = dict(alphas=run.alphas, seeds=run.seeds[:1])
        plan += ascents.plan(*what, **once, steps=run.longer)
        plan += ascents.in_parts(*what, **once, steps=run.parts)
    if number == 24:
        zoo = zoos.load_zoo(run.zoo)
        units = zoo.in_random_order(run.count)
        plan = all_units.plan(zoo, run.networks, units, steps=run.steps)
        found = all_units.AllUnits.joined(plan, base.read(plan, zoo, own))
        gap = by_sign.sign_gap(found["recognition"].mean(["witness", "seed"]))
        against, along = over_classes.furthest(gap, run.exceptions)
        plan += ascents.plan(zoo, run.networks, against + along, seeds=run.seeds, steps=run.steps)
        drawn = zoo.in_random_order(run.pictures)
        plan += ascents.swept(zoo, networks=[run.network], units=drawn, steps=run.steps)
    if number == 23:
        for generator in ("", *run.generators):
            plan += ascents.plan(
                zoos.load_zoo(run.zoo),
                run.networks,
                run.units,
                generator=generator,
                seeds=tuple(range(run.climbs)),
                steps=run.steps,
                starts=run.starts,
            )
    if number == 22:
        each = ((run.zoo, run.networks), *([(run.beside, ())] if run.beside else []))
        for name, networks in each:
            wanted = negative_selectivity.plan(zoos.load_zoo(name), networks, run.images)
            if name != run.zoo:  # of another zoo, no untrained twins
                wanted = [one for one in wanted if not one.network.endswith("-untrained")]
            yield from (paths.results_folder(name) / one.key for one in wanted)
    of_neurons = number in (11, 12, 13, 14, 17, 18, 19, 20, 21)
    yield from ((recorded if of_neurons else own) / one.key for one in plan)


def test_the_shipped_profile_asks_for_all_that_ships_and_for_nothing_else() -> None:
    wanted: set[str] = set()
    for chapter in chapters("shipped"):
        for path in asked(int(chapter.name[:2]), values(chapter)):
            assert path.with_name(path.name + store.SHARD).exists(), f"{chapter.name}: {path}"
            wanted.add(f"{path.relative_to(RESULTS)}{store.SHARD}")
    left = {str(path.relative_to(RESULTS)) for path in FILES} - wanted
    assert not {name for name in left if not WEIGHTS.fullmatch(name)}
