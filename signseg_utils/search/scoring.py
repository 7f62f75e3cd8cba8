"""Render codes, look at the images, score the features: the networks' part of the loop."""

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from signseg_utils.basics import draws
from signseg_utils.basics.refusals import Refusal
from signseg_utils.units.readout import Readout

CPU_PASS = 48  # images a pass at most; two cores are saturated from about 16 on
CUDA_SHARE = 0.5  # of the free memory that a pass may take


class Stopwatch:
    """Seconds spent inside ``with`` blocks; on a GPU by events, so that nothing waits."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        self._seconds = 0.0
        self._begun = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def __enter__(self) -> None:
        if self.cuda:
            pair = (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
            pair[0].record()
            self._events.append(pair)
        else:
            self._begun = time.perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.cuda:
            self._events[-1][1].record()
        else:
            self._seconds += time.perf_counter() - self._begun

    @property
    def seconds(self) -> float:
        """Sum so far; on a GPU this waits for the last event."""
        for begin, end in self._events:
            end.synchronize()
            self._seconds += begin.elapsed_time(end) / 1000
        self._events.clear()
        return self._seconds


class NoDevice(Refusal, RuntimeError):
    """A device that this machine does not have."""


def available(device: torch.device | str) -> torch.device:
    """The device, if it is there.

    Raises
    ------
    NoDevice
        If it is a GPU and PyTorch finds none.
    """
    try:
        asked = torch.device(device)
    except RuntimeError as error:
        raise NoDevice(f"expected a device such as cpu or cuda:0; got {device!r}") from error
    if asked.type == "cuda" and not torch.cuda.is_available():
        raise NoDevice(
            f"expected a GPU, because the device is {str(device)!r}; PyTorch finds none on this "
            "machine; ask for device cpu, or look at `nvidia-smi` and the CUDA build of PyTorch"
        )
    return asked


def ready(module: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """A copy for inference on a device: eval mode, channels last; the original is not touched."""
    copied = copy.deepcopy(module).eval().requires_grad_(False)
    copied.to(device=device, dtype=dtype)
    for layer in copied.modules():  # not other 4-d tensors, such as the basis of a generator
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.to(memory_format=torch.channels_last)
    return copied


class Scorer:
    """Generator and backbone on one device in one precision.

    Parameters
    ----------
    backbone, generator
        Modules: images [n, 3, h, w] in 0..1 to features [n, feature]; codes [n, code] to images.
    device, dtype
        Where and in which precision both run; scores are always float32.
    chunk
        Images in one pass, rounded down to whole runs. By default, on a CPU each run makes passes
        of its own (of at most 48 images): speed is the same, as a pass of some twenty images
        keeps the cores busy, and a run's scores do not depend in any bit on the other runs. On a
        GPU the default is found from the free memory, and scores depend on the composition of a
        pass by rounding (relative 1e-6 in float32).
    """

    def __init__(
        self,
        backbone: nn.Module,
        generator: nn.Module,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        chunk: int | None = None,
    ) -> None:
        if chunk is not None and chunk < 1:
            raise ValueError(f"expected a chunk of at least one image; got {chunk}")
        self.device = available(device)
        self.dtype = dtype
        self.generator = ready(generator, self.device, dtype)
        self.backbone = ready(backbone, self.device, dtype)
        self.watch = Stopwatch(self.device)
        self.images_seen = 0
        self.after_pass: Callable[[], object] = lambda: None
        self._chunk = chunk

    @torch.inference_mode()
    def images(self, codes: Tensor) -> Tensor:
        """Images [n, 3, h, w] of codes [n, code]."""
        codes = codes.to(device=self.device, dtype=self.dtype, copy=True)
        images: Tensor = self.generator(codes)
        return images.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def features(self, codes: Tensor) -> Tensor:
        """Features [n, feature] in float32 of the images of codes [n, code], in one pass."""
        with self.watch:
            features: Tensor = self.backbone(self.images(codes))
        self.images_seen += len(codes)
        self.after_pass()
        return features.float()

    @torch.inference_mode()
    def scores(self, readout: Readout, codes: Tensor) -> Tensor:
        """Scores [row, candidate] of codes [row, candidate, code]: each row scores its own."""
        rows, candidates, _ = codes.shape
        scores = torch.empty((rows, candidates), device=self.device)
        for run, part in self._passes(codes):
            block = codes[run, part]
            features = self.features(block.reshape(-1, codes.shape[-1]))
            bank = Readout(readout.weight[run].clone(), readout.bias[run], readout.labels[run])
            scores[run, part] = bank.scores(features.reshape(*block.shape[:2], -1))
        return scores

    def _passes(self, codes: Tensor) -> Iterator[tuple[slice, slice]]:
        """Cut [row, candidate] into passes: whole runs, or even parts of one run."""
        rows, candidates, _ = codes.shape
        if self._chunk is None and self.device.type == "cuda":
            self._chunk = self._affordable(codes.reshape(-1, codes.shape[-1])[:8])
        limit = CPU_PASS if self._chunk is None else self._chunk
        together = 1 if self._chunk is None else max(1, self._chunk // candidates)
        part = math.ceil(candidates / math.ceil(candidates / limit))
        for row in range(0, rows, together):
            for first in range(0, candidates, part):
                yield slice(row, row + together), slice(first, first + part)

    def _affordable(self, codes: Tensor) -> int:
        """Images a pass that take half of the free GPU memory, measured on a few."""
        torch.cuda.synchronize(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        self.backbone(self.images(codes))
        each = (torch.cuda.max_memory_allocated(self.device) - before) / len(codes)
        free, _ = torch.cuda.mem_get_info(self.device)
        return max(16, min(4096, int(CUDA_SHARE * free / max(each, 1.0))))


def rescore(
    readout: Readout,
    backbone: nn.Module,
    generator: nn.Module,
    codes: Tensor,
    *,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Scores [row] of one stored code for each row, [row, code], in float32.

    Each image is rendered and scored alone, so a score depends on no other row: on one machine
    it is reproduced to the last bit. Between machines (other instruction sets, a GPU, another
    number of threads) kernels sum in another order: expect agreement to about 1e-4 of the spread
    of scores, not equality.
    """
    scorer = Scorer(backbone, generator, device=device, chunk=1)
    bank = readout.to(device, torch.float32)
    return scorer.scores(bank, codes.float()[:, None])[:, 0].cpu()


