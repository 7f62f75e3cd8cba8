"""Arguments of commands: what is said about numbers where they are given is said here."""

import argparse
from collections.abc import Callable
from typing import Any

from signseg_utils import selection


def number(name: str, kind: type = int) -> Callable[[str], Any]:
    """The type of an argument: a number, checked as the parameter ``name`` of a chapter is."""

    def checked(text: str) -> Any:
        try:
            return selection.check(name, kind(text))
        except selection.ParameterError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    checked.__name__ = kind.__name__  # argparse names the type where the text is no number
    return checked
