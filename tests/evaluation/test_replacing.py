"""Predictions with something else in the activation's place, against hooks written by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cofire.corpus import Corpus, Text
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.evaluation.equal_activity import active_a_row, at_equal_activity
from cofire.evaluation.loss_recovered import loss_recovered
from cofire.evaluation.replacing import Replacement, replace_activations
from cofire.models import CaptureSettings, LanguageModel, capture_activations
from cofire.site import Site
from tiny_models import tiny_model, train_tokenizer

SITE = Site(1, "mlp")
TEXTS = [
    "rain falls on the station at noon",
    "the station is closed",
    "a",
    "noon rain falls and falls on the closed station",
    "the rain",
]
WIDTH = 48


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return LanguageModel(tiny_model("llama"), train_tokenizer(TEXTS), name="tiny")


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus([Text(text, None) for text in TEXTS])


@pytest.fixture(scope="module")
def rows(model: LanguageModel, corpus: Corpus) -> torch.Tensor:
    return capture_activations(model, corpus, [SITE])[SITE].X


@pytest.fixture(scope="module")
def dictionaries(rows: torch.Tensor) -> dict[str, Dictionary]:
    eye = torch.eye(WIDTH)
    generator = torch.Generator().manual_seed(0)
    return {
        "whole": Dictionary(eye, SITE, "linear", encoder_weight=eye),
        "nothing": Dictionary(torch.zeros(2, WIDTH), SITE),
        "mean": Dictionary(torch.zeros(2, WIDTH), SITE, offset=rows.mean(dim=0)),
        "some": Dictionary(torch.randn(20, WIDTH, generator=generator), SITE),
    }


@pytest.fixture(scope="module")
def found(
    model: LanguageModel,
    corpus: Corpus,
    rows: torch.Tensor,
    dictionaries: dict[str, Dictionary],
) -> dict[str, Replacement]:
    return replace_activations(
        model,
        dictionaries,
        corpus,
        rows.mean(dim=0),
        settings=CaptureSettings(batch_tokens=30),
    )


def test_what_changes_nothing_loses_nothing(found: dict[str, Replacement]) -> None:
    whole = found["whole"]
    assert loss_recovered(whole.divergence).value == pytest.approx(1.0, abs=1e-4)
    assert whole.divergence.reconstructed.max() < 1e-6
    assert whole.divergence.zero_ablated.min() > 1e-4
    np.testing.assert_allclose(
        whole.cross_entropy.reconstructed, whole.cross_entropy.clean, atol=1e-4
    )


def test_what_gives_zeros_or_the_mean_is_the_ablation(found: dict[str, Replacement]) -> None:
    nothing, mean = found["nothing"], found["mean"]
    np.testing.assert_allclose(
        nothing.divergence.reconstructed, nothing.divergence.zero_ablated, rtol=1e-4
    )
    np.testing.assert_allclose(
        mean.cross_entropy.reconstructed, mean.cross_entropy.mean_ablated, rtol=1e-5
    )
    assert loss_recovered(mean.divergence).value == pytest.approx(0.0, abs=1e-5)
    assert not np.allclose(mean.divergence.mean_ablated, mean.divergence.zero_ablated)


def test_losses_are_those_of_the_model_changed_by_hand(
    model: LanguageModel, dictionaries: dict[str, Dictionary], found: dict[str, Replacement]
) -> None:
    some, dictionary = found["some"], dictionaries["some"]
    tokenizer, inner = model.tokenizer, model.model
    projection = inner.get_submodule("model.layers.1.mlp.down_proj")
    for number, text in enumerate(TEXTS):
        ids = torch.tensor([[1, *tokenizer(text, add_special_tokens=False)["input_ids"]]])

        def rebuild(_module: object, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
            x = args[0].clone()
            x[0, 1:] = dictionary.decode(dictionary.encode(x[0, 1:]))  # not at the first token
            return (x,)

        with torch.no_grad():
            clean = inner(ids).logits[0].log_softmax(dim=-1)
            hook = projection.register_forward_pre_hook(rebuild)
            changed = inner(ids).logits[0].log_softmax(dim=-1)
            hook.remove()
        following = ids[0, 2:]
        loss = -changed[1:-1].gather(1, following[:, None])[:, 0]
        kl = (clean.exp() * (clean - changed)).sum(dim=-1)[1:-1]
        own = some.cross_entropy.text_id == number
        np.testing.assert_allclose(some.cross_entropy.reconstructed[own], loss, rtol=1e-4)
        np.testing.assert_allclose(some.divergence.reconstructed[own], kl, rtol=1e-3, atol=1e-6)
        base = -clean[1:-1].gather(1, following[:, None])[:, 0]
        np.testing.assert_allclose(some.cross_entropy.clean[own], base, rtol=1e-4)
    assert len(some.cross_entropy.text_id) == sum(
        len(tokenizer(text, add_special_tokens=False)["input_ids"]) - 1 for text in TEXTS
    )


def test_texts_are_drawn_whole_with_a_seed(
    model: LanguageModel, corpus: Corpus, dictionaries: dict[str, Dictionary], rows: torch.Tensor
) -> None:
    def read(seed: int) -> list[int]:
        found = replace_activations(
            model,
            {"some": dictionaries["some"]},
            corpus,
            rows.mean(dim=0),
            most_tokens=20,
            seed=seed,
        )
        return found["some"].cross_entropy.text_id.tolist()

    assert read(0) == read(0)
    assert len({tuple(sorted(set(read(seed)))) for seed in range(4)}) > 1


def test_bad_input(
    model: LanguageModel, corpus: Corpus, dictionaries: dict[str, Dictionary], rows: torch.Tensor
) -> None:
    mean, some = rows.mean(dim=0), dictionaries["some"]
    with pytest.raises(InputError, match="Dictionaries of one site"):
        replace_activations(model, {}, corpus, mean)
    with pytest.raises(InputError, match="Dictionaries of one site"):
        replace_activations(
            model, {"a": some, "b": replace(some, site=Site(0, "mlp"))}, corpus, mean
        )
    with pytest.raises(InputError, match="narrow encodes rows of 3 channels"):
        replace_activations(model, {"narrow": Dictionary(torch.eye(3), SITE)}, corpus, mean)
    with pytest.raises(InputError, match="The mean row has 47 channels"):
        replace_activations(model, {"some": some}, corpus, mean[1:])
    with pytest.raises(InputError, match="No text has a token to predict"):
        replace_activations(model, {"some": some}, Corpus([Text("a", None)]), mean)


def test_equal_activity() -> None:
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(400, WIDTH, generator=generator)
    atoms = torch.randn(30, WIDTH, generator=generator)
    weight = atoms.T.contiguous()
    limited = Dictionary(atoms, SITE, top_k=3, penalty=0.5)
    for wanted in (2.0, 5.0, 9.0):
        assert active_a_row(at_equal_activity(limited, rows, wanted), rows) == pytest.approx(
            wanted, rel=0.05
        )
    topk = Dictionary(atoms, SITE, "topk", encoder_weight=weight, top_k=8)
    assert at_equal_activity(topk, rows, 3.2).top_k == 3
    unpenalised = Dictionary(atoms, SITE, top_k=8)
    assert at_equal_activity(unpenalised, rows, 3.2).top_k == 3
    assert at_equal_activity(unpenalised, rows, 3.2).penalty == 0
    relu = Dictionary(atoms, SITE, "relu", encoder_weight=weight)
    sparser = at_equal_activity(relu, rows, 4.0)
    assert sparser.encoder == "jumprelu"
    assert active_a_row(sparser, rows) == pytest.approx(4.0, rel=0.05)
    codes = sparser.encode(rows)
    assert torch.equal(codes, torch.where(codes > 0, relu.encode(rows), 0.0))
    most = active_a_row(relu, rows)
    assert active_a_row(at_equal_activity(relu, rows, most + 5), rows) == most  # no denser
    linear = Dictionary(atoms, SITE, "linear", encoder_weight=weight)
    assert at_equal_activity(linear, rows, 4.0) is linear
    assert at_equal_activity(limited, rows, 2.0).provenance["equal_activity"] == 2.0
    with pytest.raises(InputError, match="a number above 0"):
        at_equal_activity(limited, rows, 0.0)
