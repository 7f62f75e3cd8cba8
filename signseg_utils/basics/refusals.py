"""What is said to a user whose input cannot be used, and what it is called.

Wherever something comes in from outside (a file, a parameter, an argument), it is checked once, and
what does not fit is refused by an error that is a `Refusal` too: its message says what was
expected, why, what came, and what to do, and names the file or the parameter.
"""


class Refusal(Exception):
    """Input that cannot be used; the message is for the user, who needs no traceback."""


class UnknownName(Refusal, KeyError):
    """A name that is not among those there are; the message lists them and the nearest."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would put it between quotes


class BadValue(Refusal, ValueError):
    """A value of another kind than asked for, or out of range."""


class BadFile(Refusal, ValueError):
    """A file that is not what its place or name promises."""


def first_line(error: BaseException) -> str:
    """The first words of a library's error, to be quoted in a refusal."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:300]