@dataclass(frozen=True)
class Certificate:
    """How well a faster precision keeps the order of candidates.

    Attributes
    ----------
    dtype : str
    rank_agreement : float
        Spearman correlation of scores with those in float32, median over rows.
    worst : float
        The smallest over rows.
    error : float
        Root mean square error over the standard deviation of the scores, median over rows.
    rows, images : int
        Rows of the bank, and images that each of them scored.
    """

    dtype: str
    rank_agreement: float
    worst: float
    error: float
    rows: int
    images: int


def certify(
    readout: Readout,
    backbone: nn.Module,
    generator: nn.Module,
    codes: Tensor | None = None,
    *,
    dtype: torch.dtype = torch.bfloat16,
    device: torch.device | str = "cpu",
    images: int = 128,
    seed: int = 0,
) -> Certificate:
    """Compare scores in ``dtype`` with scores in float32 on the same codes.

    An evolution strategy sees only the order of scores, so Spearman's correlation is what a
    precision must keep. Without ``codes`` [n, code], the sample is what generation 1 would see:
    starting codes plus ``initial_sigma`` times noise. Certify on evolved codes too where it
    matters: late populations lie closer together.
    """
    if codes is None:
        start = generator.initial_codes(range(seed, seed + images))  # type: ignore[operator]
        noise = draws.Twister(seed).randn(*start.shape).to(start)
        codes = start + float(generator.initial_sigma) * noise  # type: ignore[arg-type]
    responses = []
    for precision in (torch.float32, dtype):
        scorer = Scorer(backbone, generator, device=device, dtype=precision)
        features = torch.cat([scorer.features(part) for part in codes.split(CPU_PASS)])
        responses.append(readout.to(device, torch.float32).responses(features).cpu().numpy())
    exact, fast = responses
    ranks = np.array([_spearman(a, b) for a, b in zip(exact.T, fast.T, strict=True)])
    errors = np.sqrt(((exact - fast) ** 2).mean(0)) / exact.std(0).clip(1e-12)
    return Certificate(
        dtype=str(dtype).removeprefix("torch."),
        rank_agreement=float(np.median(ranks)),
        worst=float(ranks.min()),
        error=float(np.median(errors)),
        rows=len(readout),
        images=len(codes),
    )


def _spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Rank correlation; scores that are all equal in either precision have no order: 0."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(stats.spearmanr(a, b).statistic)


def fast_bfloat16(device: torch.device | str = "cpu") -> bool:
    """Whether the hardware multiplies bfloat16 natively (AVX512-BF16 or AMX; Ampere or later).

    Without it bfloat16 is emulated and slower than float32, which is why float32 is the default.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in checks)
