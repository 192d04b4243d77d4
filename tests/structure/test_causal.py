"""Amplified and ablated groups in a tiny model, whose weights say what must come out."""

import json

import numpy as np
import pytest
import torch

from cofire.errors import InputError
from cofire.models import Head, LanguageModel, Prefix, Steer
from cofire.models.channel_ablation import AblateChannels
from cofire.site import Site
from cofire.structure.ablating import ablate_groups
from cofire.structure.causal import amplify_groups
from cofire.structure.core import shared_neurons
from cofire.structure.neuron_groups import CONTROLS, ControlGroups, NeuronGroup, neuron_groups
from tiny_models import tiny_model, train_tokenizer

SITE = Site(2)  # the last layer: what its neurons write goes straight to the logits
WIDTH = 48
PROMPTS = ("I think that", "Rain falls on", "We met at noon", "The station is")
TARGETS = {"one": [40, 41], "two": [60], "three": [80]}


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    sentences = ["I think that rain falls on the station at noon.", "Rain.", "We met at noon."]
    return LanguageModel(tiny_model("llama"), train_tokenizer(sentences), name="tiny")


@pytest.fixture(scope="module")
def atoms(model) -> torch.Tensor:
    """Features of six neurons for each target, and random ones of as many.

    A target's feature has four neurons that raise all targets and two that raise its own.
    """
    logits = model.vocabulary_logits(model.output_direction(torch.eye(WIDTH), SITE.layer))
    pull = logits - logits.mean(dim=1, keepdim=True)
    raises = torch.stack([pull[:, ids].mean(dim=1) for ids in TARGETS.values()], dim=1)
    everyone = raises.mean(dim=1)
    core = everyone.abs().topk(4).indices
    generator = torch.Generator().manual_seed(1)
    atoms = torch.zeros(9, WIDTH)
    taken = set(core.tolist())
    for i in range(3):
        atoms[i, core] = everyone[core].sign()
        apart = raises[:, i] - everyone
        apart[list(taken)] = 0.0
        own = apart.abs().topk(2).indices
        taken |= set(own.tolist())
        atoms[i, own] = apart[own].sign()
    for atom in atoms[3:]:
        kept = torch.randperm(WIDTH, generator=generator)[:6]
        atom[kept] = torch.randn(6, generator=generator)
    return atoms


@pytest.fixture(scope="module")
def groups(atoms) -> list[NeuronGroup]:
    found = shared_neurons(atoms, [0, 1, 2])
    return neuron_groups(atoms, found, dict(enumerate(TARGETS)))


@pytest.fixture(scope="module")
def controls(atoms) -> ControlGroups:
    return ControlGroups(atoms, [0, 1, 2], torch.linspace(0.1, 2.0, WIDTH))


@pytest.fixture(scope="module")
def table(model, groups, controls):
    return amplify_groups(
        model, SITE, groups, TARGETS, controls, prompts=PROMPTS, target_kl=0.1, draws=2
    )


def test_the_core_raises_all_and_exclusive_neurons_their_own(table):
    core = table.row("core")
    assert (core.shifts > 0).all()
    for i, name in enumerate(TARGETS):
        shifts = table.row(f"exclusive: {name}").shifts.mean(axis=0)
        assert shifts.argmax() == i
    contrasts = {(one.name, one.control): one for one in table.contrasts()}
    assert len(contrasts) == 2 * len(CONTROLS)
    for control in CONTROLS:
        assert contrasts["core raises all", control].difference.value > 0
        assert contrasts["exclusive sets apart", control].difference.value > 0


def test_rows_cost_the_same(model, groups):
    """The group's own row, made again by hand at the strength where the divergence is 0.1."""
    from cofire.evaluation.kl_search import kl_divergence

    tokenizer = model.tokenizer
    ids = [tokenizer.bos_token_id, *tokenizer(PROMPTS[0], add_special_tokens=False)["input_ids"]]
    prefix, head = Prefix(model, ids, SITE), Head(model)
    base = head.logits(prefix.run(None, n_rows=1))[0]
    unit = groups[0].direction / groups[0].direction.norm()
    low, high = 0.0, 200.0
    for _ in range(60):
        middle = (low + high) / 2
        where = prefix.positions(1, 1)
        stream = prefix.run(Steer(unit[None], torch.tensor([middle])), n_rows=1, where=where)
        logits = head.logits(stream)
        low, high = (middle, high) if float(kl_divergence(base, logits)) < 0.1 else (low, middle)
    change = logits[0] - base
    by_hand = [float(change[ids].mean() - change.mean()) for ids in TARGETS.values()]
    found = amplify_groups(
        model,
        SITE,
        groups[:1],
        TARGETS,
        ControlGroups(torch.eye(4, WIDTH), [0], torch.ones(WIDTH)),
        prompts=PROMPTS[:1],
        target_kl=0.1,
        kinds=(),
    )
    np.testing.assert_allclose(found.row("core").shifts[0], by_hand, rtol=0.02)


def test_what_cannot_be_reached_is_missing(model, groups, controls):
    table = amplify_groups(
        model, SITE, groups[:1], TARGETS, controls, prompts=PROMPTS[:2], target_kl=1e6, kinds=()
    )
    assert np.isnan(table.row("core").shifts).all()
    assert table.row("core").missing == 2
    assert table.cell(table.row("core"), 0).value is None
    json.dumps(table.record(), allow_nan=False)


