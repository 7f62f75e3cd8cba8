"""Whether a checkpoint belongs to a search: what it rests on, hashed, as a tensor beside it."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names and bytes of tensors."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        total.update(name.encode())
        flat = tensors[name].detach().cpu().contiguous().reshape(-1)
        total.update(flat.view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:16]


def encoded(identity: Mapping[str, Any]) -> Tensor:
    """JSON as a tensor of bytes, so that a checkpoint is tensors only (safetensors)."""
    return torch.tensor(list(json.dumps(identity).encode()), dtype=torch.uint8)


def check(state: Mapping[str, Any], mine: Mapping[str, Any], made_by: str) -> None:
    """Refuse a checkpoint of another search.

    Parameters
    ----------
    state
        The checkpoint; its entry ``identity`` is what `encoded` gave.
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
