"""``signseg audit``: make a sample of everything that ships again, and compare."""

import argparse
import json
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from signseg_utils.experiments import agreement
from signseg_utils.experiments.audits import audit_everything


def main(words: Sequence[str]) -> int:
    """Print the comparisons; returns 1 if one is beyond the bounds that its variable declares."""
    parser = argparse.ArgumentParser(
        prog="signseg audit",
        description="Draw again what is drawn from a seed, compute a sample of all other stored "
        "results again, and say how exactly they agree. What takes recordings or images that are "
        "not on this machine is left out.",
    )
    parser.add_argument("--zoo", default="", help="what ships of one zoo (all)")
    parser.add_argument("--sample", type=int, default=8, help="cells of each kind of result")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--studies", type=int, default=1, help="fitted again a kind; 0: all (1)")
    parser.add_argument("--json", action="store_true", help="for programs")
    given = parser.parse_args(words)
    found = audit_everything(given.zoo, given.sample, given.seed, given.studies)
    lines = agreement.lines(found)
    if given.json:
        told = zip(lines, map(str, found), strict=True)
        print(json.dumps([{**line, "said": said} for line, said in told]))
    else:
        print(pd.DataFrame(lines).to_string(index=False, float_format="%.6g"))
        count = Counter(one.outcome for one in found)
        print("; ".join(f"{count[outcome]} {outcome}" for outcome in agreement.OUTCOMES))
    return int(agreement.worst(found) == agreement.BEYOND)
