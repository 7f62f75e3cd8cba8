"""Gradient ascent on all rows of a bank: the white-box counterpart of `search.evolution`.

Each row climbs the gradient of its own score through backbone and generator, by Adam (Kingma & Ba
2015, arXiv:1412.6980). The generator is a decoder, so that the search goes through its code, or
`generators.pixels`, whose code is the image itself in decorrelated Fourier space; there each step
looks at the image shifted and scaled a little, which keeps patterns out that only one place and
size of pixels shows (Olah, Mordvintsev & Schubert 2017, 10.23915/distill.00007).

Contracts are those of ``evolve``: rows of one seed share start and views; on a CPU a row's result
depends in no bit on the rows beside it; a search that was stopped goes on as if it had not been.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cosine_similarity, grid_sample

from signseg_utils.basics import draws
from signseg_utils.search import resuming
from signseg_utils.search.resuming import Resumable, State
from signseg_utils.search.scoring import CPU_PASS, Certificate
from signseg_utils.units.readout import Readout

CUDA_PASS = 64  # rows a pass on a GPU
STARTS = 2**32  # stream of the starts' draws; those of views are numbers of steps,
VIEWS = 2**20  # and of further views of a step so much more each
FIRST, SECOND, SMALLEST = 0.9, 0.999, 1e-8  # beta_1, beta_2 and epsilon of Adam


@dataclass(frozen=True)
class Ascent:
    """How a code is climbed.

    Attributes
    ----------
    steps
        Steps of each row.
    rate
        Adam's step, in units of the generator's ``initial_sigma``.
    jitter
        Largest shift of a view along either axis, as a share of the image's side.
    zoom
        Largest change of a view's scale, up or down; with both 0 the image itself is looked at.
    starts
        Codes around the start that are scored first, the start itself among them; a row climbs
        from the one that it scores highest. A unit behind rectifiers may answer to none of the
        features that the start has, and where no rectifier is open there is no gradient.
    views
        Looked at in each step, each from a place of its own; the gradient is that of their mean.
    crop
        Side of the smallest part that a view may show, as a share of the image's. Below 1 views
        show parts, all of them within the image, of any size from that on, and ``jitter`` and
        ``zoom`` do not count. A part of an object is then to look like one, near and far, and
        what is drawn is larger and has fewer of the patterns that answer at one place alone.
    """

    steps: int = 64
    rate: float = 0.1
    jitter: float = 0.0625
    zoom: float = 0.1
    starts: int = 1
    views: int = 1
    crop: float = 1.0

    def __post_init__(self) -> None:
        if self.views < 1:
            raise ValueError(f"expected at least one view a step; got {self.views}")
        if not 0 < self.crop <= 1:
            raise ValueError(f"expected crop as a share of the side, 0 to 1; got {self.crop}")
        if self.starts < 1:
            raise ValueError(f"expected at least one start, its own; got {self.starts}")
        if self.steps < 1:
            raise ValueError(f"expected at least one step; got {self.steps}")
        if not 0 < self.rate < float("inf"):
            raise ValueError(f"expected a rate above 0, in units of initial_sigma; got {self.rate}")
        if not (0 <= self.jitter < 1 and 0 <= self.zoom < 1):
            raise ValueError(
                "expected jitter and zoom from 0 to below 1, because they are shares of the image; "
                f"got {self.jitter} and {self.zoom}"
            )


@dataclass
class Ascended:
    """What an ascent found, one entry a row.

    Attributes
    ----------
    codes : Tensor [row, code]
        Codes after the last step, rounded to float16, so that they can be stored exactly.
    activations : Tensor [row]
        Score of the rounded code's whole image, alone, in float32 (see ``scoring.rescore``).
    trace : Tensor [row, step]
        Score of the view that each step began from.
    images_seen : int
    seconds, network_seconds : float
        Wall time, and the part of it in generator and backbone, forward and backward; a resumed
        ascent counts its earlier part too.
    """

    codes: Tensor
    activations: Tensor
    trace: Tensor
    images_seen: int
    seconds: float
    network_seconds: float


def view(images: Tensor, places: Tensor) -> Tensor:
    """Images seen shifted and scaled, beyond their edge mirrored; differentiable.

    Parameters
    ----------
    images
        ``[image, 3, height, width]``.
    places
        ``[image, 3]``: the shift to the right and down in units of the side, and the factor of
        magnification.
    """
    right, down, scale = places.to(images).unbind(1)
    none = torch.zeros_like(scale)
    theta = torch.stack(
        [
            torch.stack([1 / scale, none, -2 * right], 1),
            torch.stack([none, 1 / scale, -2 * down], 1),
        ],
        1,
    )
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    return grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def drawn_place(ascent: Ascent, seed: int, step: int, number: int = 0) -> Tensor:
    """Place ``[3]`` of a view that a step looks at, keyed on all three; see `view`."""
    right, down, zoom = (2 * draws.uniform(3, seed, step + number * VIEWS) - 1).tolist()
    if ascent.crop < 1:
        side = ascent.crop + (1 - ascent.crop) * (1 + zoom) / 2
        return torch.tensor([right * (1 - side) / 2, down * (1 - side) / 2, 1 / side])
    return torch.tensor([ascent.jitter * right, ascent.jitter * down, (1 + ascent.zoom) ** zoom])


class Climb(Resumable):
    """An ascent that can be stopped after any step; see `ascend` for the arguments."""

    MADE_BY, STEP = "ascend", "step"

    def __init__(
        self,
        readout: Readout,
        backbone: nn.Module,
        generator: nn.Module,
        seeds: Sequence[int],
        ascent: Ascent,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        chunk: int | None = None,
    ) -> None:
        super().__init__(
            readout, backbone, generator, seeds, device=device, dtype=dtype, chunk=chunk
        )
        self.ascent = ascent
        self.chunk = chunk or (CUDA_PASS if self.scorer.device.type == "cuda" else 1)
        self.rate = ascent.rate * float(generator.initial_sigma)  # type: ignore[arg-type]
        self.codes = self.start.clone()
        self.first = torch.zeros_like(self.codes)  # running means of the gradient and its square
        self.second = torch.zeros_like(self.codes)
        self.trace = torch.full((len(readout), ascent.steps), torch.nan)
        self._steps_done = 0

    @property
    def steps_done(self) -> int:
        return self._steps_done

    @property
    def steps_planned(self) -> int:
        return self.ascent.steps

    @property
    def images_planned(self) -> int:
        tried = len(set(self.seeds)) * self.ascent.starts if self.ascent.starts > 1 else 0
        return len(self.readout) * self.ascent.steps * self.ascent.views + tried

    @torch.inference_mode()
    def _best_starts(self) -> Tensor:
        """The code [row, code] that each row scores highest, of those that its seed draws."""
        best = self.start.clone()
        sigma = float(self.generator.initial_sigma)  # type: ignore[arg-type]
        for seed in dict.fromkeys(self.seeds):
            rows = [row for row, own in enumerate(self.seeds) if own == seed]
            around = self.start[rows[0]].repeat(self.ascent.starts, 1)
            shape = (self.ascent.starts - 1, around.shape[1])
            around[1:] += sigma * draws.normal(shape, seed, STARTS).to(around)
            features = torch.cat([self.scorer.features(part) for part in around.split(CPU_PASS)])
            for row in rows:
                best[row] = around[self.bank.rows([row]).responses(features)[:, 0].argmax()]
        return best

    def step(self) -> None:
        begun = time.perf_counter()
        if self.steps_done == 0 and self.ascent.starts > 1:
            self.codes = self._best_starts()
        gradients, scores = self.gradients()
        good = torch.isfinite(scores) & torch.isfinite(gradients).all(1)
        self.refuse(good, "activations and gradients", "codes follow them")
        self.trace[:, self.steps_done] = scores.cpu()
        self._steps_done += 1
        self._move(gradients)
        self._seconds += time.perf_counter() - begun

    def gradients(self) -> tuple[Tensor, Tensor]:
        """Gradient [row, code] of each row's score at its code, mean of the coming step's views.

        Also the scores [row].
        """
        seen = [self._seen(number) for number in range(self.ascent.views)]
        gradients, scores = (torch.stack(own).mean(0) for own in zip(*seen, strict=True))
        return gradients, scores

    def _seen(self, number: int) -> tuple[Tensor, Tensor]:
        """The same in one of the coming step's views."""
        places, ascent = None, self.ascent
        if ascent.jitter or ascent.zoom or ascent.crop < 1:
            drawn = {s: drawn_place(ascent, s, self.steps_done, number) for s in set(self.seeds)}
            places = torch.stack([drawn[seed] for seed in self.seeds]).to(self.scorer.device)
        parts = []
        for first in range(0, len(self.readout), self.chunk):
            part = slice(first, first + self.chunk)
            parts.append(self._pass(part, None if places is None else places[part]))
        return torch.cat([g for g, _ in parts]), torch.cat([s for _, s in parts])

    @torch.enable_grad()
    def _pass(self, part: slice, places: Tensor | None) -> tuple[Tensor, Tensor]:
        codes = self.codes[part].clone().requires_grad_()
        bank = Readout(self.bank.weight[part], self.bank.bias[part], self.bank.labels[part])
        with self.scorer.watch:
            images = self.scorer.generator(codes.to(self.scorer.dtype))
            if places is not None:
                images = view(images, places)
            features = self.scorer.backbone(images.contiguous(memory_format=torch.channels_last))
            scores = bank.scores(features.float()[:, None])[:, 0]
            (gradient,) = torch.autograd.grad(scores.sum(), codes)
        self.scorer.images_seen += len(codes)
        self.scorer.after_pass()
        return gradient, scores.detach()

    def _move(self, gradients: Tensor) -> None:
        """Adam, algorithm 1 of Kingma & Ba 2015, uphill."""
        self.first = FIRST * self.first + (1 - FIRST) * gradients
        self.second = SECOND * self.second + (1 - SECOND) * gradients.square()
        mean = self.first / (1 - FIRST**self.steps_done)
        spread = (self.second / (1 - SECOND**self.steps_done)).sqrt()
        self.codes = self.codes + self.rate * mean / (spread + SMALLEST)

    def result(self) -> Ascended:
        """Round the codes to float16, render them again and score them in float32."""
        return Ascended(**self.rounded(self.codes), trace=self.trace)

    def own_state(self) -> State:
        return {
            "codes": self.codes,
            "first": self.first,
            "second": self.second,
            "trace": self.trace,
            "steps_done": torch.tensor(self.steps_done),
        }

    def load_own(self, state: Mapping[str, Any]) -> None:
        device = self.scorer.device
        self.codes = state["codes"].to(device).clone()
        self.first = state["first"].to(device).clone()
        self.second = state["second"].to(device).clone()
        self.trace = state["trace"].clone()
        self._steps_done = int(state["steps_done"])

    def settings(self) -> dict[str, Any]:
        return {**asdict(self.ascent), "step": self.rate}


