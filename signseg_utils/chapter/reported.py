"""The numbers that the papers report: ``data/reported/<source>.csv``, one fact a row."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from signseg_utils.basics.refusals import UnknownName
from signseg_utils.basics.registry import unknown
from signseg_utils.files.paths import data_folder

# File name to the source it was taken from. `submission` is the paper whose claims the book tests.
SOURCES = {
    "submission": "Functional segregation of inputs in artificial neural networks for vision "
    "(anonymous submission)",
    "iclr2026": "Feature segregation by signed weights in artificial vision systems and biological "
    "models (ICLR 2026, notes on the final version)",
    "compact_v4": "Compact deep neural network models of visual cortex "
    "(Cowley et al. 2023, doi:10.1101/2023.11.22.568315)",
    "negative_selectivity": "Negative selectivity of hidden units of Inception-v1 (notes)",
}
COLUMNS = (
    "id", "quantity", "condition", "value", "spread", "spread_kind", "n", "place", "source",
)  # fmt: skip


def reported(id: str | None = None, source: str | None = None) -> pd.DataFrame:
    """What the sources report, all of it or for one claim or source.

    Returns
    -------
    pandas.DataFrame
        ``id`` of the claim, ``quantity``, ``condition``, ``value`` as text (a number or a
        direction), ``number`` (NaN for a direction), ``spread`` and ``spread_kind``, ``n`` where
        given, ``place`` (page, figure, table) and ``source``.

    Raises
    ------
    KeyError
        If the claim or source is unknown; the message names the nearest ones.
    FileNotFoundError
        If the folder of reported numbers is not there.
    """
    if source is not None and source not in SOURCES:
        raise UnknownName(unknown("source of reported numbers", source, tuple(SOURCES)))
    table = pd.concat([_read(name) for name in SOURCES], ignore_index=True)
    table["number"] = pd.to_numeric(table["value"], errors="coerce")
    for column in ("spread", "n"):
        table[column] = pd.to_numeric(table[column].replace("", None))
    if source is not None:
        table = table[table["source"] == source]
    if id is not None:
        known = tuple(dict.fromkeys(table["id"]))
        if id not in known:
            raise UnknownName(unknown("claim with reported numbers", id, known))
        table = table[table["id"] == id]
    return table.reset_index(drop=True)


def words(id: str, condition: str | None = None, source: str | None = None) -> str:
    """What is reported for a claim, in words fit for the ledger: ``AlexNet: 1.03 ± 0.08; ...``.

    ``condition`` chooses rows whose condition holds this text.
    """
    table = reported(id, source)
    if condition is not None:
        table = table[table["condition"].str.contains(condition, regex=False)]
        if table.empty:
            known = tuple(reported(id, source)["condition"])
            raise UnknownName(unknown(f"condition of {id}", condition, known))
    return "; ".join(_words(row) for row in table.to_dict("records"))


def _words(row: dict) -> str:
    text = str(row["value"])
    if row["spread_kind"] == "p value":
        text += f" (p = {row['spread']:g})"
    elif pd.notna(row["spread"]):
        text += f" ± {row['spread']:g}"
    return f"{row['condition']}: {text}" if row["condition"] else text


def _read(source: str) -> pd.DataFrame:
    path = data_folder() / "reported" / f"{source}.csv"
    if not path.is_file():
        raise FileNotFoundError(
            f"expected the reported numbers of {source!r} at {path}; got no such file; "
            "they are part of the repository: check the checkout or SIGNSEG_DATA"
        )
    return _checked(pd.read_csv(path, dtype=str, keep_default_na=False), path)


def _checked(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    if tuple(table.columns) != COLUMNS:
        raise ValueError(f"expected the columns {COLUMNS} in {path}; got {tuple(table.columns)}")
    return table
