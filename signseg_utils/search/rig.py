"""A closed loop with a rig: ask for images, show them to an animal, tell the rates, go on.

The search is the one of ``evolution``: the same optimisers, starting codes and noise. Only the
scores come from outside, through a folder: images out as PNG files with a manifest, rates in as a
CSV file. Everything else is kept in that folder after each generation, so the program may end
between any two steps, or be killed in any of them, and go on later as if nothing had happened.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from signseg_utils.basics import registry
from signseg_utils.basics.refusals import Refusal, UnknownName
from signseg_utils.files import weights
from signseg_utils.files.images import decode
from signseg_utils.files.paths import replacing, write_text
from signseg_utils.files.reading import read_text
from signseg_utils.files.store import DamagedShard, ForeignShard, Store
from signseg_utils.optimizers import check_seeds
from signseg_utils.search.evolution import Search

STATE = "session"
MANIFEST = "manifest.csv"
RATES = "rates.csv"

Rates = Path | str | Mapping[str, Any] | Sequence[Any] | np.ndarray | Tensor


class SessionError(Refusal, ValueError):
    """Rates that do not belong to the images asked for, or a folder of another session."""


class RatesMissing(Refusal, FileNotFoundError):
    """Rates, or the images that they belong to, are not there."""


@dataclass(frozen=True)
class Batch:
    """The images of one generation.

    Attributes
    ----------
    generation : int
    folder : Path
        Holds the images and ``manifest.csv``.
    names : tuple of str
        File names of the images, in the order of the manifest.
    """

    generation: int
    folder: Path
    names: tuple[str, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(self.folder / name for name in self.names)


@dataclass(frozen=True)
class Found:
    """What a session found so far.

    Attributes
    ----------
    codes : Tensor [run, code]
        The code with the highest measured rate. The highest of many noisy rates is too high on
        average: measure its image anew before a number is reported.
    rates : Tensor [run]
        That rate, mean over repeats.
    final_codes : Tensor [run, code]
        Mean of the last generation's better half, weighted alike: less at the mercy of one trial.
    trace, mean_trace : Tensor [run, generation]
        Highest and mean measured rate of each generation.
    """

    codes: Tensor
    rates: Tensor
    final_codes: Tensor
    trace: Tensor
    mean_trace: Tensor


class Session:
    """A search whose scores come from a rig. The same arguments and folder continue it.

    Parameters
    ----------
    folder
        Made if needed; holds state and images.
    generator
        Codes [n, code] to images [n, 3, h, w] in 0..1, as ``Zoo.generator`` gives.
    search
        Optimiser, generations, population, sigma.
    seeds
        One for each run; runs are searches that go on side by side, each with images of its own.
    labels
        Name of each run, such as the channel whose rate drives it; default: "run0" and so on.

    Raises
    ------
    SessionError
        If the folder holds another session (what differs is named), or a damaged one.
    """

    def __init__(
        self,
        folder: Path | str,
        generator: nn.Module,
        search: Search,
        seeds: Sequence[int] = (0,),
        labels: Sequence[str] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.generator = generator.eval()
        self.search = search
        if self.folder.exists() and not self.folder.is_dir():
            raise SessionError(
                f"expected a folder for the session at {self.folder}; got a file; give another"
            )
        try:
            self.seeds = check_seeds(seeds, len(seeds))
        except ValueError as error:
            raise SessionError(f"{error} (seeds of the session in {self.folder})") from error
        names = [f"run{run}" for run in range(len(self.seeds))] if labels is None else labels
        self.labels = tuple(str(name) for name in names)
        if len(self.labels) != len(self.seeds) or not self.seeds:
            raise SessionError(
                f"expected one label for each of the {len(self.seeds)} seeds, because each is one "
                f"run; got {len(self.labels)}"
            )
        _distinct(self.labels)
        starts = torch.as_tensor(generator.initial_codes(self.seeds)).float()  # type: ignore[operator]
        sigma = generator.initial_sigma if search.sigma is None else search.sigma
        try:
            self.optimizer = registry.load("optimizers", search.optimizer)(
                starts,
                float(sigma),  # type: ignore[arg-type]
                self.seeds,
                generations=search.generations,
                population=search.population,
            )
        except (ValueError, TypeError, UnknownName) as error:
            raise SessionError(f"{error} (search of the session in {self.folder})") from error
        shape = (len(self.seeds), search.generations)
        self.trace = torch.full(shape, torch.nan)
        self.mean_trace = torch.full(shape, torch.nan)
        self.best_codes, self.final_codes = starts.clone(), starts.clone()
        self.best_rates = torch.full(shape[:1], -torch.inf)
        self._load()

    @property
    def generation(self) -> int:
        """Generations told."""
        return int(self.optimizer.generation)

    @property
    def done(self) -> bool:
        """Whether all generations were told."""
        return self.generation >= self.search.generations

    @property
    def identity(self) -> dict[str, Any]:
        """What a folder must agree in to be continued."""
        return {
            **asdict(self.search),
            "population": self.optimizer.population,
            "sigma": self.optimizer.initial_sigma,
            "seeds": list(self.seeds),
            "labels": list(self.labels),
            "generator": type(self.generator).__name__,
            "generator weights": weights.digest(self.generator.state_dict()),
            "initial codes": weights.digest({"codes": self.optimizer.initial}),
        }

    def batch(self) -> Batch:
        """Names of this generation's images and where they go; nothing is written."""
        if self.done:
            raise SessionError(
                f"expected a generation to come; all {self.search.generations} were told: "
                "see found()"
            )
        number = self.generation
        names = [
            f"gen{number:03d}_{run:02d}_{candidate:03d}.png"
            for run in range(len(self.seeds))
            for candidate in range(self.optimizer.candidates(number))
        ]
        return Batch(number, self.folder / f"generation_{number:03d}", tuple(names))

    def ask(self) -> Batch:
        """Write the images of this generation and their manifest, and say where they are.

        The manifest is written last: where it is, the images are all there. Asking again before
        the rates are told gives the same images.
        """
        batch = self.batch()
        if not (batch.folder / MANIFEST).exists() or not all(f.exists() for f in batch.files):
            batch.folder.mkdir(parents=True, exist_ok=True)
            codes = self._codes()
            rows = ["name,generation,run,label,candidate"]
            for run, label in enumerate(self.labels):
                for candidate, code in enumerate(codes[run]):
                    name = batch.names[run * codes.shape[1] + candidate]
                    with torch.inference_mode():
                        image = self.generator(code[None])[0]
                    _write_png(batch.folder / name, image)
                    rows.append(_line([name, batch.generation, run, label, candidate]))
            write_text(batch.folder / MANIFEST, "\n".join(rows) + "\n")
        return batch

    def tell(self, rates: Rates | None = None) -> None:
        """Take the rates of this generation's images, save, and move on.

        Parameters
        ----------
        rates
            A CSV file with columns ``name`` and ``rate``, where a name stands once for each
            repeat; or a mapping from names to a rate or a list of rates; or an array ``[image]``
            or ``[image, repeat]`` in the order of the manifest. Default: ``rates.csv`` in the
            folder of this generation's images. Repeats are averaged. NaN or an empty field is a
            repeat that was lost; an image that lost all ranks last.

        Raises
        ------
        SessionError
            For names or counts that are not those of the manifest, infinite rates, or a run that
            lost more than half of its images. Nothing is changed then: mend the rates and tell
            them again.
        FileNotFoundError
            If the images were not asked for, or the CSV file is not there.
        """
        batch = self.batch()
        if not (batch.folder / MANIFEST).exists():
            raise RatesMissing(
                f"expected images of generation {batch.generation} in {batch.folder}, because "
                "rates belong to images that were shown; there are none: ask() first"
            )
        repeats = _repeats(batch.folder / RATES if rates is None else rates, batch)
        measured = np.array([_mean(values) for values in repeats])
        scores = torch.from_numpy(measured).float().reshape(len(self.seeds), -1)
        self._check(scores, batch)
        known = ~scores.isnan()
        worst = scores.masked_fill(~known, torch.inf).amin(1, keepdim=True)
        ranked = torch.where(known, scores, worst - 1)
        codes = self._codes()
        top, place = ranked.max(1)
        better = top > self.best_rates
        best = codes[torch.arange(len(codes)), place]
        self.best_codes = torch.where(better[:, None], best, self.best_codes)
        self.best_rates = torch.where(better, top, self.best_rates)
        half = math.ceil(codes.shape[1] / 2)
        leading = ranked.argsort(dim=1, descending=True, stable=True)[:, :half]
        self.final_codes = torch.stack(
            [own[rows].mean(0) for own, rows in zip(codes, leading, strict=True)]
        )
        self.trace[:, batch.generation] = top
        self.mean_trace[:, batch.generation] = scores.nanmean(1)
        self.optimizer.tell(ranked)
        lines = ["name,rate,repeats"]
        for name, rate, values in zip(batch.names, measured, repeats, strict=True):
            lines.append(_line([name, rate, len(values)]))
        write_text(batch.folder / "told.csv", "\n".join(lines) + "\n")
        self._save()

    def found(self) -> Found:
        """The best codes so far, and how rates grew."""
        told = slice(0, self.generation)
        return Found(
            codes=self.best_codes.clone(),
            rates=self.best_rates.clone(),
            final_codes=self.final_codes.clone(),
            trace=self.trace[:, told].clone(),
            mean_trace=self.mean_trace[:, told].clone(),
        )

    def _codes(self) -> Tensor:
        """Candidates [run, candidate, code] of this generation, the same however often asked."""
        codes: Tensor = self.optimizer.ask()
        return codes

    def _check(self, scores: Tensor, batch: Batch) -> None:
        if torch.isinf(scores).any():
            where = [n for n, s in zip(batch.names, scores.flatten(), strict=True) if s.isinf()]
            raise SessionError(f"expected finite rates, or NaN; got infinity for {where[0]}")
        lost = scores.isnan().float().mean(1)
        for label, share in zip(self.labels, lost.tolist(), strict=True):
            if share > 0.5:
                what = "all" if share == 1 else f"{share:.0%}"
                raise SessionError(
                    f"expected rates of at least half of the images of {label} in generation "
                    f"{batch.generation}, because the better half decides where the search goes; "
                    f"{what} are NaN; show them again and tell all rates once more"
                )

    def _save(self) -> None:
        state: dict[str, Any] = {
            "best_codes": self.best_codes,
            "best_rates": self.best_rates,
            "final_codes": self.final_codes,
            "trace": self.trace,
            "mean_trace": self.mean_trace,
        }
        for name, value in self.optimizer.state_dict().items():
            state[f"optimizer.{name}"] = value
        Store(self.folder).write_partial(STATE, state, self.identity)

    def _load(self) -> None:
        try:
            state = Store(self.folder).read_partial(STATE, self.identity)
        except ForeignShard as error:
            raise SessionError(
                f"expected {self.folder} to be empty or to hold this very session; it holds "
                f"another ({error}); give the arguments it was begun with, or another folder"
            ) from error
        except DamagedShard as error:
            raise SessionError(
                f"expected a whole state in {self.folder}; {error}; restore it from a backup, or "
                "begin anew in another folder and tell the rates of each told.csv again"
            ) from error
        if state is None:
            return
        try:
            self._take(state)
        except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            raise SessionError(
                f"expected a whole state in {self.folder}; got one that does not fit: {error}; "
                "restore it from a backup, or begin anew in another folder and tell the rates of "
                "each told.csv again"
            ) from error

    def _take(self, state: Mapping[str, Any]) -> None:
        """Put a stored state in place; errors of any kind where it does not fit."""
        prefix = "optimizer."
        own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        self.optimizer.load_state_dict(own)
        if not 0 <= self.generation <= self.search.generations:
            raise ValueError(f"generation {self.generation} of {self.search.generations}")
        for name in ("best_codes", "best_rates", "final_codes", "trace", "mean_trace"):
            if state[name].shape != getattr(self, name).shape:
                raise ValueError(f"{name} of shape {tuple(state[name].shape)}")
            setattr(self, name, state[name].clone())


