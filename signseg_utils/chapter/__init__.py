"""What a chapter calls: its parameters, its claims and their ledger, what the sources report.

A chapter needs one name, `open_chapter`. It is loaded when asked for: the publisher, which reads
parameters and ledgers alone, starts without what draws figures.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from signseg_utils.chapter.chapter import Chapter, open_chapter

__all__ = ["Chapter", "open_chapter"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from signseg_utils.chapter import chapter

    return getattr(chapter, name)
