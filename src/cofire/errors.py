"""Every error cofire raises on purpose: one clear sentence of what was wrong and what to do."""


class CofireError(Exception):
    """Base of all errors a user can mend. The command line prints its message on one line."""


class InputError(CofireError, ValueError):
    """An argument, an option or a data value is outside what the function accepts."""


class DataError(CofireError, ValueError):
    """A file with texts or activations cannot be used as it is; the message names file and line."""


class ModelError(CofireError):
    """A model cannot be loaded, gives no answer, or has no site of the kind that was asked for."""


class StoreError(CofireError):
    """A run folder or activation store is missing, incomplete, damaged or of a newer format."""


class EndpointError(CofireError):
    """A language-model endpoint cannot be reached, refuses the key or does not know the model."""


class ConvergenceWarning(UserWarning):
    """An iterative method stopped at its iteration limit; the result is usable but may improve."""
