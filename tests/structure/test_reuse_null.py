"""The configuration model: what it keeps, that it is uniform, and that it knows when it is not."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from scipy.stats import chisquare

from cofire.errors import InputError
from cofire.structure.reuse_null import reuse_null

RNG = np.random.default_rng(0)
SUPPORT = RNG.choice([0, 0, 0, 0, 1, -1], (12, 60)).astype(np.int8)


def test_sizes_and_reuse_by_sign_are_kept():
    drawn = []
    reuse_null(SUPPORT, draws=20, visit=lambda one, _: drawn.append(one))
    assert len(drawn) == 20
    for one in drawn:
        assert ((one != 0).sum(axis=1) == (SUPPORT != 0).sum(axis=1)).all()
        assert ((one > 0).sum(axis=0) == (SUPPORT > 0).sum(axis=0)).all()
        assert ((one < 0).sum(axis=0) == (SUPPORT < 0).sum(axis=0)).all()
    assert any((one != SUPPORT).any() for one in drawn)


def test_all_matrices_with_these_sums_are_equally_likely():
    start = np.array([[1, 1, 0, 0], [0, -1, 1, 0], [0, 0, 1, 1]], np.int8)

    def sums(m: np.ndarray) -> tuple:
        return (
            tuple((m != 0).sum(axis=1)),
            tuple((m > 0).sum(axis=0)),
            tuple((m < 0).sum(axis=0)),
        )

    wanted = sums(start)
    every = {
        m.tobytes()
        for cells in product((-1, 0, 1), repeat=12)
        if sums(m := np.array(cells, np.int8).reshape(3, 4)) == wanted
    }
    assert len(every) > 5
    seen: Counter[bytes] = Counter()
    reuse_null(start, draws=4000, visit=lambda one, _: seen.update([one.tobytes()]))
    assert set(seen) == every
    assert chisquare([seen[one] for one in every]).pvalue > 0.001


def test_the_same_seed_gives_the_same_draws():
    one, two = (reuse_null(SUPPORT, draws=20, seed=3).shared for _ in range(2))
    assert (one == two).all()
    assert (reuse_null(SUPPORT, draws=20, seed=4).shared != one).any()


def test_mixing_is_seen():
    found = reuse_null(SUPPORT, draws=200).mixing
    assert found.mixed
    assert found.moved > 0.5
    assert abs(found.lag_one) < 0.3
    rigid = np.eye(4, dtype=np.int8)[[0, 0, 0, 0]]  # only one such matrix
    stuck = reuse_null(rigid, draws=20).mixing
    assert not stuck.mixed
    assert stuck.scale_reduction is None


def test_some_features_only():
    whole = reuse_null(SUPPORT, draws=20, seed=1).shared
    part = reuse_null(SUPPORT, [4, 2], draws=20, seed=1).shared
    assert (part[:, 0, 1] == whole[:, 4, 2]).all()


@pytest.mark.parametrize(("rows", "draws"), [(1, 100), (4, 5)])
def test_too_little_to_draw(rows, draws):
    with pytest.raises(InputError, match="at least"):
        reuse_null(SUPPORT[:rows], draws=draws)
