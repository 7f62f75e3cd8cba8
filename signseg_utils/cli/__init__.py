"""The command ``signseg``: one module a subcommand, imported when it is called.

Each module has ``main(words) -> int``, which parses its own arguments. Nothing else in the package
reads a command line.
"""

import sys
from collections.abc import Sequence
from importlib import import_module

from signseg_utils import __version__
from signseg_utils.basics.refusals import Refusal
from signseg_utils.basics.registry import unknown

COMMANDS = {
    "publish": "run chapters and write their pages; what `make book` does first",
    "sweep": "search preferred images of ablated units; --estimate says beforehand what it takes",
    "experiment": "compute and store one of the other experiments that chapters show",
    "train": "train networks, generators and detectors of a zoo again",
    "fetch": "download files that others publish, checked by hash, or list them",
    "audit": "compute a sample of all that ships again, and say how exactly it agrees",
    "portable": "publish and audit under emulated processors what ships",
    "drift": "which ledger lines and audits differ between two published books",
    "compare": "a run of your own beside the book, claim by claim",
    "scoreboard": "what holds of the claims, as a table for README (--write README.md)",
    "pdf": "the built book as one PDF; what `make pdf` does",
    "describe": "the repository for archives (RO-Crate) and for checkers (CODECHECK), made anew",
    "session": "a search with a rig in the loop: write images to show, take rates back",
}
EXAMPLES = """\
  signseg publish --zoo shapes --chapters 3     one page of the book
  signseg sweep --zoo imagenet --estimate       hours and images of a sweep; nothing runs
  signseg experiment                            names of the experiments
  signseg fetch                                 files that can be fetched, and their terms
  signseg session rig --zoo shapes              the first images of a search for a rig"""


def usage() -> str:
    """The page that ``signseg --help`` shows."""
    width = max(map(len, COMMANDS)) + 2
    rows = "\n".join(f"  {name:{width}}{about}" for name, about in COMMANDS.items())
    return (
        f"signseg {__version__}: signed inputs of units in brains and networks\n\n"
        f"usage: signseg COMMAND [options]\n\n{rows}\n\nfor example\n{EXAMPLES}\n\n"
        "`signseg COMMAND --help` tells what a command takes. A command that was stopped goes on\n"
        "from where it was when it is given again. `signseg --traceback COMMAND ...` shows where\n"
        "in the code an error arose."
    )


def main(words: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status.

    An error that says what was expected is shown as one line; nothing stored before it is lost.
    """
    given = list(sys.argv[1:] if words is None else words)
    traceback = given[:1] == ["--traceback"]
    given = given[1:] if traceback else given
    if not given or given[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if given[0] == "--version":
        print(__version__)
        return 0
    if given[0] not in COMMANDS:
        print(f"error: {unknown('command', given[0], tuple(COMMANDS))}", file=sys.stderr)
        return 2
    command = import_module(f"{__name__}.{given[0]}")
    try:
        return int(command.main(given[1:]))
    except (Refusal, ValueError, LookupError, OSError) as error:
        if traceback:
            raise
        said = error.args[0] if isinstance(error, KeyError) and error.args else error
        print("\n".join([f"error: {said}", *getattr(error, "__notes__", [])]), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