def iterate(
    readout: Readout,
    backbone: nn.Module,
    generator: nn.Module,
    seeds: Sequence[int],
    ascent: Ascent,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    chunk: int | None = None,
    resume: Mapping[str, Any] | None = None,
) -> Iterator[Climb]:
    """The ascent after each step: look at it, take ``state()``, stop, or end in ``result()``.

    The arguments are those of `ascend`. A resumed ascent that had ended yields once, so that the
    last one seen always holds the result.
    """
    climb = Climb(
        readout, backbone, generator, seeds, ascent, device=device, dtype=dtype, chunk=chunk
    )
    return resuming.steps(climb, resume)


def ascend(
    readout: Readout,
    backbone: nn.Module,
    generator: nn.Module,
    seeds: Sequence[int],
    ascent: Ascent,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    chunk: int | None = None,
    progress: bool = True,
    checkpoint: Callable[[State], object] | None = None,
    checkpoint_every: int = 10,
    resume: Mapping[str, Any] | None = None,
) -> Ascended:
    """Climb to one image for each row of a readout.

    Parameters
    ----------
    readout : Readout
        Rows to maximise: units, ablated units, neuron models.
    backbone, generator : Module
        Shared by all rows: images [n, 3, h, w] in 0..1 to features [n, feature]; codes to images.
        Both must be differentiable; neither is changed: the ascent works on copies. Without a
        generator, give ``generators.pixels``.
    seeds : sequence of int [row]
        Keys of the start and of the views; equal seeds share both.
    ascent : Ascent
    device, dtype
        Where, and in which precision generator and backbone run; see `certify`. Final activations
        are float32 always.
    chunk : int, optional
        Rows in one pass. The default on a CPU is one, which makes a row's result independent, in
        every bit, of the rows beside it; more are hardly faster there.
    progress : bool
        Whether an ascent that takes long says what is done and left
            (`signseg_utils.basics.progress`).
    checkpoint : callable, optional
        Called with ``Climb.state()`` (a flat dictionary of CPU tensors) every ``checkpoint_every``
        steps, but not after the last.
    resume : mapping, optional
        Such a state: the ascent continues from it and ends as if it had never stopped.

    Raises
    ------
    ValueError
        NaN or infinite activations or gradients (row label and step are named), or a checkpoint
        of another ascent.
    """
    climb = Climb(
        readout, backbone, generator, seeds, ascent, device=device, dtype=dtype, chunk=chunk
    )
    resuming.run(
        climb,
        f"{len(readout)} ascents",
        progress=progress,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        resume=resume,
    )
    return climb.result()


def certify(
    readout: Readout,
    backbone: nn.Module,
    generator: nn.Module,
    *,
    dtype: torch.dtype = torch.bfloat16,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> Certificate:
    """Compare gradients at the start in ``dtype`` with those in float32.

    An ascent follows the direction of its gradient, so that their cosine is what a precision must
    keep: it stands where the certificate of a search has its rank agreement. ``error`` is the root
    mean square error of the scores over their standard deviation over rows.
    """
    gradients, scores = [], []
    for precision in (torch.float32, dtype):
        climb = Climb(
            readout,
            backbone,
            generator,
            [seed] * len(readout),
            Ascent(),
            device=device,
            dtype=precision,
        )
        gradient, score = climb.gradients()
        gradients.append(gradient.double())
        scores.append(score.double())
    agreement = cosine_similarity(gradients[0], gradients[1], dim=1)
    exact, fast = scores
    spread = exact.std() if len(readout) > 1 else exact.abs().mean()
    return Certificate(
        dtype=str(dtype).removeprefix("torch."),
        rank_agreement=float(agreement.median()),
        worst=float(agreement.min()),
        error=float((exact - fast).square().mean().sqrt() / spread.clamp_min(1e-12)),
        rows=len(readout),
        images=len(readout),
    )