def test_a_member_without_exclusive_neurons_is_missing(model, atoms, controls):
    same = atoms.clone()
    same[1] = same[0]
    same[2] = same[0]
    found = shared_neurons(same, [0, 1, 2])
    groups = neuron_groups(same, found, dict(enumerate(TARGETS)))
    table = amplify_groups(model, SITE, groups, TARGETS, controls, prompts=PROMPTS[:2], kinds=())
    row = table.row("exclusive: two")
    assert row.neurons == 0
    assert np.isnan(row.shifts).all()


def test_controls_are_what_they_are_called(atoms, groups, controls):
    core = groups[0]
    values = torch.sort(core.direction[core.direction != 0]).values
    magnitudes = torch.linspace(0.1, 2.0, WIDTH)
    for kind in CONTROLS:
        drawn = controls.draw(core, kind, 40)
        assert ((drawn != 0).sum(dim=1) == core.size).all()
        if kind in ("permuted", "magnitude"):
            for row in drawn:
                torch.testing.assert_close(torch.sort(row[row != 0]).values, values)
    held = (atoms[:3] != 0).any(dim=0)
    alike = controls.draw(core, "magnitude", 40)
    assert not (alike[:, held] != 0).any()
    even = controls.draw(core, "permuted", 40)
    wanted = float(magnitudes[core.direction != 0].mean())

    def distance(drawn: torch.Tensor) -> float:
        means = torch.stack([magnitudes[row != 0].mean() for row in drawn])
        return float((means - wanted).abs().mean())

    assert distance(alike) < distance(even)
    other = controls.draw(core, "feature", 40)
    unit = atoms[3:] / atoms[3:].norm(dim=1, keepdim=True)
    assert all(any(set(row[row != 0].tolist()) <= set(u.tolist()) for u in unit) for row in other)
    assert torch.equal(controls.draw(core, "random", 3), controls.draw(core, "random", 3))


def test_held_channels_are_the_replacement():
    x = torch.randn(2, 3, 4)
    chosen = torch.tensor([[True, False, False, False], [False, False, True, True]])
    means = torch.arange(4.0)
    changed = AblateChannels(chosen, means)(x)
    assert (changed[0, :, 0] == 0).all()
    assert torch.equal(changed[0, :, 1:], x[0, :, 1:])
    assert (changed[1, :, 2:] == torch.tensor([2.0, 3.0])).all()
    swapped = AblateChannels(chosen, means).take(torch.tensor([1, 0]))(x)
    assert torch.equal(swapped[0, :, :2], x[0, :, :2])
    with pytest.raises(InputError, match="this batch"):
        AblateChannels(chosen, means)(x[:1])
    with pytest.raises(InputError, match="one a channel"):
        AblateChannels(chosen, torch.zeros(3))


RECALL = ("The word was{0}. The word was", "She wrote{0} and then", "It is{0}, so it is")
WORDS = {"one": " rain", "two": " noon", "three": " station"}


def test_ablation_is_measured_against_the_model_as_it_is(model, groups, controls):
    means = torch.zeros(WIDTH)
    table = ablate_groups(
        model, SITE, groups, WORDS, TARGETS, controls, means, prompts=RECALL, draws=2
    )
    by_name = {(row.what, row.control): row for row in table.rows}
    assert ("core", None) in by_name
    assert ("own exclusive", "magnitude") in by_name
    core = by_name["core", None]
    assert core.own.shape == (3, 3)
    # by hand: the last prompt, the first member
    tokenizer = model.tokenizer
    text = RECALL[2].format(WORDS["one"])
    ids = [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
    prefix, head = Prefix(model, ids, SITE), Head(model)
    base = head.logits(prefix.run(None, n_rows=1))[0]
    held = AblateChannels((groups[0].direction != 0)[None], means)
    after = head.logits(prefix.run(held, n_rows=1, where=prefix.positions(1, 1)))[0]
    change = after - base
    expected = float(change[TARGETS["one"]].mean() - change.mean())
    assert core.own[2, 0] == pytest.approx(expected, abs=1e-4)
    assert core.kl.min() >= 0
    assert table.p_value(core, "own") is None
    assert table.p_value(by_name["core", "permuted"], "apart") is not None
    json.dumps(table.record(), allow_nan=False)


def test_members_without_such_neurons_are_missing_not_zero(model, atoms, controls):
    same = atoms.clone()
    same[1] = same[0]
    found = shared_neurons(same, [0, 1, 2])
    groups = neuron_groups(same, found, dict(enumerate(TARGETS)))
    table = ablate_groups(
        model, SITE, groups, WORDS, TARGETS, controls, torch.zeros(WIDTH), prompts=RECALL[:2]
    )
    own = next(row for row in table.rows if (row.what, row.control) == ("own exclusive", None))
    assert np.isnan(own.own[:, :2]).all()
    assert not np.isnan(own.own[:, 2]).any()
    estimate = table.estimate(own, "own")
    assert (estimate.n, estimate.missing) == (2, 4)


@pytest.mark.parametrize("targets", [{}, {"one": [1]}, {"one": [1], "two": [2]}])
def test_members_need_tokens(model, groups, controls, targets):
    with pytest.raises(InputError, match="Every member needs tokens"):
        amplify_groups(model, SITE, groups, targets, controls, prompts=PROMPTS)


def test_templates_need_a_place(model, groups, controls):
    with pytest.raises(InputError, match=r"\{0\}"):
        ablate_groups(
            model, SITE, groups, WORDS, TARGETS, controls, torch.zeros(WIDTH), prompts=["no place"]
        )


def test_controls_need_other_features(atoms):
    with pytest.raises(InputError, match="none left"):
        ControlGroups(atoms[:3], [0, 1, 2], torch.ones(WIDTH))
    with pytest.raises(InputError, match="one a neuron"):
        ControlGroups(atoms, [0], torch.ones(3))
