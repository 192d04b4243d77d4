"""scikit-learn's own contract, without expected failures."""

import jaxtyping
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from cofire.factorization import SemiNMF


@pytest.fixture(autouse=True)
def _runtime_type_checks_off(monkeypatch):
    # The checks set parameters to nonsense and demand that the constructor takes it.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@parametrize_with_checks(
    [SemiNMF(n_components=2, sparsity=0.5), SemiNMF(n_components=2, code_penalty=0.03)]
)
def test_estimator_contract(estimator, check):
    check(estimator)
