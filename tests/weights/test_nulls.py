"""Nulls keep what they say they keep, and lose the rest."""

import json
import math

import pytest
import torch

from cofire.errors import InputError
from cofire.low_rank import LowRankMatrix
from cofire.weights import nulls
from cofire.weights.decompositions import METHODS
from cofire.weights.evidence import Evidence
from cofire.weights.examination import Settings, examine
from cofire.weights.measures import (
    copying_score,
    excess_kurtosis,
    fan_out,
    negentropy,
    self_alignment,
)
from cofire.weights.planted import plant_weights
from cofire.weights.verdict import verdict


@pytest.fixture
def matrix() -> LowRankMatrix:
    left = torch.randn(60, 10, generator=torch.Generator().manual_seed(0))
    left[3] *= 20.0  # an outlier channel
    return LowRankMatrix(left, torch.randn(10, 90, generator=torch.Generator().manual_seed(1)))


def test_rotating_keeps_the_spectrum_and_loses_the_outlier(matrix):
    drawn = nulls.rotated(matrix, seed=0)
    assert torch.allclose(drawn.singular_values(), matrix.singular_values(), rtol=1e-4)
    assert drawn.dense().norm(dim=1).max() < 0.5 * matrix.dense().norm(dim=1)[3]


def test_rescaling_keeps_the_size_of_every_channel(matrix):
    drawn = nulls.rescaled(matrix, seed=0).dense()
    dense = matrix.dense()
    assert torch.allclose(drawn.norm(dim=1), dense.norm(dim=1), rtol=1e-2)
    assert torch.allclose(drawn.norm(dim=0), dense.norm(dim=0), rtol=1e-2)
    assert (drawn * dense).sum().abs() < 0.7 * dense.square().sum()


def test_shuffling_keeps_the_entries(matrix):
    drawn = nulls.shuffled(matrix, seed=0)
    assert torch.equal(drawn.flatten().sort().values, matrix.dense().flatten().sort().values)
    assert not torch.equal(drawn, matrix.dense())


def test_random_and_gaussian_weights_keep_shape_and_norm(matrix):
    for draw in (nulls.random_weights, nulls.gaussian):
        drawn = draw(matrix, seed=1)
        assert drawn.shape == matrix.shape
        size = float(matrix.singular_values().norm())
        assert float(drawn.singular_values().norm()) == pytest.approx(size, rel=0.3)


def test_a_figure_is_beyond_its_null_only_when_rank_and_z_agree():
    assert nulls.against(9.0, [1.0, 2.0, 3.0], null="rotated").beyond
    assert not nulls.against(2.5, [1.0, 2.0, 3.0], null="rotated").beyond
    assert not nulls.against(3.1, [1.0, 2.0, 3.0], null="rotated").beyond  # first, by too little
    below = nulls.against(-9.0, [1.0, 2.0, 3.0], null="rotated", tail="below")
    assert below.beyond
    assert below.excess == pytest.approx(5.5)
    with pytest.raises(InputError, match="at least two draws"):
        nulls.against(1.0, [1.0], null="rotated")


def test_gaussian_values_have_no_negentropy_and_no_kurtosis():
    drawn = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    assert abs(float(excess_kurtosis(drawn))) < 0.05
    assert float(negentropy(drawn)) < 1e-4
    sparse = drawn * (torch.rand(200_000, generator=torch.Generator().manual_seed(1)) < 0.1)
    assert float(negentropy(sparse)) > 0.1


def test_copying_scores_of_heads_that_copy_suppress_and_rotate():
    eye = torch.eye(6)
    assert copying_score(LowRankMatrix(eye, eye)) == pytest.approx(1.0)
    assert copying_score(LowRankMatrix(eye, -eye)) == pytest.approx(-1.0)
    turn = torch.block_diag(*[torch.tensor([[0.0, -1.0], [1.0, 0.0]])] * 3)
    assert copying_score(LowRankMatrix(eye, turn)) == pytest.approx(0.0, abs=1e-6)


