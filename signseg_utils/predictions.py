"""Which layers of which networks predict which neurons: measured once, stored, read by chapters.

One `Study` is one session of a recording seen through one network. Its result holds numbers about
fitted models only, no response and no image, so it can be shipped where the recording cannot.
``python -m signseg_utils.predictions --recording v4`` computes what the store does not hold yet;
the same command continues an interrupted one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from signseg_utils import paths, zoos
from signseg_utils.networks import Network
from signseg_utils.neurons import encoding, features, recordings
from signseg_utils.neurons.pictures import pictures
from signseg_utils.parameters import split
from signseg_utils.signs import sign_ratio
from signseg_utils.store import Store

VERSION = 3  # of the measurement: raised when the same study would give other numbers
V4_SESSIONS = ("190923", "210225")  # those of which compact models exist, too
FEWEST_TESTED = 10  # on fewer images a correlation says nothing
TRAINED = 0.8  # share of the images that models are fitted to (paper, A.1)


Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Study:
    """One session of one recording, seen through one network.

    Attributes
    ----------
    recording, session, zoo, network
        What is predicted, and from what.
    images
        Number of images of one experiment: 80 % to fit, 20 % to test (paper: 160).
    draws
        Random choices of these images; alike for all networks.
    components
        Numbers of PLS components to choose from.
    side
        Maps are averaged to side x side places.
    folds
        Of the cross-validation on training images that chooses layer and components.
    seed
        Of draws, folds and shuffled responses.
    """

    recording: str
    session: str
    zoo: str
    network: str
    images: int = 160
    draws: int = 5
    components: tuple[int, ...] = (1, 2, 3, 4)
    side: int = 4
    folds: int = 5
    seed: int = 0

    @property
    def key(self) -> str:
        """Name of its file: readable, and other settings give another."""
        text = json.dumps({**asdict(self), "version": VERSION}, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        recorded = Path(self.recording).stem
        return f"{recorded}-{self.session}-{self.zoo}-{self.network}-{digest}".replace(" ", "_")

    def expected(self) -> dict[str, Any]:
        """What the provenance of its result must say."""
        weights = zoos.load_zoo(self.zoo).card(self.network)["sha256"]
        asked = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}
        return {**asked, "version": VERSION, "weights": weights}


def plan(
    recording: str, zoo: str, networks: Sequence[str], sessions: Sequence[str] = (), **settings: Any
) -> list[Study]:
    """Studies of all networks; sessions: those given, else `V4_SESSIONS` or all of the recording.

    Raises
    ------
    signseg_utils.neurons.recordings.RecordingMissing
        If the sessions must be read from a recording that is not here.
    """
    if not sessions and recording == "v4":
        sessions = V4_SESSIONS
    if not sessions:
        names = recordings.load(recording)["session"].values.tolist()
        sessions = tuple(dict.fromkeys(names))
    return [Study(recording, s, zoo, n, **settings) for s in sessions for n in networks]


def measure(found: xr.Dataset, network: Network, study: Study) -> xr.Dataset:
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
    responses = whole["response"].values
    if len(responses) < study.images:
        raise recordings.RecordingError(
            f"expected {study.images} images in session {study.session}, the number of one "
            f"experiment; got {len(responses)}; ask for fewer with images="
        )
    size = getattr(network.backbone, "image_size", None)
    names = tuple(
        layer if layer == features.LAST else f"{layer}/{study.side}"
        for layer in features.layers(network)
    )
    seen = features.extract_layers(network, names, pictures(whole, size))
    inputs = {name: values.double().numpy() for name, values in seen.items()}
    shape = (study.draws, len(names), responses.shape[1])
    kinds = ("cv", "r2_test", "r2_fresh", "r_test", "r_fresh", "r_test_one", "r_fresh_one",
             "r_fresh_all", "ratio", "ratio_one", "ratio_shuffled")  # fmt: skip
    out = {kind: np.full(shape, np.nan) for kind in kinds}
    components = np.zeros(shape[:2], dtype=np.int64)
    chosen = np.zeros(study.draws, dtype=np.int64)
    for draw in range(study.draws):
        rng = np.random.default_rng([study.seed, draw])
        order = rng.permutation(len(responses))
        cut = round(TRAINED * study.images)
        fit, test, fresh = np.split(order, [cut, study.images])
        shuffled = responses[rng.permutation(fit)]
        choice = encoding.choose(
            {name: values[fit] for name, values in inputs.items()}, responses[fit], "pls",
            study.components, folds=study.folds, seed=study.seed,
        )  # fmt: skip
        chosen[draw] = names.index(choice.layer)
        for place, name in enumerate(names):
            table = choice.table[name]
            best = int(np.argmax(np.sort(table, axis=1)[:, -10:].mean(1)))
            components[draw, place] = study.components[best]
            out["cv"][draw, place] = table[best]
            x = inputs[name]
            own = encoding.fit(x[fit], responses[fit], "pls", study.components[best])
            one = encoding.fit(x[fit], responses[fit], "pls", 1)
            none = encoding.fit(x[fit], shuffled, "pls", 1)
            for rows, suffix in ((test, "test"), (fresh, "fresh")):
                if len(rows) < FEWEST_TESTED:
                    continue
                guess = encoding.predict(own, x[rows])
                out[f"r2_{suffix}"][draw, place] = encoding.explained(guess, responses[rows])
                out[f"r_{suffix}"][draw, place] = encoding.correlation(guess, responses[rows])
                guess = encoding.predict(one, x[rows])
                out[f"r_{suffix}_one"][draw, place] = encoding.correlation(guess, responses[rows])
            if len(fresh) >= FEWEST_TESTED:
                everything = np.concatenate([fit, test])
                full = encoding.fit(
                    x[everything], responses[everything], "pls", study.components[best]
                )
                guess = encoding.predict(full, x[fresh])
                out["r_fresh_all"][draw, place] = encoding.correlation(guess, responses[fresh])
            for kind, model in (("ratio", own), ("ratio_one", one), ("ratio_shuffled", none)):
                out[kind][draw, place] = sign_ratio(model.weight).numpy()
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


def run(
    studies: Sequence[Study],
    folder: Path,
    *,
    recompute: bool = False,
    report: Callable[[str], object] = lambda text: None,
) -> None:
    """Compute the studies that ``folder`` does not hold yet.

    Raises
    ------
    signseg_utils.neurons.recordings.RecordingMissing
        If one must be computed and its recording is not here.
    """
    store = Store(Path(folder))
    for study in studies:
        if not recompute and store.has(study.key, study.expected()):
            report(f"{study.key}: there")
            continue
        start = time.perf_counter()
        found = recordings.load(study.recording, [study.session])
        network = zoos.load_zoo(study.zoo).network(study.network)
        measured = measure(found, network, study)
        digest = hashlib.sha256(np.ascontiguousarray(found["response"].values).tobytes())
        seconds = time.perf_counter() - start
        about = {
            **study.expected(),
            "source": found.attrs.get("source", ""),
            "licence": found.attrs.get("licence", ""),
            "responses_sha256": digest.hexdigest(),
        }
        store.write(study.key, measured, about)
        report(f"{study.key}: {seconds:.0f} s")


def obtain(
    studies: Sequence[Study], results: str = "", recompute: bool = False
) -> tuple[list[xr.Dataset], str]:
    """Results of studies in their order, and where from: ``shipped`` or ``recomputed``.

    Shipped ones are shown if all fit the settings and the weights; else those in ``results``
    (default ``runs/<recording>``) are, computed where they are missing.

    Raises
    ------
    signseg_utils.neurons.recordings.RecordingMissing
        If one must be computed and its recording is not here.
    """
    shipped = Store(shipped_folder(studies[0].recording))
    if not (results or recompute) and all(shipped.has(s.key, s.expected()) for s in studies):
        return [shipped.read(s.key, s.expected()) for s in studies], "shipped"
    folder = Path(results or Path("runs") / Path(studies[0].recording).stem)
    run(studies, folder, recompute=recompute)
    return [Store(folder).read(s.key, s.expected()) for s in studies], "recomputed"


def shipped_folder(recording: str) -> Path:
    """Where the results of a recording lie that ship with the book."""
    return paths.results_folder(Path(recording).stem)


def at(measured: xr.Dataset, kind: str, layer: str | None = None) -> xr.DataArray:
    """Values of ``kind`` at a layer, default the one that each draw chose: ``[draw, neuron]``."""
    if layer is None:
        return measured[kind].isel(layer=measured["chosen"].astype(int))
    return measured[kind].sel(layer=layer)


def of_neurons(sessions: Sequence[xr.Dataset], kind: str, layer: str | None = None) -> Array:
    """Values of each neuron of all sessions, averaged over draws: ``[neuron]``.

    A correlation ``r_...`` may be asked for as its square, ``r2_`` being taken by R2: ``sq_...``
    is 0 where the correlation is negative. Ratios are averaged as their logarithms (``log_...``),
    those beyond 1,000 counted as 1,000.
    """
    sessions = [own.astype(float) for own in sessions]
    shape, _, name = kind.partition("_")
    if shape not in ("sq", "log"):
        return np.concatenate([at(own, kind, layer).mean("draw").values for own in sessions])
    source = f"r_{name}" if shape == "sq" else name
    turned = []
    for own in sessions:
        values = at(own, source, layer)
        log = xr.apply_ufunc(np.log, values.clip(1e-3, 1e3))
        turned.append(values.clip(min=0) ** 2 if shape == "sq" else log)
    return np.concatenate([values.mean("draw").values for values in turned])


def best(sessions: Sequence[xr.Dataset], count: int = 10, layer: str | None = None) -> Array:
    """Numbers of the ``count`` neurons a session that cross-validation ranks first.

    They count the neurons of all sessions in order, as `of_neurons` does. The ranking sees training
    images only.
    """
    start, found = 0, []
    for own in sessions:
        ranked = of_neurons([own], "cv", layer)
        found.append(start + np.argsort(-ranked, kind="stable")[:count])
        start += len(ranked)
    return np.concatenate(found)


def tested(measured: xr.Dataset) -> str:
    """Where models are tested: ``fresh`` images, or the drawn ``test`` images if none are left."""
    return "fresh" if np.isfinite(measured["r_fresh"]).all() else "test"


def summary(studies: Sequence[Study], measured: Sequence[xr.Dataset]) -> Any:
    """A table, one row a study and layer: what its ten best neurons reach on left-out images."""
    import pandas as pd

    rows = []
    for study, own in zip(studies, measured, strict=True):
        on = tested(own)
        for place, layer in enumerate(own["layer"].values.tolist()):
            first, penult = best([own], layer=layer), f"sq_{on}_one"
            rows.append({
                "session": study.session, "network": study.network, "layer": layer,
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
            })  # fmt: skip
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: ``python -m signseg_utils.predictions --recording v4 --networks resnet``."""
    parser = argparse.ArgumentParser(
        prog="python -m signseg_utils.predictions", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--recording", default="v4", help="v4, simulated, or a file")
    parser.add_argument("--sessions", default="", help="comma separated; default: see plan")
    parser.add_argument("--zoo", default="tinyimagenet", help="zoo of the networks")
    parser.add_argument("--networks", default="", help="comma separated; default: standard ones")
    parser.add_argument("--draws", type=int, default=Study.draws, help="choices of images")
    parser.add_argument("--side", type=int, default=Study.side, help="maps averaged to this side")
    parser.add_argument("--folder", type=Path, help="default: data/results/<recording>")
    parser.add_argument("--recompute", action="store_true", help="even what is there")
    given = parser.parse_args(arguments)
    networks = split(given.networks) or zoos.load_zoo(given.zoo).networks
    studies = plan(
        given.recording, given.zoo, networks, split(given.sessions), draws=given.draws,
        side=given.side,
    )  # fmt: skip
    folder = given.folder or shipped_folder(given.recording)
    run(studies, folder, recompute=given.recompute, report=print)
    stored = Store(folder)
    found = [stored.read(study.key, study.expected()) for study in studies]
    print(summary(studies, found).to_string(index=False, float_format="%.3f"))


if __name__ == "__main__":
    main()
