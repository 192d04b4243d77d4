"""Fluency is the unsteered model's own likelihood, on the scale of its own text."""

import numpy as np
import pytest
import torch

from cofire.errors import InputError
from cofire.evaluation.fluency import FluencyScale, mean_log_likelihoods
from cofire.models import load_model

TEXTS = ["On Monday it rained.", "x", "", "The quick brown fox sat down and said nothing at all."]


@pytest.fixture(scope="module")
def model(tiny_folder):
    return load_model(tiny_folder, device="cpu")


def test_unsteered_text_is_fluent_and_both_ends_fade():
    unsteered = np.linspace(-4.0, -2.0, 101)
    scale = FluencyScale.of(np.append(unsteered, np.nan))
    assert scale.generations == 101
    rated = [scale.rate(value) for value in unsteered.tolist()]
    assert np.mean(np.array(rated) == 2.0) == pytest.approx(0.9, abs=0.02)
    assert scale.rate(scale.low - 0.9) == pytest.approx(1.0)
    assert scale.rate(-20.0) == 0.0
    assert scale.rate(0.0) == 0.0  # a text repeated until it is certain
    assert scale.rate(None) is None
    assert scale.rate(float("nan")) is None


@pytest.mark.parametrize("values", [np.zeros(5), np.full(50, np.nan), np.zeros(50)])
def test_too_few_or_equal_generations_give_no_scale(values):
    with pytest.raises(InputError, match="unsteered"):
        FluencyScale.of(values)


def test_log_likelihoods_are_those_of_each_text_alone(model):
    found = mean_log_likelihoods(model, TEXTS)
    for text, value in zip(TEXTS, found, strict=True):
        ids = [1, *model.tokenizer(text, add_special_tokens=False)["input_ids"]]
        if len(ids) == 1:
            assert np.isnan(value)
            continue
        with torch.inference_mode():
            logits = model.model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
        picked = logits[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]
        assert value == pytest.approx(picked.mean().item(), abs=1e-5)
    assert np.allclose(mean_log_likelihoods(model, TEXTS, batch_tokens=1), found, equal_nan=True)


def test_a_text_longer_than_the_model_counts_with_what_fits(model):
    long = "word " * 200
    assert np.isfinite(mean_log_likelihoods(model, [long])[0])
