"""Pieces of text that several parts of the book are made of: HTML, tables, durations, commands."""

import html
import re


def raw(text: str) -> str:
    """HTML as a block of MyST."""
    return f"```{{raw}} html\n{text.replace('`', '&#96;')}\n```\n"


def table(heads: list[str], rows: list[list[str]], name: str) -> str:
    """HTML of a table whose cells carry their column's head, for narrow screens."""
    top = "".join(f'<th scope="col">{head}</th>' for head in heads)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td data-label="{html.escape(head)}">{cell}</td>'
            for head, cell in zip(heads, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="book-wide"><table class="book-table {name}"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def duration(seconds: float) -> str:
    """Seconds, or minutes where that reads better."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def broken(command: str) -> str:
    """A shell command with one parameter a line."""
    return re.sub(r" (-[pr]) ", r" \\\n  \1 ", command)