def read_images(batch: Batch) -> Tensor:
    """The images of a batch as they lie on disk: uint8 [image, 3, height, width]."""
    return torch.stack([decode(file.read_bytes(), str(file)) for file in batch.files])


def _line(values: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


def _write_png(path: Path, image: Tensor) -> None:
    """Write an image [3, h, w] in 0..1 whole or not at all."""
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0)
    with replacing(path) as temporary:
        Image.fromarray(pixels.contiguous().numpy()).save(temporary, format="PNG")


def _repeats(rates: Rates, batch: Batch) -> list[np.ndarray]:
    """Rates of each image of the batch, one array of repeats each."""
    if isinstance(rates, str | Path):
        rates = _from_csv(Path(rates))
    if isinstance(rates, Mapping):
        unknown = [name for name in rates if name not in batch.names]
        if unknown:
            raise SessionError(
                f"{registry.unknown('name of the manifest', str(unknown[0]), batch.names)} "
                f"(generation {batch.generation}; {len(unknown)} such names); are these the rates "
                "of another generation?"
            )
        absent = [name for name in batch.names if name not in rates]
        if absent:
            raise SessionError(
                f"expected rates of all {len(batch.names)} images of generation "
                f"{batch.generation}; {len(absent)} are missing, such as {absent[0]}; give NaN "
                "for an image that was not shown"
            )
        each = [np.atleast_1d(_numbers(rates[name], f"rates of {name}")) for name in batch.names]
    else:
        values = torch.as_tensor(rates).cpu().numpy() if isinstance(rates, Tensor) else rates
        array = _numbers(values, "rates [image] or [image, repeat]")
        if array.ndim not in (1, 2) or len(array) != len(batch.names):
            raise SessionError(
                f"expected rates [image] or [image, repeat] of {len(batch.names)} images, in the "
                f"order of the manifest of generation {batch.generation}; got {array.shape}"
            )
        each = list(array.reshape(len(array), -1))
    return [values[~np.isnan(values)] for values in each]


