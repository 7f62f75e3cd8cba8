"""Which layers of which networks predict which neurons: measured once, stored, read by chapters.

A result holds numbers about fitted models only, no response and no image
(`signseg_utils.experiments.recorded.base`). ``signseg experiment encoding_accuracy --recording v4``
computes what the store does not hold yet; the same command continues an interrupted one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from signseg_utils.analysis.predictions import best, layers_of, of_neurons, tested
from signseg_utils.basics.progress import each
from signseg_utils.experiments.base import Option, State, forget
from signseg_utils.experiments.recorded import base as studies
from signseg_utils.experiments.recorded.base import FEWEST_TESTED
from signseg_utils.networks import Network
from signseg_utils.neurons import encoding, features, recordings
from signseg_utils.units.signs import sign_ratio
from signseg_utils.zoos import Zoo

KINDS = (
    "cv", "r2_test", "r2_fresh", "r_test", "r_fresh", "r_test_one", "r_fresh_one", "r_fresh_all",
    "ratio", "ratio_one", "ratio_shuffled",
)  # fmt: skip

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class EncodingAccuracy(studies.Drawn):
    """How well each layer of a network predicts the neurons of one session.

    Attributes
    ----------
    components
        Numbers of PLS components to choose from.
    sides
        Maps are averaged to side x side places, for each of these sides: each is a layer of its own
        to choose from. A map with fewer places is taken once, as it is.
    """

    KIND: ClassVar[str] = "predictions"
    VERSION: ClassVar[int] = 5

    components: tuple[int, ...] = (1, 2, 3, 4)
    sides: tuple[int, ...] = (4, 8)

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        *studies.OPTIONS,
        Option("networks", "comma separated; default: standard ones"),
        Option("draws", "choices of images", studies.Drawn.draws),
        Option("images", "images of a draw", studies.Drawn.images),
    )

    def measured(
        self,
        session: xr.Dataset,
        zoo: Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
    ) -> xr.Dataset:
        return measure(session, zoo.network(self.network), self)

    @classmethod
    def asked(cls, given: SimpleNamespace, zoo: Zoo) -> list[EncodingAccuracy]:
        networks = given.networks or zoo.networks
        return plan(
            given.recording,
            given.zoo,
            networks,
            given.sessions,
            draws=given.draws,
            images=given.images,
        )

    @classmethod
    def told(cls, plan: Sequence[EncodingAccuracy], found: Sequence[xr.Dataset], zoo: Zoo) -> str:
        """Which layers were chosen, and how well they predict."""
        tables = (chosen(plan, found).reset_index(), summary(plan, found))
        return "\n".join(table.to_string(index=False, float_format="%.3f") for table in tables)


def plan(
    recording: str, zoo: str, networks: Sequence[str], sessions: Sequence[str] = (), **settings: Any
) -> list[EncodingAccuracy]:
    """Studies of all networks; see `signseg_utils.experiments.recorded.base.plan`."""
    return studies.plan(EncodingAccuracy, recording, zoo, networks, sessions, **settings)


def measure(found: xr.Dataset, network: Network, study: EncodingAccuracy) -> xr.Dataset:
    """Fit and test models of all neurons of one session on all layers of one network.

    For each draw, ``images`` of the session's images are chosen at random, 80 % of them to fit. In
    cross-validation on these alone, each layer gets its number of components and one layer is
    chosen (`encoding.choose`). Then models are fitted to all of them and tested on the other 20 %
    (``test``) and on all images of the session that were not drawn (``fresh``).

    Returns
    -------
    xarray.Dataset
        ``[draw, layer, neuron]``: ``cv`` (R2 of cross-validation), ``r2_test``, ``r2_fresh`` (R2,
        1 - SSE/SST), ``r_test``, ``r_fresh`` (Pearson), ``r_test_one``, ``r_fresh_one`` and
        ``ratio_one`` (with one component, as in the paper), ``r_fresh_all`` (fitted to all images
        of the experiment), ``ratio`` (summed positive over summed negative weight),
        ``ratio_shuffled`` (one component, responses shuffled over images); ``components``
        [draw, layer]; ``chosen`` [draw], number of the chosen layer. ``fresh`` is NaN where fewer
        than 10 images are left.

    Raises
    ------
    signseg_utils.neurons.recordings.RecordingError
        If the session has fewer images than one experiment needs.
    """
    whole = recordings.complete(found)
    studies.enough(whole, study)
    responses = whole["response"].values
    names = candidates(network, study.sides)
    inputs = studies.inputs(network, names, whole)
    shape = (study.draws, len(names), responses.shape[1])
    out = {kind: np.full(shape, np.nan) for kind in KINDS}
    components = np.zeros(shape[:2], dtype=np.int64)
    chosen = np.zeros(study.draws, dtype=np.int64)
    for draw in each(range(study.draws), "draws"):
        fit, test, fresh, rng = study.drawn(draw, len(responses))
        shuffled = responses[rng.permutation(fit)]
        choice = encoding.choose(
            {name: values[fit] for name, values in inputs.items()},
            responses[fit],
            "pls",
            study.components,
            folds=study.folds,
            seed=study.seed,
        )
        chosen[draw] = names.index(choice.layer)
        for place, name in enumerate(each(names, "layers", fine=True)):
            table = choice.table[name]
            best = int(np.argmax(np.sort(table, axis=1)[:, -10:].mean(1)))
            components[draw, place] = study.components[best]
            out["cv"][draw, place] = table[best]
            of_layer = _of_layer(
                inputs[name], responses, shuffled, (fit, test, fresh), study.components[best]
            )
            for kind, values in of_layer.items():
                out[kind][draw, place] = values
    dims = ("draw", "layer", "neuron")
    return xr.Dataset(
        {
            **{kind: (dims, values.astype(np.float16)) for kind, values in out.items()},
            "components": (dims[:2], components),
            "chosen": (dims[:1], chosen),
        },
        {"layer": np.asarray(names, dtype=str), "neuron": whole["neuron"].values.astype(str)},
        {"excluded": whole.attrs["excluded"], "images_at_hand": len(responses)},
    )


def _of_layer(
    x: Array, responses: Array, shuffled: Array, parts: Sequence[Array], components: int
) -> dict[str, Array]:
    """What models of all neurons on one layer reach in one draw: kind -> ``[neuron]``.

    ``parts`` are the rows to fit, to test, and fresh ones; ``shuffled`` are responses of the first.
    """
    fit, test, fresh = parts
    own = encoding.fit(x[fit], responses[fit], "pls", components)
    one = encoding.fit(x[fit], responses[fit], "pls", 1)
    none = encoding.fit(x[fit], shuffled, "pls", 1)
    models = {"ratio": own, "ratio_one": one, "ratio_shuffled": none}
    out = {kind: sign_ratio(model.weight).numpy() for kind, model in models.items()}
    for rows, suffix in ((test, "test"), (fresh, "fresh")):
        if len(rows) < FEWEST_TESTED:
            continue
        guess = encoding.predict(own, x[rows])
        out[f"r2_{suffix}"] = encoding.explained(guess, responses[rows])
        out[f"r_{suffix}"] = encoding.correlation(guess, responses[rows])
        guess = encoding.predict(one, x[rows])
        out[f"r_{suffix}_one"] = encoding.correlation(guess, responses[rows])
    if len(fresh) >= FEWEST_TESTED:
        everything = np.concatenate([fit, test])
        full = encoding.fit(x[everything], responses[everything], "pls", components)
        guess = encoding.predict(full, x[fresh])
        out["r_fresh_all"] = encoding.correlation(guess, responses[fresh])
    return out


def candidates(network: Network, sides: Sequence[int]) -> tuple[str, ...]:
    """Layers to choose from, first to last: each map at each side, then the penultimate layer.

    A map of fewer places than the smallest side is taken as that side; of larger sides, those that
    the map has places for.
    """
    places = features.places(network)
    found = []
    for layer in features.layers(network):
        if layer == features.LAST:
            found.append(layer)
            continue
        fitting = [side for side in sorted(sides) if side <= places[layer]]
        found += [f"{layer}/{side}" for side in fitting or [min(sides)]]
    return tuple(found)


def summary(studies: Sequence[EncodingAccuracy], measured: Sequence[xr.Dataset]) -> Any:
    """A table, one row a study and layer: what its ten best neurons reach on left-out images."""
    import pandas as pd

    rows = []
    for study, own in zip(studies, measured, strict=True):
        on = tested([own])
        for place, layer in enumerate(layers_of(own)):
            first, penult = best([own], layer=layer), f"sq_{on}_one"
            rows.append(
                {
                    "session": study.session,
                    "network": study.network,
                    "layer": layer,
                    "chosen": int((own["chosen"] == place).sum()),
                    "components": float(own["components"].isel(layer=place).mean()),
                    "R2": float(of_neurons([own], f"r2_{on}", layer)[first].mean()),
                    "r2": float(of_neurons([own], f"sq_{on}", layer)[first].mean()),
                    "r2, 1 component": float(of_neurons([own], penult, layer)[first].mean()),
                    "r2, fitted to all": float(
                        of_neurons([own], "sq_fresh_all", layer)[first].mean()
                    ),
                    "r2, few test images": float(of_neurons([own], "sq_test", layer)[first].mean()),
                    "ratio": float(np.exp(of_neurons([own], "log_ratio_one", layer)[first].mean())),
                }
            )
    return pd.DataFrame(rows)


def chosen(studies_: Sequence[EncodingAccuracy], measured: Sequence[xr.Dataset]) -> Any:
    """A table, one row a study: the layers that its draws chose, and what ten best neurons reach.

    Rows go by session and network; of more than two layers, the two chosen most often are named.
    Predictions are those of the chosen layers, on left-out images; ``penultimate`` is r2 there.
    """
    import pandas as pd

    rows = []
    for study, own in zip(studies_, measured, strict=True):
        on, first = tested([own]), best([own])
        names, times = np.unique(own["layer"].values[own["chosen"].values], return_counts=True)
        order = np.argsort(-times, kind="stable")
        named = [f"{names[n]} ({times[n]})" for n in order[:2]]
        named += [f"{len(order) - 2} more"] if len(order) > 2 else []
        columns = {
            "R2": f"r2_{on}",
            "r2": f"sq_{on}",
            "r2, fitted to all": "sq_fresh_all",
            "r2, few test images": "sq_test",
        }
        last = best([own], layer=features.LAST)
        rows.append(
            {
                "session": study.session,
                "network": study.network,
                "layers chosen": ", ".join(named),
                **{
                    title: float(of_neurons([own], kind)[first].mean())
                    for title, kind in columns.items()
                },
                "penultimate": float(of_neurons([own], f"sq_{on}", features.LAST)[last].mean()),
            }
        )
    return pd.DataFrame(rows).set_index(["session", "network"])


PLUGIN = EncodingAccuracy
