"""A bank of readout rows: the linear units whose inputs are ablated and visualised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from signseg_utils.basics.refusals import UnknownName
from signseg_utils.basics.registry import unknown


@dataclass(frozen=True, eq=False)
class Readout:
    """Linear units ``score = weight . features + bias``, before any softmax.

    Attributes
    ----------
    weight
        ``[row, feature]``, floating point.
    bias
        ``[row]``.
    labels
        One name for each row. Labels may repeat (the same unit under several ablations).

    >>> import torch
    >>> unit = Readout(torch.tensor([[2.0, -1.0, 0.5]]), torch.zeros(1), ("cat",))
    >>> unit.responses(torch.tensor([[1.0, 1.0, 2.0]]))
    tensor([[2.]])
    """

    weight: Tensor
    bias: Tensor
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or not self.weight.is_floating_point():
            raise ValueError(
                "expected a floating-point weight of shape [row, feature]; "
                f"got {self.weight.dtype} of shape {tuple(self.weight.shape)}"
            )
        rows = self.weight.shape[0]
        if self.bias.shape != (rows,):
            raise ValueError(
                f"expected a bias of shape [{rows}], because the weight has {rows} rows; "
                f"got shape {tuple(self.bias.shape)}; use zeros for units without a bias"
            )
        object.__setattr__(self, "labels", tuple(str(label) for label in self.labels))
        if len(self.labels) != rows:
            raise ValueError(f"expected {rows} labels, one for each row; got {len(self.labels)}")

    def __len__(self) -> int:
        return self.weight.shape[0]

    @classmethod
    def from_linear(cls, layer: nn.Linear, labels: Sequence[str]) -> Readout:
        """The rows of a linear layer, detached; a layer without bias gets zeros."""
        weight = layer.weight.detach().clone()
        bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach().clone()
        return cls(weight, bias, tuple(labels))

    def index(self, key: int | str) -> int:
        """Row number of a label, or of a row number (negative ones count from the end).

        Raises
        ------
        KeyError
            If no row has this label; the message names the nearest ones.
        ValueError
            If several rows have it.
        IndexError
            If the row number is out of range.
        """
        if isinstance(key, str):
            found = [row for row, label in enumerate(self.labels) if label == key]
            if not found:
                raise UnknownName(unknown("label of a readout row", key, self.labels))
            if len(found) > 1:
                raise ValueError(
                    f"expected a label that names one row; got {key!r}, which names rows {found}; "
                    "choose by row number"
                )
            return found[0]
        if not -len(self) <= key < len(self):
            raise IndexError(f"expected a row below {len(self)}; got {key}")
        return int(key) % len(self)

    def rows(self, keys: Sequence[int | str]) -> Readout:
        """The rows with these labels or numbers, in this order. Errors as in `index`."""
        chosen = [self.index(key) for key in keys]
        labels = tuple(self.labels[row] for row in chosen)
        return Readout(self.weight[chosen], self.bias[chosen], labels)

    def scores(self, features: Tensor) -> Tensor:
        """Pre-softmax scores.

        Parameters
        ----------
        features
            ``[row, image, feature]``: each row scores its own images, result ``[row, image]``;
            or ``[image, feature]``: every row scores every image, result ``[image, row]``.
        """
        if features.ndim == 2:
            return self.responses(features)
        self._check(features)
        if features.ndim != 3 or features.shape[0] != len(self):
            raise ValueError(
                f"expected features of shape [{len(self)}, image, {self.weight.shape[1]}], because "
                f"each of the {len(self)} rows scores its own images; "
                f"got {tuple(features.shape)}; use responses() to score all with all"
            )
        # Product and sum, not a batched matmul: a row's scores do not depend on the other rows.
        products = features.to(self.weight.dtype) * self.weight[:, None, :]
        return products.sum(-1) + self.bias[:, None]

    def responses(self, features: Tensor) -> Tensor:
        """Scores of every row for every image: ``[image, feature] -> [image, row]``."""
        self._check(features)
        return nn.functional.linear(features.to(self.weight.dtype), self.weight, self.bias)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Readout:
        """The same rows on another device or in another precision."""
        return Readout(
            self.weight.to(device=device, dtype=dtype),
            self.bias.to(device=device, dtype=dtype),
            self.labels,
        )

    def _check(self, features: Tensor) -> None:
        if features.shape[-1] != self.weight.shape[1]:
            raise ValueError(
                f"expected {self.weight.shape[1]} features, because the readout has as many; "
                f"got {features.shape[-1]}; is this the backbone that the readout belongs to?"
            )


def concatenate(banks: Sequence[Readout]) -> Readout:
    """One bank with the rows of several, in order; labels may repeat.

    >>> import torch
    >>> unit = Readout(torch.tensor([[2.0, -1.0]]), torch.zeros(1), ("cat",))
    >>> concatenate([unit, unit]).labels
    ('cat', 'cat')
    """
    if not banks:
        raise ValueError("expected at least one readout to concatenate; got none")
    widths = sorted({bank.weight.shape[1] for bank in banks})
    if len(widths) > 1:
        raise ValueError(
            "expected banks over the same features, because one backbone feeds them all; "
            f"got widths {widths}"
        )
    return Readout(
        torch.cat([bank.weight for bank in banks]),
        torch.cat([bank.bias for bank in banks]),
        tuple(label for bank in banks for label in bank.labels),
    )
