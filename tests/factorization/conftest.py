"""Small planted data shared by the solver tests."""

import pytest

from cofire.factorization.planted import Planted, plant


@pytest.fixture(scope="session")
def planted() -> Planted:
    """800 rows, 120 channels, 10 atoms of 6 entries that share neurons, some noise."""
    return plant(800, 120, 10, sparsity=0.05, code_density=0.2, overlap=0.3, noise=0.1)
