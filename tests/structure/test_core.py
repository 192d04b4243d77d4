"""Core and exclusive neurons of planted features."""

import numpy as np
import pytest
import torch

from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.site import Site
from cofire.structure.core import core_direction, exclusive_direction, shared_neurons
from cofire.structure.sharing import measure_sharing
from planted_days import CORE, OWN, day_atoms


def test_planted_core_and_exclusive_neurons_are_found():
    found = shared_neurons(day_atoms(0), [0, 1, 2])
    assert sorted(one.neuron for one in found.core) == list(range(CORE))
    assert [one.sign for one in sorted(found.core, key=lambda one: one.neuron)] == [1, -1] * 4
    assert not found.between
    for day in range(3):
        own = sorted(one.neuron for one in found.exclusive(day))
        assert own == list(range(CORE + OWN * day, CORE + OWN * (day + 1)))


def test_the_share_decides():
    atoms = torch.zeros(4, 20)
    atoms[:, 0] = 1.0  # all four
    atoms[:3, 1] = 1.0
    atoms[:2, 2] = 1.0
    sizes = {
        share: len(shared_neurons(atoms, range(4), share=share).core)
        for share in (0.1, 0.5, 0.75, 1.0)
    }
    assert sizes == {0.1: 3, 0.5: 3, 0.75: 2, 1.0: 1}
    assert [one.neuron for one in shared_neurons(atoms, range(4), share=1.0).between] == [1, 2]


def test_opposite_signs_are_not_shared():
    atoms = torch.zeros(2, 8)
    atoms[0, 0], atoms[1, 0] = 1.0, -1.0
    found = shared_neurons(atoms, [0, 1])
    assert not found.core
    assert [one.sign for one in found.exclusive(0) + found.exclusive(1)] == [1, -1]


def test_directions():
    atoms = day_atoms(0)
    found = shared_neurons(atoms, [0, 1, 2])
    core = core_direction(found, atoms.shape[1])
    torch.testing.assert_close(core[:CORE], atoms[:3, :CORE].mean(dim=0))
    assert (core[CORE:] == 0).all()
    own = exclusive_direction(found, 1, atoms.shape[1])
    assert torch.equal(own.nonzero()[:, 0], torch.arange(CORE + OWN, CORE + 2 * OWN))
    torch.testing.assert_close(own[own != 0], atoms[1][own != 0])


def test_a_planted_core_is_more_than_chance():
    dictionary = Dictionary(day_atoms(0), Site(2))
    planted = measure_sharing(dictionary, [0, 1, 2], draws=99)
    assert len(planted.neurons.core) == CORE
    assert planted.core_by_chance < 3
    assert planted.core_p_value == pytest.approx(0.01)
    assert (planted.overlap.p_reuse[np.triu_indices(3, 1)] <= 0.02).all()
    assert planted.mixing.mixed


def test_random_features_have_no_core_beyond_chance():
    dictionary = Dictionary(day_atoms(0), Site(2))
    p_values = [
        measure_sharing(dictionary, features, draws=99).core_p_value
        for features in ([3, 4, 5], [6, 7, 8], [9, 10, 11])
    ]
    assert max(p_values) > 0.1
    assert min(p_values) > 0.01


def test_records_are_plain_json():
    import json

    dictionary = Dictionary(day_atoms(0), Site(2))
    record = measure_sharing(dictionary, [0, 1], draws=20).record()
    again = json.loads(json.dumps(record, allow_nan=False))
    assert again["overlap"]["shared"] == [[14, 8], [8, 14]]
    assert len(again["exclusive"]["1"]) == OWN


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_shares_out_of_range(share):
    with pytest.raises(InputError, match="share"):
        shared_neurons(day_atoms(0), [0, 1], share=share)
