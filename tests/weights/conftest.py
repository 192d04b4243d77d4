"""A tiny model with heads whose task is known, and one thread."""

from collections.abc import Iterator

import pytest
import torch

from planted_heads import Planted, planted_heads


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny models lose far more by sharing work between threads than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def planted() -> Planted:
    """Head 0 of layer 1 copies, head 1 suppresses, the others do neither."""
    return planted_heads()
