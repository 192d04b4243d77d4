"""Names of people's choosing as they may stand in addresses and in names of files."""

import hashlib
import re

_LONGEST = 100


def slug(name: str) -> str:
    """A name in letters, digits and ``._=+-``, of at most 100 characters.

    Names in other scripts, and long ones, end in a checksum, so that two of them do not become one.

    >>> slug("days of the week")
    'days-of-the-week'
    >>> slug("星期") == slug("月份")
    False
    """
    plain = re.sub(r"[^A-Za-z0-9._=+-]", "-", name) or "-"
    if name.isascii() and len(name) <= _LONGEST:
        return plain
    checksum = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{plain[: _LONGEST - 9]}-{checksum}"
