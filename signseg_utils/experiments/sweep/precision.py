"""Which shards may be searched in bfloat16: where it is fast, and keeps the order of scores."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from signseg_utils.experiments.sweep.shards import Shard
from signseg_utils.search.scoring import certify, fast_bfloat16
from signseg_utils.zoos import Zoo

AGREEMENT = 0.99  # least rank agreement of scores with float32, median over units


def certified(
    plan: Sequence[Shard], zoo: Zoo, device: str = "cpu", images: int = 128
) -> tuple[list[Shard], list[str]]:
    """The same shards, each with the precision that its network and generator allow.

    Parameters
    ----------
    plan
        Shards of one zoo.
    images
        Sample that each unit scores in both precisions.

    Returns
    -------
    shards
        With ``dtype`` bfloat16 where the device has fast bfloat16 and scores agree in rank with
        those in float32 (`AGREEMENT`), else float32.
    reasons
        One sentence for each pair of network and generator.
    """
    pairs: dict[tuple[str, str], list[str]] = {}
    for shard in plan:
        pairs.setdefault((shard.network, shard.generator), []).append(shard.unit)
    chosen: dict[tuple[str, str], str] = {}
    reasons = []
    for (network, generator), units in pairs.items():
        dtype, why = "float32", f"no fast bfloat16 on {device}"
        if fast_bfloat16(device):
            seen = zoo.network(network)
            rows = seen.readout.rows(list(dict.fromkeys(units)))
            found = certify(
                rows,
                seen.backbone,
                zoo.generator(generator),
                dtype=torch.bfloat16,
                device=device,
                images=images,
            )
            dtype = "bfloat16" if found.rank_agreement >= AGREEMENT else "float32"
            why = f"rank agreement of bfloat16 {found.rank_agreement:.4f}, needed {AGREEMENT}"
        chosen[network, generator] = dtype
        reasons.append(f"{network} x {generator}: {dtype} ({why})")
    shards = [replace(s, dtype=chosen[s.network, s.generator]) for s in plan]
    return shards, reasons