def test_alignment_of_reading_and_writing_is_that_of_the_whole_matrix():
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(30, 5, generator=generator)
    right = torch.randn(5, 30, generator=generator)
    matrix = LowRankMatrix(left, right)
    dense = (left @ right).double()
    fourth = torch.linalg.svdvals(dense).pow(4).sum()
    expected = float((dense @ dense).norm() / fourth.sqrt())
    assert self_alignment(matrix) == pytest.approx(expected, rel=1e-5)
    assert self_alignment(LowRankMatrix(left, left.T)) == pytest.approx(1.0, abs=1e-5)
    assert self_alignment(nulls.rotated(LowRankMatrix(left, left.T), seed=1)) < 0.6
    with pytest.raises(InputError, match="Only a square matrix can"):
        self_alignment(LowRankMatrix(left, right[:, :9]))


def test_random_frames_favour_no_sign():
    """Routines for QR give most diagonals of R one sign, which would favour a side."""
    frames = [nulls.random_frame(6, 3, torch.Generator().manual_seed(seed)) for seed in range(300)]
    assert torch.allclose(frames[0].T @ frames[0], torch.eye(3), atol=1e-5)
    assert float(torch.stack(frames).mean(dim=0).abs().max()) < 4 * (1 / 6 / 300) ** 0.5


def test_copying_score_is_that_of_the_whole_circuit():
    generator = torch.Generator().manual_seed(0)
    embedding = torch.randn(30, 8, generator=generator)
    unembedding = torch.randn(8, 30, generator=generator)
    head = LowRankMatrix(
        torch.randn(8, 3, generator=generator), torch.randn(3, 8, generator=generator)
    )
    values = torch.linalg.eigvals((embedding @ head.dense() @ unembedding).double())
    expected = float(values.real.sum() / values.abs().sum())
    assert copying_score(head, unembedding @ embedding) == pytest.approx(expected, abs=1e-4)


def test_fan_out_counts_tokens_on_either_side():
    tokens = torch.tensor([[1.0, 0.0], [-3.0, 0.1], [0.0, 2.0], [0.0, -1.0]])
    assert fan_out(torch.tensor([[5.0, 0.0]]), tokens).tolist() == [0.5]


def test_evidence_survives_json():
    settings = Settings(n_components=4, restarts=4, draws=3)
    found = examine(plant_weights("independent", rows=50, channels=150, rank=24).matrix, settings)
    again = Evidence.from_record(json.loads(json.dumps(found.evidence.record())))
    assert again == found.evidence


def test_methods_that_were_not_run_are_missing_and_not_zero():
    settings = Settings(n_components=4, methods=("svd",), draws=3)
    found = examine(plant_weights("none", rows=50, channels=150, rank=24).matrix, settings).evidence
    assert found.parts is None
    assert found.independence is None
    assert set(found.errors) == {"svd"}
    with pytest.raises(InputError, match="Methods are some of"):
        Settings(methods=("pca",))


def test_a_null_that_was_not_measured_is_not_exceeded() -> None:
    assert not nulls.against(3.0, [math.nan, math.nan, 1.0], null="rotated").beyond
    assert nulls.against(3.0, [1.0] * 10, null="rotated").beyond


def test_how_many_components_do_as_well_as_svd(matrix: LowRankMatrix) -> None:
    evidence = examine(matrix, Settings(n_components=4, methods=METHODS, restarts=4)).evidence
    found = evidence.sizes_for_svd_error()
    assert set(found) == {"ica", "nmf", "snmf"}
    assert found["ica"] == 4  # it spans nearly what SVD spans
    assert found["snmf"] is None  # nonnegative codes leave more
    goal = 1.01 * evidence.errors["svd"]
    enough = [size for size, error in evidence.parts.curve if error <= goal]
    assert found["nmf"] == (enough[0] if enough else None)


def test_one_component_may_do_as_well_as_svd() -> None:
    one = torch.arange(1.0, 9.0)[:, None] * torch.arange(1.0, 7.0)
    noise = 0.01 * torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    evidence = examine(one + noise, Settings(n_components=1, methods=("svd", "nmf"))).evidence
    assert evidence.sizes_for_svd_error() == {"nmf": 1}


def test_whole_rank_leaves_svd_undecided(matrix: LowRankMatrix) -> None:
    rank = len(matrix.singular_values())
    found = examine(matrix, Settings(n_components=rank, methods=("svd",)))
    answer = verdict(found.evidence)["svd-enough"]
    assert answer.answer == "undecided"
    assert "whole rank" in answer.because
