"""Stand-ins for the neurons of a recording: what answers to images that were never shown."""

from __future__ import annotations

from signseg_utils.neurons import compact, in_silico, simulated
from signseg_utils.neurons._base import Neurons


def of(recording: str, session: str) -> Neurons | None:
    """All neurons of a session as a population that answers to any image, named as recorded.

    For ``v4`` the published compact models ("twins") of that session; for ``simulated`` the
    simulated neurons themselves; None for another recording, or a session without twins.

    Raises
    ------
    FileNotFoundError
        If no twin of any session is on this machine.
    """
    if recording == "simulated":
        return simulated.population(in_silico.NEURONS, 0, in_silico.SIZE)
    if recording != "v4":
        return None
    present = list(compact.folder().glob("compact_model_*.pt"))
    if present and not any(f"_{session}_" in file.name for file in present):
        return None
    twins = compact.session(session)
    twins.labels = tuple(label.replace("-", "/") for label in twins.labels)
    return twins
