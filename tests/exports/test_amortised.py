"""Linear encoders fitted to exact codes: optimal as the docstring says, and measured honestly."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import builders
from cofire.corpus import Corpus
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.exports import amortised
from cofire.exports.amortised import amortise, encoder_error
from cofire.site import Site
from cofire.structure.tree_labels import training_rows
from sample_run import planted, sample_corpus


@pytest.fixture(scope="module")
def example():
    """Planted sparse codes over 256 channels, with a dead feature and a duplicate."""
    activations, dictionary, _ = planted(sample_corpus(), Site(2), 24, 0)
    dictionary = replace(dictionary, penalty=0.1)
    return activations, dictionary, dictionary.encode(activations)


def split(activations):
    training = training_rows(activations.tokens, activations.corpus)
    return training, ~training


def test_it_reconstructs_nearly_as_exact_codes_do_on_rows_it_never_saw(example):
    activations, dictionary, codes = example
    encoder = amortise(dictionary, activations, codes)
    _, heldout = split(activations)
    error = encoder_error(dictionary, encoder, activations, codes, heldout)
    assert error.rows == heldout.sum()
    assert error.relative_loss_exact == pytest.approx(
        float((activations.X - dictionary.decode(codes))[heldout].square().sum())
        / float(activations.X[heldout].square().sum())
    )
    assert error.relative_loss_amortised == pytest.approx(error.relative_loss_exact, abs=0.002)
    assert error.active_agreeing > 0.95


def test_it_agrees_far_better_than_least_squares_with_a_rectifier(example):
    activations, dictionary, codes = example
    training, heldout = split(activations)
    X = activations.X
    rows = torch.cat([X, torch.ones(len(X), 1)], dim=1)
    kept = torch.from_numpy(training)
    plain = torch.linalg.lstsq(rows[kept], codes[kept]).solution
    simple = replace(
        dictionary,
        encoder="relu",
        encoder_weight=plain[:-1].contiguous(),
        encoder_bias=plain[-1],
        penalty=0.0,
    )
    ours = encoder_error(
        dictionary, amortise(dictionary, activations, codes), activations, codes, heldout
    )
    theirs = encoder_error(dictionary, simple, activations, codes, heldout)
    assert ours.active_agreeing > 5 * theirs.active_agreeing


def test_the_fit_is_at_the_minimum_of_the_matching_loss():
    generator = torch.Generator().manual_seed(0)
    T = torch.randn(400, 5, generator=generator)
    C = (T @ torch.randn(5, 5, generator=generator) - 0.5).clamp(min=0)
    M, b = amortised._fit(T, C, amortised.SILENT)
    z = (T @ M + b).clamp(min=0)
    wide = torch.cat([T, torch.ones(len(T), 1)], dim=1)
    ridge = 1e-4 * (wide.T @ wide).diagonal().mean()
    gradient = wide.T @ (z - C) + ridge * torch.cat([M, b[None]])
    assert gradient.abs().max() < 1e-3 * (wide.T @ C).abs().max()
    assert (z - C).square().mean() < 1e-4  # the codes are such a map of T


def test_each_threshold_has_the_least_squared_error():
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(200, 4, generator=generator)
    C = (z + 0.8 * torch.randn(200, 4, generator=generator)).clamp(min=0)
    C[:, 3] = 0  # never active: nothing is worth keeping
    found = amortised._thresholds(z, C)

    def error(threshold: float, feature: int) -> float:
        column = z[:, feature]
        kept = torch.where((column > threshold) & (column > 0), column, 0.0)
        return float((kept - C[:, feature]).double().square().sum())

    for feature in range(4):
        others = [0.0, *z[:, feature].clamp(min=0).tolist(), 100.0]
        best = min(error(value, feature) for value in others)
        assert error(float(found[feature]), feature) == pytest.approx(best)
    assert not (z[:, 3] > found[3]).any()


def test_the_offset_is_taken_off_first(example):
    activations, dictionary, codes = example
    moved = replace(activations, shards=(activations.X + 5.0,))
    offset = replace(dictionary, offset=torch.full((dictionary.n_channels,), 5.0))
    encoder = amortise(dictionary, activations, codes)
    again = amortise(offset, moved, codes)
    torch.testing.assert_close(
        again.encode(moved.X[:50]), encoder.encode(activations.X[:50]), rtol=1e-2, atol=1e-2
    )


def test_many_rows_are_drawn_by_the_seed(example, monkeypatch):
    activations, dictionary, codes = example
    monkeypatch.setattr(amortised, "MOST_ROWS", 300)
    first, again, other = (
        amortise(dictionary, activations, codes, seed=seed).encoder_weight for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_without_held_out_texts_there_is_no_figure_for_them(example):
    activations, dictionary, codes = example
    nothing = np.zeros(len(activations), dtype=bool)
    assert encoder_error(dictionary, dictionary, activations, codes, nothing) is None


def test_what_has_no_exact_codes_or_no_linear_encoder_is_refused(example):
    activations, dictionary, codes = example
    relu = Dictionary(
        dictionary.atoms, Site(2), encoder="relu", encoder_weight=dictionary.atoms.T.contiguous()
    )
    with pytest.raises(InputError, match="encodes by 'relu'"):
        amortise(relu, activations, codes)
    with pytest.raises(InputError, match="sets negative activations to 0"):
        amortise(replace(dictionary, rectify=True), activations, codes)
    with pytest.raises(InputError, match="5 rows of codes but"):
        amortise(dictionary, activations, codes[:5])
    held = Corpus(replace(text, split="heldout") for text in activations.corpus)
    with pytest.raises(InputError, match="All texts are held out"):
        amortise(dictionary, replace(activations, corpus=held), codes)


def test_duplicate_atoms_have_a_solution():
    data = builders.activations()
    dictionary = Dictionary(builders.atoms(), builders.SITE, penalty=0.05)
    encoder = amortise(dictionary, data, dictionary.encode(data))
    assert all(bool(t.isfinite().all()) for t in encoder.tensors().values())
