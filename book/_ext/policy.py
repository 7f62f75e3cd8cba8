"""A Content-Security-Policy in each page: nothing is loaded from elsewhere, no script slips in.

Scripts are the book's own files and those inline ones whose hashes the page's policy lists; so are
the two handlers of the theme's buttons. Styles may stand inline, because formulas and figures set
theirs so. Pages opened as files count as themselves (``'self'``) in Chromium; ``file:`` says the
same to browsers for which a file has no origin, and means nothing on the web.
"""

import base64
import hashlib
import html
import re

OWN = "'self' file:"
_SCRIPT = re.compile(r"<script\b([^>]*)>(.*?)</script>", re.DOTALL | re.IGNORECASE)
_TYPE = re.compile(r"""\btype\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)
_TAG = re.compile(r"<[a-zA-Z][^<>]*>")
_HANDLER = re.compile(r"""\son[a-z]+\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
_CHARSET = re.compile(r'<meta charset="[^"]*"\s*/?>', re.IGNORECASE)
_RUN = ("text/javascript", "application/javascript", "module")  # other types are data


def of_page(text: str) -> str:
    """The policy of a page: its inline scripts and handlers by hash, else its own files."""
    inline = [
        body
        for attributes, body in _SCRIPT.findall(text)
        if not re.search(r"\bsrc\s*=", attributes) and _runs(attributes)
    ]
    bare = _SCRIPT.sub("", text)
    handlers = [
        html.unescape(one or other)
        for tag in _TAG.findall(bare)
        for one, other in _HANDLER.findall(tag)
    ]
    scripts = _hashes(inline)
    if handlers:
        scripts += ["'unsafe-hashes'", *_hashes(handlers)]
    rules = {
        "default-src": "'none'",
        "script-src": " ".join([OWN, *scripts]),
        "style-src": f"{OWN} 'unsafe-inline'",
        "img-src": f"{OWN} data:",
        "font-src": OWN,
        "connect-src": OWN,
        "form-action": OWN,
        "base-uri": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def protected(text: str) -> str:
    """A page with its policy, unless it has one."""
    if 'http-equiv="Content-Security-Policy"' in text:  # of an earlier build, page unchanged
        return text
    meta = f'<meta http-equiv="Content-Security-Policy" content="{of_page(text)}">'
    return _CHARSET.sub(lambda found: f"{found[0]}\n    {meta}", text, count=1)


def _runs(attributes: str) -> bool:
    kind = _TYPE.search(attributes)
    return kind is None or kind[1].lower() in _RUN


def _hashes(scripts: list[str]) -> list[str]:
    """Source expressions of scripts, each once, in order."""
    found = (hashlib.sha256(one.encode()).digest() for one in scripts)
    return list(dict.fromkeys(f"'sha256-{base64.b64encode(one).decode()}'" for one in found))
