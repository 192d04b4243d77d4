"""A row does not depend on which texts it shared a batch with, nor on where the padding went."""

from collections.abc import Callable

import pytest
import torch

from cofire.corpus import Corpus
from cofire.models import CaptureSettings, LanguageModel, capture_activations, capture_texts
from cofire.models.batching import pad, plan_batches
from cofire.site import Site
from tiny_models import FAMILIES

SITES = [Site(2, "resid_post"), Site(1, "mlp")]
Build = Callable[[str], LanguageModel]


@pytest.mark.parametrize("name", FAMILIES)
def test_rows_are_the_same_for_every_batching(name: str, build: Build, corpus: Corpus) -> None:
    model = build(name)
    alone = capture_activations(model, corpus, SITES, CaptureSettings(batch_size=1))
    for side in ("right", "left"):
        for size in (2, 7):
            settings = CaptureSettings(batch_size=size, padding_side=side)
            together = capture_activations(model, corpus, SITES, settings)
            for site in SITES:
                torch.testing.assert_close(
                    together[site].X, alone[site].X, rtol=1e-4, atol=1e-4, msg=f"{side} {size}"
                )


def test_order_of_texts_is_the_order_asked_for(build: Build, corpus: Corpus) -> None:
    model = build("llama")
    whole = capture_activations(model, corpus, SITES)[SITES[0]]
    picked = capture_texts(model, corpus, [5, 0, 3], SITES)
    rows = [i for text in (5, 0, 3) for i in range(len(whole)) if whole.tokens.text_id[i] == text]
    torch.testing.assert_close(picked.activations[SITES[0]], whole.X[rows], rtol=1e-4, atol=1e-4)
    assert picked.tokens.token_id.tolist() == whole.tokens.token_id[rows].tolist()


def test_same_call_gives_same_bytes(build: Build, corpus: Corpus) -> None:
    first, second = (capture_texts(build("qwen3"), corpus, range(7), SITES) for _ in range(2))
    assert all(torch.equal(first.activations[site], second.activations[site]) for site in SITES)


def test_batches_keep_to_both_limits() -> None:
    lengths = [5, 1, 9, 3, 3, 30, 2]
    batches = list(plan_batches(lengths, batch_tokens=12, batch_size=3))
    assert sorted(place for batch in batches for place in batch) == list(range(7))
    assert batches[0] == [5]
    for batch in batches[1:]:
        assert len(batch) <= 3
        assert len(batch) * max(lengths[place] for place in batch) <= 12


def test_padding_of_a_batch_costs_no_more_than_another_pass() -> None:
    lengths = [10] * 3 + [9, 8, 7, 2, 2]
    batches = list(plan_batches(lengths, batch_tokens=1000, pass_cost=4))
    assert [[lengths[place] for place in batch] for batch in batches] == [
        [10, 10, 10, 9, 8],
        [7],
        [2, 2],
    ]


def test_padding_counts_positions_from_the_first_token() -> None:
    tokens, mask, positions = pad([[7, 8, 9], [5]], 0, "left", torch.device("cpu"))
    assert tokens.tolist() == [[7, 8, 9], [0, 0, 5]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert positions.tolist() == [[0, 1, 2], [0, 0, 0]]
    tokens, mask, positions = pad([[7, 8, 9], [5]], 0, "right", torch.device("cpu"))
    assert tokens.tolist() == [[7, 8, 9], [5, 0, 0]]
    assert positions.tolist() == [[0, 1, 2], [0, 0, 0]]