def _numbers(values: Any, what: str) -> np.ndarray:
    """Values as floats; NaN is a number here."""
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise SessionError(
            f"expected {what} as one block of numbers; got: {error}; fill up with NaN"
        ) from error
    if array.dtype.kind not in "fiu":
        raise SessionError(
            f"expected {what} as real numbers; got {array.dtype}: {str(values)[:60]}; give NaN "
            "where a rate was lost"
        )
    return array.astype(float)


def _distinct(labels: Sequence[str]) -> None:
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise SessionError(
            f"expected a label of its own for each run; got {', '.join(twice)} more than once; "
            "name runs of one channel by their seeds"
        )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


def _from_csv(path: Path) -> dict[str, list[float]]:
    if not path.exists():
        raise RatesMissing(
            f"expected rates in {path}, with columns name and rate; there is no such file"
        )
    rates: dict[str, list[float]] = {}
    table = csv.DictReader(io.StringIO(read_text(path, "rates")), strict=True)
    try:
        columns = list(table.fieldnames or ())
        if columns.count("name") != 1 or columns.count("rate") != 1:
            raise SessionError(
                f"expected the columns name and rate, each once, separated by commas, in {path}; "
                f"got {columns}"
            )
        for row in table:
            if None in row or None in row.values():
                raise SessionError(
                    f"expected {len(columns)} cells in line {table.line_num} of {path}, as in its "
                    "header; got another number; write rates with a point: 3.5"
                )
            text = (row["rate"] or "").strip()
            try:
                rate = float(text) if text else math.nan
            except ValueError as error:
                raise SessionError(
                    f"expected a number, NaN or nothing as rate in line {table.line_num} of "
                    f"{path}; got {text!r}"
                ) from error
            rates.setdefault((row["name"] or "").strip(), []).append(rate)
    except csv.Error as error:
        raise SessionError(
            f"expected CSV in {path}; got: {error} in line {table.line_num}; is a quote left open?"
        ) from error
    return rates
