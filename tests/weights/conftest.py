"""A tiny model with heads whose task is known."""

import pytest

from planted_heads import Planted, planted_heads


@pytest.fixture(scope="session")
def planted() -> Planted:
    """Head 0 of layer 1 copies, head 1 suppresses, the others do neither."""
    return planted_heads()
