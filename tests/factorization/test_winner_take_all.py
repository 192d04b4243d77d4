"""Winner-take-all keeps the right number of the right entries."""

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cofire.errors import InputError
from cofire.factorization.constraints import keep_largest, kept_entries

MATRICES = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 40)),
    elements=st.floats(-100, 100, width=32),
)


@given(matrix=MATRICES, data=st.data())
@settings(max_examples=100, deadline=None)
def test_keeps_the_largest_entries_unchanged(matrix, data):
    kept = data.draw(st.integers(1, matrix.shape[1]))
    result = keep_largest(torch.from_numpy(matrix), kept).numpy()
    assert (np.count_nonzero(result, axis=1) <= kept).all()
    survived = result != 0
    assert (result[survived] == matrix[survived]).all()
    for before, after in zip(np.abs(matrix), np.abs(result), strict=True):
        np.testing.assert_array_equal(np.sort(after)[::-1][:kept], np.sort(before)[::-1][:kept])


@given(matrix=MATRICES, data=st.data())
@settings(max_examples=50, deadline=None)
def test_is_a_projection(matrix, data):
    kept = data.draw(st.integers(1, matrix.shape[1]))
    once = keep_largest(torch.from_numpy(matrix), kept)
    assert torch.equal(keep_largest(once, kept), once)


@given(channels=st.integers(1, 100_000), percent=st.integers(1, 100))
def test_counts_by_the_ceiling(channels, percent):
    exact = -(-channels * percent // 100)
    assert kept_entries(percent / 100, channels) == exact


@pytest.mark.parametrize("sparsity", [0.0, -0.1, 1.01, float("nan")])
def test_refuses_other_fractions(sparsity):
    with pytest.raises(InputError, match=r"sparsity is the fraction .* got"):
        kept_entries(sparsity, 10)
