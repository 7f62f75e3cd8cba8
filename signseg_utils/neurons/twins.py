"""Neurons that answer to images nobody recorded: stand-ins for those of a recording."""

from __future__ import annotations

from collections.abc import Sequence

from signseg_utils.neurons import compact, in_silico
from signseg_utils.neurons._base import Neurons


def twins(recording: str, session: str, neurons: Sequence[str]) -> Neurons | None:
    """Stand-ins for the neurons of a recording, in this order and under these names.

    Parameters
    ----------
    recording
        ``v4``: the published compact models of the same neurons, in their own units; ``simulated``:
        the neurons themselves, in spikes; a file: none, because nobody knows how these neurons
        would answer.
    session
        Of the recording.
    neurons
        Names in the recording, such as ``190923/7``.

    Returns
    -------
    Neurons or None
        None where a recording, or a session of it, has no stand-ins.

    Raises
    ------
    FileNotFoundError
        If no compact model is on this machine.
    """
    if recording == "v4":
        present = list(compact.folder().glob("compact_model_*.pt"))
        if present and not any(f"_{session}_" in file.name for file in present):
            return None
        whole: Neurons = compact.session(session)
        found = whole.pick([name.replace("/", "-") for name in neurons])
    elif recording == "simulated":
        found = in_silico.population().pick(neurons)
    else:
        return None
    found.labels = tuple(neurons)
    return found


def in_words(recording: str) -> str:
    """Who answers to new images in place of a recording's neurons, in words for a sentence."""
    known = {"v4": "digital twins of V4 neurons", "simulated": "simulated neurons"}
    return known.get(recording, "neurons")
