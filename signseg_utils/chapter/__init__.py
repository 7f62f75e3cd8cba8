"""What a chapter calls: its parameters, its claims and their ledger, what the sources report.

A chapter needs one name, `open_chapter`.
"""

from signseg_utils.chapter.chapter import Chapter, open_chapter

__all__ = ["Chapter", "open_chapter"]
