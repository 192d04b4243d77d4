"""Why the explorer does not answer: the errors that have an HTTP status of their own."""

from cofire.errors import CofireError


class UnknownError(CofireError):
    """There is no such run, layer, feature, result or job."""


class UnreadableError(CofireError):
    """It is there, but cannot be read now; the message says why."""


class BusyError(CofireError):
    """As much is waiting already as may wait."""


class NoModelError(CofireError):
    """There is no model to compute with; the message says why."""
