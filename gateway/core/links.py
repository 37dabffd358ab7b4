"""URLs that may be shown as something to open."""

from __future__ import annotations

import re

WEB = frozenset(["http", "https"])
MOST_URL = 2048
"""What every browser takes, in characters."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]{0,15}):([^ \"<>\\^`{|}]+)")


def safe_url(text: str, schemes: frozenset[str] = WEB) -> str:
    """`text` without the blanks around it if it is an absolute URL of one of `schemes`, else "".

    Nothing invisible, no control character and no blank may be in it (RFC 3986 section 2), nor may it be longer than MOST_URL; letters
    of all scripts may (RFC 3987).

    >>> safe_url(" HTTP://example.com/a "), safe_url("java\\nscript:x"), safe_url("/a")
    ('HTTP://example.com/a', '', '')
    """
    url = text.strip(" \t\r\n\f")
    found = _URL.fullmatch(url) if len(url) <= MOST_URL and url.isprintable() else None
    if not found or found[1].lower() not in schemes:
        return ""
    if found[1].lower() in WEB and not re.match(r"//[^/?#]", found[2]):
        return ""
    return url
