"""Features from layer to layer: planted fates, a null, weights, and layers of other tokens."""

import json

import numpy as np
import pytest
import torch

from builders import token_table
from cofire.errors import InputError
from cofire.structure.flow import follow_features
from cofire.structure.layer_links import (
    LinkSettings,
    correlations,
    link_layers,
    reach_through_stream,
    shuffled_texts,
)

ROWS = 900
TEXTS = [f"one two three {i} five six" for i in range(ROWS // 6)]
TOKENS = token_table(TEXTS)
HELDOUT_TEXTS = np.arange(len(TEXTS)) % 4 == 3
TEXT_ID = TOKENS.text_id
HELDOUT = HELDOUT_TEXTS[TEXT_ID]


def sparse(seed: int, columns: int) -> torch.Tensor:
    """Codes that fire on a tenth of the rows."""
    rng = np.random.default_rng(seed)
    codes = (rng.random((ROWS, columns)) < 0.1) * rng.gamma(2.0, 1.0, (ROWS, columns))
    return torch.from_numpy(codes.astype(np.float32))


def planted() -> tuple[torch.Tensor, torch.Tensor]:
    """0 persists as 0, 1 splits into 1 and 2, 2 and 3 merge into 3, 4 dies; 4 and 5 are born."""
    lower = sparse(0, 5)
    higher = sparse(1, 6)
    higher[:, 0] = lower[:, 0]
    half = torch.rand(ROWS, generator=torch.Generator().manual_seed(0)) < 0.5
    higher[:, 1] = torch.where(half, lower[:, 1], 0.0)
    higher[:, 2] = torch.where(half, 0.0, lower[:, 1])
    higher[:, 3] = lower[:, 2] + lower[:, 3]
    return lower, higher


def test_correlations_are_pearsons():
    a, b = sparse(2, 4), sparse(3, 5)
    expected = np.corrcoef(a.numpy(), b.numpy(), rowvar=False)[:4, 4:]
    np.testing.assert_allclose(correlations(a, b), expected, atol=1e-5)


def test_planted_fates():
    lower, higher = planted()
    flow = follow_features({3: lower, 5: higher}, {3: TOKENS, 5: TOKENS}, HELDOUT_TEXTS)
    (step,) = flow.steps
    assert (step.lower, step.higher) == (3, 5)
    assert step.fates == ("persists", "splits", "merges", "merges", "dies")
    assert step.origins == ("persists", "split", "split", "merged", "born", "born")
    pairs = {(link.lower, link.higher) for link in step.links}
    assert pairs == {(0, 0), (1, 1), (1, 2), (2, 3), (3, 3)}
    assert step.count("born") == 2
    assert step.count("merges") == 2
    assert all(link.heldout is not None and link.heldout > 0.2 for link in step.links)
    assert step.wired_share is None
    json.dumps(flow.record(), allow_nan=False)


def test_counts_at_other_thresholds():
    lower, higher = planted()
    flow = follow_features({0: lower, 1: higher}, {0: TOKENS, 1: TOKENS}, HELDOUT_TEXTS)
    counts = {line["correlation"]: line for line in flow.steps[0].counts}
    chosen = flow.steps[0]
    assert counts[0.4]["links"] == len(chosen.links)
    assert counts[0.4]["dies"] == chosen.count("dies")
    links = [line["links"] for line in flow.steps[0].counts]
    assert links == sorted(links, reverse=True)


def test_layers_that_have_nothing_in_common_can_be_kept_as_json():
    codes = {1: sparse(5, 4), 2: sparse(6, 4)}
    flow = follow_features(codes, {1: TOKENS, 2: TOKENS}, HELDOUT_TEXTS)
    (step,) = json.loads(json.dumps(flow.record(), allow_nan=False))["steps"]
    assert step["null_quantile"] is None
    assert step["least"] is None
    assert step["links"] == []
    assert step["fates"] == ["dies"] * 4


def test_unrelated_codes_are_not_linked():
    found = link_layers(
        sparse(4, 20), sparse(5, 20), TEXT_ID, HELDOUT, LinkSettings(correlation=0.05)
    )
    assert found.linked.sum() <= 1
    assert found.null_quantile > 0.1


def test_shuffled_texts_stay_whole():
    order = shuffled_texts(TEXT_ID, np.random.default_rng(0)).numpy()
    assert sorted(order.tolist()) == list(range(ROWS))
    runs = order.reshape(-1, 6)
    assert (np.diff(runs, axis=1) == 1).all()
    assert (np.diff(runs[:, 0]) < 0).any()


def test_what_only_training_shows_is_not_a_link():
    lower, higher = sparse(6, 3), sparse(7, 3)
    train = torch.from_numpy(~HELDOUT)
    higher[:, 0] = torch.where(train, lower[:, 0], higher[:, 0])
    found = link_layers(lower, higher, TEXT_ID, HELDOUT)
    assert found.train[0, 0] > 0.9
    assert not found.linked[0, 0]
    without = link_layers(lower[train], higher[train], TEXT_ID[~HELDOUT], HELDOUT[~HELDOUT])
    assert without.linked[0, 0]
    assert without.heldout is None


def test_codes_that_never_vary_have_no_correlation():
    lower, higher = planted()
    lower[:, 0] = 0.0
    found = link_layers(lower, higher, TEXT_ID, HELDOUT)
    assert np.isnan(found.train[0]).all()
    assert not found.linked[0].any()


def test_weights_join_what_they_were_made_to_join():
    generator = torch.Generator().manual_seed(0)
    read = torch.randn(64, 128, generator=generator)
    atoms = torch.zeros(4, 128)
    for i, atom in enumerate(atoms):
        atom[10 * i : 10 * i + 8] = torch.rand(8, generator=generator) + 0.5
    written = torch.randn(4, 64, generator=generator)
    written[1] = 3 * (atoms[2] @ read.T)
    written[3] = -(atoms[0] @ read.T)
    found = reach_through_stream(written, atoms, [torch.randn(64, 128), read])
    wired = np.abs(found.cosine) > found.null_quantile
    assert found.cosine[1, 2] == pytest.approx(1.0, abs=1e-5)
    assert found.cosine[3, 0] == pytest.approx(-1.0, abs=1e-5)
    assert wired[1, 2]
    assert wired[3, 0]
    assert wired.sum() <= 4
    assert 0.2 < found.null_quantile < 0.6


def test_weights_stand_beside_links():
    lower, higher = planted()
    paths = reach_through_stream(
        torch.randn(5, 8), torch.eye(6, 30), [torch.randn(8, 30)], permutations=2
    )
    flow = follow_features(
        {0: lower, 1: higher}, {0: TOKENS, 1: TOKENS}, HELDOUT_TEXTS, weights={(0, 1): paths}
    )
    link = flow.steps[0].links[0]
    assert link.cosine == pytest.approx(float(paths.cosine[link.lower, link.higher]))
    assert flow.steps[0].wired_share is not None


def test_dead_features_are_no_part_of_what_weights_are_held_against():
    generator = torch.Generator().manual_seed(0)
    atoms, written, read = (torch.randn(n, 64, generator=generator) for n in (100, 5, 64))
    alive = reach_through_stream(written, atoms[:5], [read])
    atoms[5:] = 0.0
    found = reach_through_stream(written, atoms, [read])
    assert np.isnan(found.cosine[:, 5:]).all()
    assert found.null_quantile > 0.75 * alive.null_quantile
    lower, higher = planted()
    flow = follow_features(
        {0: lower, 1: higher},
        {0: TOKENS, 1: TOKENS},
        HELDOUT_TEXTS,
        weights={(0, 1): reach_through_stream(written, torch.zeros(6, 64), [read])},
    )
    (step,) = flow.steps
    assert step.links
    assert {(link.cosine, link.wired) for link in step.links} == {(None, None)}
    assert (step.wired_share, step.wired_others) == (None, None)


def test_one_pair_that_is_linked_leaves_no_others():
    lower, higher = planted()
    paths = reach_through_stream(torch.randn(1, 8), torch.eye(1, 30), [torch.randn(8, 30)])
    flow = follow_features(
        {0: lower[:, :1], 1: higher[:, :1]},
        {0: TOKENS, 1: TOKENS},
        HELDOUT_TEXTS,
        weights={(0, 1): paths},
    )
    (step,) = flow.steps
    assert len(step.links) == 1
    assert step.wired_share is not None
    assert step.wired_others is None


def test_layers_of_other_tokens_are_refused():
    lower, higher = planted()
    other = token_table([*TEXTS[:-1], "one two three 9 five seven"])
    with pytest.raises(InputError, match="Layers 0 and 1 are of different tokens"):
        follow_features({0: lower, 1: higher}, {0: TOKENS, 1: other}, HELDOUT_TEXTS)


def test_one_layer_is_no_flow():
    lower, _ = planted()
    with pytest.raises(InputError, match="at least two layers"):
        follow_features({0: lower}, {0: TOKENS}, HELDOUT_TEXTS)


@pytest.mark.parametrize(
    "settings", [{"correlation": 0.0}, {"confirmation": 2.0}, {"shuffles": 0}, {"false_links": 1.0}]
)
def test_settings_out_of_range(settings):
    with pytest.raises(InputError):
        LinkSettings(**settings)
