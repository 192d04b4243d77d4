"""Paths on planted data: the true number of features is suggested, and neighbours are used."""

import numpy as np
import pytest
import torch

import builders
from cofire.activations import Activations, TokenTable
from cofire.corpus import Corpus, Text
from cofire.errors import InputError
from cofire.evaluation.fidelity import fidelity
from cofire.evaluation.knee import suggest_k
from cofire.evaluation.path import PathSettings, walk_path
from cofire.evaluation.path_points import PathStep
from cofire.factorization.planted import plant, recovery

KNOWN = 20
STEPS = [PathStep(k, 0.05) for k in (5, 10, 20, 40, 80)]


def unlabelled(X, *, heldout):
    """Rows in texts of ten, every fourth text held out."""
    ids = np.arange(len(X), dtype=np.int32) // 10
    zeros = np.zeros(len(X), np.int32)
    texts = [
        Text(f"text {i}", split="heldout" if heldout and i % 4 == 0 else "train")
        for i in range(int(ids[-1]) + 1)
    ]
    tokens = TokenTable(ids, ids.copy(), zeros, zeros.copy(), ("a",))
    return Activations((X,), tokens, Corpus(texts), builders.SITE)


@pytest.fixture(scope="module")
def planted():
    return plant(2000, 120, KNOWN, sparsity=0.05)


@pytest.fixture(scope="module")
def walked(planted):
    rows = unlabelled(planted.X, heldout=True)
    return list(walk_path(rows, STEPS, PathSettings(seeds=2, device="cpu")))


def test_the_planted_number_of_features_is_suggested(walked):
    found = suggest_k([solution.point for solution in walked])
    assert found.knee == KNOWN
    assert found.loss == "held-out"


def test_figures_of_the_points(walked, planted):
    points = [solution.point for solution in walked]
    assert [point.n_components for point in points] == [5, 10, 20, 40, 80]
    losses = [point.loss_train for point in points]
    assert losses == sorted(losses, reverse=True)
    assert [point.warm for point in points] == [False, True, True, True, True]
    assert points[0].agreement is None
    assert all(point.agreement > 0.8 for point in points[1:])
    assert all(0 < point.seed_agreement <= 1.001 for point in points)
    assert all(point.concepts is None for point in points)
    assert all(point.dead == 0 for point in points[:3])
    assert recovery(walked[2].atoms[0], planted.atoms).mean() > 0.9
    assert all(len(solution.atoms) == 2 for solution in walked)


def test_heldout_rows_are_never_fitted(planted):
    rows = unlabelled(planted.X, heldout=True)
    mixed = planted.X.clone()
    mixed[rows.tokens.text_id % 4 == 0] *= -3
    settings = PathSettings(device="cpu")
    (ours,) = walk_path(rows, STEPS[:1], settings)
    (theirs,) = walk_path(unlabelled(mixed, heldout=True), STEPS[:1], settings)
    assert torch.equal(ours.atoms[0], theirs.atoms[0])
    assert ours.point.loss_train == theirs.point.loss_train
    assert ours.point.loss_heldout < theirs.point.loss_heldout


def test_without_heldout_rows_their_figures_are_missing(planted):
    (solution,) = walk_path(
        unlabelled(planted.X, heldout=False), STEPS[:1], PathSettings(device="cpu")
    )
    assert solution.point.loss_heldout is None
    assert solution.point.variance_heldout is None


def test_the_loss_is_that_of_fidelity(planted):
    from cofire.factorization import SemiNMF

    rows = unlabelled(planted.X, heldout=False)
    (solution,) = walk_path(rows, STEPS[:1], PathSettings(device="cpu"))
    snmf = SemiNMF(5, sparsity=0.05, device="cpu").fit(planted.X)
    expected = fidelity(planted.X, snmf.transform(planted.X), torch.from_numpy(snmf.components_))
    assert solution.point.loss_train == pytest.approx(expected.relative_loss, abs=1e-6)
    assert solution.point.variance_train == pytest.approx(expected.explained_variance, abs=1e-6)
    assert solution.point.code_density == pytest.approx(expected.code_density, abs=1e-6)


def test_going_on_gives_the_same_points(planted, walked):
    rows = unlabelled(planted.X, heldout=True)
    settings = PathSettings(seeds=2, device="cpu")
    rest = list(walk_path(rows, STEPS[:3], settings, finished=walked[:2]))
    assert len(rest) == 1
    assert torch.equal(rest[0].atoms[1], walked[2].atoms[1])


def test_cold_points_do_not_know_their_neighbour(planted):
    rows = unlabelled(planted.X, heldout=False)
    cold = list(walk_path(rows, STEPS[:2], PathSettings(cold=True, device="cpu")))
    (alone,) = walk_path(rows, STEPS[1:2], PathSettings(device="cpu"))
    assert not cold[1].point.warm
    assert cold[1].point.agreement is not None
    assert torch.equal(cold[1].atoms[0], alone.atoms[0])


@pytest.mark.parametrize("shares", [(0.2, 0.1, 0.05), (0.05, 0.1, 0.2)])
def test_sparsity_may_go_either_way(planted, shares):
    rows = unlabelled(planted.X, heldout=False)
    steps = [PathStep(KNOWN, share) for share in shares]
    walked = list(walk_path(rows, steps, PathSettings(device="cpu")))
    for solution, share in zip(walked, shares, strict=True):
        assert int((solution.atoms[0] != 0).sum(dim=1).max()) <= round(120 * share)
    assert all(solution.point.agreement > 0.8 for solution in walked[1:])


def test_sure_concepts_are_those_of_the_whole_codes():
    rows = builders.activations(noise=0.02)
    (solution,) = walk_path(rows, [PathStep(4, 0.3)], PathSettings(device="cpu"))
    assert solution.point.concepts is not None
    assert 0 <= solution.point.concepts <= 2


@pytest.mark.parametrize(
    ("steps", "settings", "message"),
    [
        ([], PathSettings(), "at least one point"),
        ([PathStep(10**6)], PathSettings(), "1 to .* training rows; k = 1000000"),
        ([PathStep(0)], PathSettings(), "k = 0"),
        ([PathStep(2, 0.0)], PathSettings(), "sparsity"),
        ([PathStep(2)], PathSettings(seeds=0), "at least 1 seed"),
    ],
)
def test_bad_input(steps, settings, message):
    with pytest.raises(InputError, match=message):
        walk_path(builders.activations(), steps, settings)
