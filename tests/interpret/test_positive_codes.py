"""Sparse codes say what the dense ones do."""

import numpy as np
import pytest
import torch

from cofire.errors import InputError
from cofire.interpret.positive_codes import PositiveCodes


@pytest.fixture
def codes() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    found = torch.randn(50, 300, generator=generator)
    found[:, 7] = 0.0
    found[:, 8] = -1.0
    return found


@pytest.fixture
def counted() -> np.ndarray:
    return np.arange(50) % 5 != 0


def test_cofiring_is_that_of_the_dense_codes(codes, counted):
    found = PositiveCodes(codes, counted).cofiring(3)
    dense = codes[torch.from_numpy(counted)].clamp_min(0).numpy().astype(float)
    fires = dense > 0
    both = (fires & fires[:, [3]]).sum(axis=0)
    wanted = [i for i in range(300) if i != 3 and both[i]]
    assert sorted(found.features.tolist()) == wanted
    for i, shared, jaccard, cosine in zip(
        found.features, found.both, found.jaccard, found.cosine, strict=True
    ):
        assert shared == both[i]
        assert jaccard == pytest.approx(both[i] / (fires[:, i] | fires[:, 3]).sum())
        lengths = np.linalg.norm(dense[:, i]) * np.linalg.norm(dense[:, 3])
        assert cosine == pytest.approx(dense[:, i] @ dense[:, 3] / lengths, rel=1e-5)
    assert np.all(np.diff(found.cosine) <= 1e-6)


def test_features_that_never_fire_fire_with_none(codes, counted):
    found = PositiveCodes(codes, counted)
    for feature in (7, 8):
        assert len(found.cofiring(feature).features) == 0
        histogram = found.histogram(feature)
        assert histogram.counts.sum() == 0
        assert histogram.zero == histogram.rows == int(counted.sum())
    assert not {7, 8} & set(found.cofiring(3).features.tolist())


def test_a_histogram_counts_every_positive_code(codes, counted):
    column = codes[torch.from_numpy(counted), 3].numpy()
    histogram = PositiveCodes(codes, counted).histogram(3, bins=10)
    assert histogram.counts.sum() + histogram.zero == histogram.rows == len(column)
    assert histogram.edges[-1] == pytest.approx(column.max())
    wanted, _ = np.histogram(column[column > 0], bins=10, range=(0, column.max()))
    assert histogram.counts.tolist() == wanted.tolist()


def test_a_window_shows_rows_that_are_not_counted_too(codes, counted):
    window = PositiveCodes(codes, counted).window(3, 8, 13)
    assert window.tolist() == pytest.approx(codes[8:13, 3].clamp_min(0).tolist())


def test_a_feature_beside_one_of_other_codes(codes, counted):
    other = torch.flip(codes, dims=[1])
    found = PositiveCodes(codes, counted).beside(3, PositiveCodes(other, counted), 296)
    assert found.jaccard == pytest.approx(1)  # the same column
    assert found.cosine == pytest.approx(1)
    assert np.isnan(PositiveCodes(codes).beside(7, PositiveCodes(codes), 8).jaccard)
    with pytest.raises(InputError, match="Codes of 50 rows"):
        PositiveCodes(codes).beside(3, PositiveCodes(codes, counted), 3)


def test_the_matrix_is_what_was_counted(codes, counted):
    found = PositiveCodes(codes, counted).matrix()
    assert torch.equal(found, codes[torch.from_numpy(counted)].clamp_min(0))


@pytest.mark.parametrize("feature", [-1, 300])
def test_unknown_features_are_refused(codes, feature):
    found = PositiveCodes(codes)
    for ask in (found.cofiring, found.histogram, lambda f: found.window(f, 0, 1)):
        with pytest.raises(InputError, match=f"no feature {feature}; this layer has 0 to 299"):
            ask(feature)
