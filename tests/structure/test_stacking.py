"""Several layers factorised at once: planted features within and across layers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from builders import token_table
from cofire.activations import Activations
from cofire.corpus import Corpus, Text
from cofire.errors import InputError
from cofire.matching import recovery
from cofire.site import Site
from cofire.structure.stacking import StackedRows, fit_stacked

CHANNELS = (60, 40)
TEXTS = [f"a{i} b c d e f g h" for i in range(150)]
CORPUS = Corpus(
    Text(text, split="heldout" if i % 5 == 4 else "train") for i, text in enumerate(TEXTS)
)
TOKENS = token_table(TEXTS)


def planted(seed: int = 0) -> tuple[list[Activations], torch.Tensor, torch.Tensor]:
    """Six features: two in the first layer, two in the second, two in both; codes and atoms."""
    rng = np.random.default_rng(seed)
    codes = (rng.random((len(TOKENS), 6)) < 0.15) * rng.gamma(3.0, 1.0, (len(TOKENS), 6))
    atoms = np.zeros((6, sum(CHANNELS)))
    for i, atom in enumerate(atoms):
        first, second = [(4, 0), (4, 0), (0, 4), (0, 4), (2, 2), (2, 2)][i]
        atom[rng.choice(CHANNELS[0], first, replace=False)] = 1.0
        atom[CHANNELS[0] + rng.choice(CHANNELS[1], second, replace=False)] = -1.0
    X = codes @ atoms + 0.01 * rng.standard_normal((len(TOKENS), sum(CHANNELS)))
    X[:, CHANNELS[0] :] *= 5.0  # layers differ in size
    rows = [
        Activations((torch.from_numpy(part).float(),), TOKENS, CORPUS, Site(layer))
        for layer, part in zip((3, 4), np.split(X, [CHANNELS[0]], axis=1), strict=True)
    ]
    return rows, torch.from_numpy(codes).float(), torch.from_numpy(atoms).float()


@pytest.fixture(scope="module")
def fitted():
    rows, codes, atoms = planted()
    return rows, codes, atoms, fit_stacked(rows, n_components=6, sparsity=0.04)


def test_planted_features_are_found_across_layers(fitted):
    _, _, atoms, found = fitted
    assert found.widths == CHANNELS
    scaled = atoms.clone()
    scaled[:, : CHANNELS[0]] /= found.scales[0]
    scaled[:, CHANNELS[0] :] *= 5.0 / found.scales[1]
    assert recovery(found.atoms, scaled).min() > 0.98


def test_spans_tell_one_layer_from_two(fitted):
    _, _, _, found = fitted
    spans = np.sort(found.spans())
    assert (spans[:4] < 1.1).all()
    assert (spans[4:] > 1.5).all()
    np.testing.assert_allclose(found.shares().sum(axis=1), 1.0, atol=1e-5)


def test_parts_rebuild_each_layer_in_its_own_units(fitted):
    rows, _, _, found = fitted
    codes = found.encode(rows)
    assert codes.shape == (len(TOKENS), 6)
    for one in rows:
        rebuilt = codes @ found.part(one.site).atoms
        assert float((rebuilt - one.X).norm() / one.X.norm()) < 0.12
        assert found.part(one.site).provenance["stacked"] == [r.site.name for r in rows]


def test_shuffled_layers_share_no_features():
    rows, _, _ = planted()
    # each of the two features that span both layers falls apart into two, which makes eight
    shuffled = fit_stacked(rows, n_components=8, sparsity=0.04, shuffled=True)
    assert (shuffled.spans() < 1.2).all()


def test_a_feature_without_neurons_has_no_span(fitted):
    *_, found = fitted
    atoms = found.atoms.clone()
    atoms[2] = 0.0
    dead = replace(found, atoms=atoms)
    assert np.isnan(dead.spans()[2])
    assert np.isnan(dead.shares()[2]).all()
    assert not np.isnan(np.delete(dead.spans(), 2)).any()


def test_blocks_are_the_rows_side_by_side():
    rows, _, _ = planted()
    stacked = StackedRows(rows, (1.0, 2.0))
    whole = torch.cat(list(stacked))
    torch.testing.assert_close(whole, torch.cat([rows[0].X, rows[1].X / 2], dim=1))
    assert len(stacked) == len(whole)
    lengths = [part.norm() / len(whole) ** 0.5 for part in (rows[0].X, rows[1].X)]
    assert StackedRows(rows).scales == pytest.approx(tuple(map(float, lengths)), rel=1e-4)


def test_what_cannot_be_stacked():
    rows, _, _ = planted()
    with pytest.raises(InputError, match="two different layers"):
        StackedRows(rows[:1])
    with pytest.raises(InputError, match="two different layers"):
        StackedRows([rows[0], rows[0]])
    fewer = rows[1].take(np.arange(len(TOKENS) - 8))
    with pytest.raises(InputError, match="different tokens"):
        StackedRows([rows[0], fewer])
    nothing = replace(rows[1], shards=(torch.zeros(len(TOKENS), 4),))
    with pytest.raises(InputError, match="all zero"):
        StackedRows([rows[0], nothing])
    halves = replace(rows[1], shards=(rows[1].X[:100], rows[1].X[100:]))
    with pytest.raises(InputError, match="different shards"):
        StackedRows([rows[0], halves])


def test_encoding_needs_the_same_layers(fitted):
    rows, _, _, found = fitted
    with pytest.raises(InputError, match="in this order"):
        found.encode(rows[::-1])
    with pytest.raises(InputError, match="not among"):
        found.part(Site(9))
