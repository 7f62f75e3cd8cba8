"""A search of one image for each row, stopped after any step and continued: what all kinds share.

Counted are images and seconds, over stops; a checkpoint is tensors only, and says in words what it
belongs to, so that no search goes on from another's.
"""

import hashlib
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from signseg_utils.basics.progress import Work
from signseg_utils.search.scoring import Scorer, rescore
from signseg_utils.units.readout import Readout

State = dict[str, Tensor]


class Resumable(ABC):
    """A search of all rows of a readout that can be stopped after any step.

    Parameters
    ----------
    readout, backbone, generator, seeds, device, dtype, chunk
        See `signseg_utils.search.evolution.evolve`.
    """

    MADE_BY: ClassVar[str]  # the function that users call
    STEP: ClassVar[str]  # what one step is called

    def __init__(
        self,
        readout: Readout,
        backbone: nn.Module,
        generator: nn.Module,
        seeds: Sequence[int],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        chunk: int | None = None,
    ) -> None:
        if len(seeds) != len(readout):
            raise ValueError(
                f"expected one seed for each of the {len(readout)} rows, because each row is one "
                f"run; got {len(seeds)}; repeat the rows for several seeds"
            )
        if dtype not in (torch.float32, torch.bfloat16):
            raise TypeError(
                "expected dtype float32 or bfloat16, because others lack range or speed; "
                f"got {dtype}"
            )
        self.readout, self.backbone, self.generator = readout, backbone, generator
        self.seeds = tuple(int(seed) for seed in seeds)
        self.bank = readout.to(device, torch.float32)
        self.scorer = Scorer(backbone, generator, device=device, dtype=dtype, chunk=chunk)
        distinct = list(dict.fromkeys(self.seeds))
        starts = torch.as_tensor(generator.initial_codes(distinct))  # type: ignore[operator]
        starts = starts[[distinct.index(seed) for seed in self.seeds]]
        self.start = starts.to(self.scorer.device, torch.float32)
        self._before = (0, 0.0, 0.0)  # images, seconds, network seconds of an earlier part
        self._seconds = 0.0

    @property
    @abstractmethod
    def steps_done(self) -> int:
        """Steps finished."""

    @property
    @abstractmethod
    def steps_planned(self) -> int:
        """Steps of the whole search."""

    @property
    @abstractmethod
    def images_planned(self) -> int:
        """Images of the whole search."""

    @abstractmethod
    def step(self) -> None:
        """One step of every row."""

    @abstractmethod
    def result(self) -> Any:
        """What was found."""

    @abstractmethod
    def own_state(self) -> Mapping[str, Tensor]:
        """What the rest depends on, beside what all kinds share."""

    @abstractmethod
    def load_own(self, state: Mapping[str, Any]) -> None:
        """Continue from `own_state`."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """How it searches, in plain values: part of its `identity`."""

    @property
    def images_seen(self) -> int:
        """Images scored so far, those before a resume included."""
        return self._before[0] + self.scorer.images_seen

    @property
    def seconds(self) -> float:
        """Seconds spent so far, those before a resume included."""
        return self._before[1] + self._seconds

    @property
    def network_seconds(self) -> float:
        """Seconds of these in generator and network."""
        return self._before[2] + self.scorer.watch.seconds

    def refuse(self, good: Tensor, what: str, why: str) -> None:
        """Raise an error that names the rows that are not ``good`` [row]."""
        bad = (~good).nonzero().flatten().tolist()
        if bad:
            rows = [f"{row} ({self.readout.labels[row]!r}, seed {self.seeds[row]})" for row in bad]
            more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
            raise ValueError(
                f"expected finite {what}, because {why}; got NaN or infinity in {self.STEP} "
                f"{self.steps_done} for row {', '.join(rows[:5])}{more}; check the weights of "
                "readout, backbone and generator for NaN, and try float32"
            )

    def rounded(self, codes: Tensor) -> dict[str, Any]:
        """Fields of a result: codes as float16 has them, scored again in float32, and the cost."""
        begun = time.perf_counter()
        kept = codes.half().float().cpu()
        activations = rescore(
            self.readout, self.backbone, self.generator, kept, device=self.scorer.device
        )
        self._seconds += time.perf_counter() - begun
        return dict(
            codes=kept,
            activations=activations,
            images_seen=self.images_seen,
            seconds=self.seconds,
            network_seconds=self.network_seconds,
        )

    def state(self) -> State:
        """Everything that the rest of the search depends on, as a flat dictionary of tensors."""
        state = {
            **self.own_state(),
            "loop.images_seen": torch.tensor(self.images_seen),
            "loop.seconds": torch.tensor(self.seconds, dtype=torch.float64),
            "loop.network_seconds": torch.tensor(self.network_seconds, dtype=torch.float64),
            "identity": self._encoded_identity,
        }
        return {name: tensor.cpu().clone().contiguous() for name, tensor in state.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state()`` of the same search.

        Raises
        ------
        ValueError
            If the checkpoint belongs to another search; the message names what differs.
        """
        check(state, self.identity, self.MADE_BY)
        self.load_own(state)
        self._before = (
            int(state["loop.images_seen"]),
            float(state["loop.seconds"]),
            float(state["loop.network_seconds"]),
        )

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree in to be continued."""
        return {
            **self.settings(),
            "seeds": list(self.seeds),
            "labels": list(self.readout.labels),
            "dtype": str(self.scorer.dtype),
            "readout": digest({"weight": self.readout.weight, "bias": self.readout.bias}),
            "backbone": digest(self.backbone.state_dict()),
            "generator": digest(self.generator.state_dict()),
            "initial codes": digest({"codes": self.start}),
        }

    @cached_property
    def _encoded_identity(self) -> Tensor:
        """JSON as a tensor of bytes, so that a checkpoint is tensors only (safetensors)."""
        return torch.tensor(list(json.dumps(self.identity).encode()), dtype=torch.uint8)


S = TypeVar("S", bound=Resumable)


def steps(search: S, resume: Mapping[str, Any] | None = None) -> Iterator[S]:
    """The search after each step; one that had ended is yielded once."""
    if resume is not None:
        search.load(resume)
    return _steps(search)


def _steps(search: S) -> Iterator[S]:
    if search.steps_done >= search.steps_planned:
        yield search
    while search.steps_done < search.steps_planned:
        search.step()
        yield search


def run(
    search: S,
    what: str,
    *,
    progress: bool,
    checkpoint: Callable[[State], object] | None,
    checkpoint_every: int,
    resume: Mapping[str, Any] | None,
) -> S:
    """Take a search to its end, telling what is done and left; see `evolve` for the arguments.

    ``what``: the searches in words, such as "3 searches".
    """
    if checkpoint_every < 1:
        raise ValueError(f"expected checkpoint_every of at least 1; got {checkpoint_every}")
    each = steps(search, resume)
    with Work(
        search.images_planned,
        "images",
        what,
        there=search.images_seen,
        fine=True,
        speaks=progress,
    ) as work:
        search.scorer.after_pass = lambda: work.to(search.images_seen)
        for _ in each:
            due = search.steps_done % checkpoint_every == 0
            if checkpoint is not None and due and search.steps_done < search.steps_planned:
                checkpoint(search.state())
    return search


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names and bytes of tensors."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        total.update(name.encode())
        flat = tensors[name].detach().cpu().contiguous().reshape(-1)
        total.update(flat.view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:16]


def check(state: Mapping[str, Any], mine: Mapping[str, Any], made_by: str) -> None:
    """Refuse a checkpoint of another search.

    Parameters
    ----------
    state
        The checkpoint; its entry ``identity`` is JSON as bytes.
    mine
        Identity of the search that is to go on.
    made_by
        The function that makes such checkpoints, for the message.

    Raises
    ------
    ValueError
        The message names what differs.
    """
    if "identity" not in state:
        raise ValueError(
            f"expected a checkpoint of {made_by}(), which has an entry 'identity'; "
            f"got entries {sorted(state)[:5]}"
        )
    theirs: dict[str, Any] = json.loads(bytes(state["identity"].tolist()).decode())
    differing = sorted(key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key))
    if differing:
        raise ValueError(
            "expected a checkpoint of the same search, because a search continues from it; "
            f"it differs in: {', '.join(differing)}; start anew or restore those arguments"
        )
