"""The model that a stored run was made of."""

from typing import Any

from cofire.errors import StoreError
from cofire.models import LanguageModel, load_model
from cofire.progress import Progress
from cofire.store import Run


def model_of(run: Run, device: str, progress: Progress) -> LanguageModel:
    """Load the run's model, and make sure that it is the same one.

    Raises:
        StoreError: when the run does not say which it is, or it is another one now.
        ModelError: when it cannot be loaded.
    """
    record: Any = run.manifest.get("model")
    if not isinstance(record, dict) or not {"name", "fingerprint", "dtype"} <= set(record):
        raise StoreError(f"{run.path} does not say which model it was made of; fit again.")
    with progress.task(f"Loading {record['name']}", None, "") as advance:
        model = load_model(record["name"], device=device, dtype=record["dtype"])
        advance(1)
    if model.fingerprint != record["fingerprint"]:
        raise StoreError(
            f"{record['name']} is another model now than the one {run.path} was made of; give that "
            "one back its place, or fit again."
        )
    return model
