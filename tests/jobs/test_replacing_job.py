"""Fidelity of dictionaries side by side, on a tiny model."""

from collections.abc import Mapping

import pytest
import torch

from cofire.activations import Activations
from cofire.corpus import Corpus
from cofire.data import bundled_concepts
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.factorization import SemiNMF
from cofire.jobs.replacing import measure_replacing, with_equal_activity
from cofire.models import LanguageModel, capture_activations
from cofire.site import Site
from tiny_models import tiny_model, train_tokenizer

SITE = Site(1, "mlp")


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    tokenizer = train_tokenizer(text.text for text in bundled_concepts())
    return LanguageModel(tiny_model("llama"), tokenizer, name="tiny")


@pytest.fixture(scope="module")
def activations(model: LanguageModel) -> Activations:
    texts = list(bundled_concepts())
    chosen = [t for t in texts if t.split == "train"][:60]
    chosen += [t for t in texts if t.split == "heldout"][:25]
    return capture_activations(model, Corpus(chosen), [SITE])[SITE]


@pytest.fixture(scope="module")
def dictionaries(activations: Activations) -> Mapping[str, Dictionary]:
    train = activations.where_split("train")
    snmf = SemiNMF(n_components=16, sparsity=0.3, max_iter=20, tol=1e-2).fit(train)
    atoms = torch.randn(16, 48, generator=torch.Generator().manual_seed(0))
    return {
        "snmf": Dictionary.from_estimator(snmf, SITE),
        "random": Dictionary(atoms, SITE, penalty=0.01),
    }


def test_figures_of_every_dictionary(
    model: LanguageModel, activations: Activations, dictionaries: Mapping[str, Dictionary]
) -> None:
    found = measure_replacing(model, dictionaries, activations, most_tokens=400)
    assert list(found) == ["snmf", "random"]
    assert len(found["snmf"].figures) == 6
    for one in found.values():
        assert one.tokens > 200
        for name, figure in one.figures.items():
            assert figure.name == name
            if name.startswith("loss-"):  # a random model may predict no worse without the layer
                assert (figure.value is None) == (figure.note is not None and not figure.interval)
                continue
            assert figure.value is not None
            assert figure.interval is not None
            assert figure.interval.low <= figure.value <= figure.interval.high
    snmf, random = found["snmf"], found["random"]
    assert (snmf.value("unexplained-variance") or 9) < (random.value("unexplained-variance") or 0)
    assert (snmf.value("divergence-recovered-mean") or -9) > (
        random.value("divergence-recovered-mean") or 9
    )


def test_equal_activity_follows_one_of_them(
    activations: Activations, dictionaries: Mapping[str, Dictionary], model: LanguageModel
) -> None:
    equal = with_equal_activity(dictionaries, "random", activations)
    assert equal["random"] is dictionaries["random"]
    found = measure_replacing(model, equal, activations, most_tokens=100)
    values = [one.value("active-features") for one in found.values()]
    assert values[0] == pytest.approx(values[1], rel=0.15)  # chosen on training rows
    with pytest.raises(InputError, match="There is no dictionary 'sae'"):
        with_equal_activity(dictionaries, "sae", activations)


def test_bad_input(
    model: LanguageModel, activations: Activations, dictionaries: Mapping[str, Dictionary]
) -> None:
    with pytest.raises(InputError, match="hold out"):
        measure_replacing(model, dictionaries, activations.where_split("train"))
    other = Dictionary(torch.eye(48), Site(0, "mlp"))
    with pytest.raises(InputError, match="other is at blocks.0.mlp.hook_post"):
        measure_replacing(model, {"other": other}, activations)
