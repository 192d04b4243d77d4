"""How long to wait before a request is sent again."""

import random
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds before the second try, and the most that doubling leads to."""

LONGEST_ASKED = 300.0
"""Seconds that a server may ask for; a longer ``Retry-After`` is cut to this."""


def wait_before(
    retry: int, *, asked: float | None = None, chance: Callable[[], float] = random.random
) -> float:
    """Seconds to wait before a retry: doubling, with jitter, and never less than was asked for.

    ``min(30, 0.5 · 2^retry)`` times a random number from 0.5 to 1, so that many clients that were
    refused together do not come back together.

    Args:
        retry: how many retries there were before, from 0.
        asked: what the server asked for.
        chance: gives numbers in [0, 1).

    >>> wait_before(3, chance=lambda: 0.5)
    3.0
    >>> wait_before(0, asked=2.0, chance=lambda: 0.0)
    2.25
    """
    wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(retry, 16)) * (0.5 + chance() / 2)
    return wait if asked is None else min(max(asked, 0.0), LONGEST_ASKED) + wait


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer's ``Retry-After`` asks for, as a number or a date; None without one.

    >>> asked_wait({"retry-after": "7"})
    7.0
    """
    text = headers.get("retry-after")
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
