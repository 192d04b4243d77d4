"""scikit-learn's own contract."""

import jaxtyping
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from cofire.factorization import SemiNMF


@pytest.fixture(autouse=True)
def _runtime_type_checks_off(monkeypatch):
    # The checks set parameters to nonsense and demand that the constructor takes it.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def expected_to_fail(estimator):
    return {
        "check_sample_weight_equivalence_on_dense_data": "the start draws rows at random, so that "
        "repeated rows give the features in another order; test_options.py compares from one start"
    }


@parametrize_with_checks(
    [SemiNMF(n_components=2, sparsity=0.5), SemiNMF(n_components=2, code_penalty=0.03)],
    expected_failed_checks=expected_to_fail,
)
def test_estimator_contract(estimator, check):
    check(estimator)
