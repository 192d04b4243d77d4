"""The Benjamini-Hochberg procedure against SciPy's."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from cofire.evaluation.discoveries import discoveries


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.3])
def test_discoveries_are_scipys(rate):
    rng = np.random.default_rng(0)
    p_values = np.concatenate([rng.random(80), rng.random(20) ** 6])
    expected = false_discovery_control(p_values) <= rate
    assert discoveries(p_values.tolist(), rate) == expected.tolist()
    assert expected.any()


def test_tests_that_were_not_made_change_nothing():
    assert discoveries([None, 0.001, None], 0.01) == [False, True, False]
    assert discoveries([None], 0.01) == [False]
    assert discoveries([], 0.01) == []
