"""What must be true of the small real model."""

import subprocess
import sys

import pytest
import torch

from cofire.corpus import Corpus, Text
from cofire.models import CaptureSettings, LanguageModel, capture_activations
from cofire.site import Site

pytestmark = pytest.mark.model

SENTENCES = [
    "The capital of France is Paris, and its river is the Seine.",
    "On Monday the library opens at nine.",
    "Rain fell on the empty square all night long while the baker, half asleep, lit his oven.",
    "2 + 2 = 4",
]


@pytest.fixture(scope="module")
def sentences() -> Corpus:
    return Corpus(Text(sentence) for sentence in SENTENCES)


def test_description(gemma: LanguageModel) -> None:
    described = gemma.describe()
    assert described["architecture"] == "Gemma3ForCausalLM"
    assert described["licence"] == "Gemma Terms of Use"
    assert (gemma.n_layers, gemma.d_model, gemma.d_mlp(9)) == (18, 640, 2048)
    assert described["d_mlp"] == 2048
    assert gemma.context_length == 32768
    assert len(gemma.fingerprint) == 64


def test_converted_model_still_knows_things(gemma: LanguageModel) -> None:
    """The conversion keeps what the weights know: greedy continuations make sense."""
    for prompt, answer in [
        ("Water boils at a temperature of", "100 degrees Celsius"),
        ("One, two, three, four,", "five, six"),
        ("Monday, Tuesday, Wednesday,", "Thursday, Friday"),
    ]:
        ids = gemma.tokenizer(prompt, return_tensors="pt")
        with torch.inference_mode():
            output = gemma.model.generate(**ids, max_new_tokens=8, do_sample=False)
        continuation = gemma.tokenizer.decode(output[0, ids["input_ids"].shape[1] :])
        assert answer in continuation


@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_are_the_same_for_every_batching(
    gemma: LanguageModel, sentences: Corpus, side: str
) -> None:
    sites = [Site(9, "mlp"), Site(17, "resid_post")]
    alone = capture_activations(gemma, sentences, sites, CaptureSettings(batch_size=1))
    settings = CaptureSettings(padding_side=side)
    together = capture_activations(gemma, sentences, sites, settings)
    for site in sites:
        scale = alone[site].X.abs().amax(dim=1, keepdim=True)
        assert ((together[site].X - alone[site].X).abs() <= 1e-4 * scale).all()


def test_sites_add_up_to_the_residual_stream(gemma: LanguageModel, sentences: Corpus) -> None:
    """Neurons, sent through the output direction, are what the MLP adds to the stream."""
    neurons, added = Site(9, "mlp"), Site(9, "mlp_out")
    captured = capture_activations(gemma, sentences, [neurons, added])
    image = gemma.output_direction(captured[neurons].X, 9)
    torch.testing.assert_close(image, captured[added].X, rtol=1e-3, atol=1e-2)


def test_vocabulary_logits_are_the_models_own(gemma: LanguageModel) -> None:
    ids = gemma.tokenizer("The capital of France is", return_tensors="pt")
    with torch.inference_mode():
        logits = gemma.model(**ids).logits[0]
    corpus = Corpus([Text("The capital of France is")])
    stream = capture_activations(gemma, corpus, [Site(17, "resid_post")])
    read = gemma.vocabulary_logits(stream[Site(17, "resid_post")].X)
    torch.testing.assert_close(read, logits[1:].float(), rtol=1e-3, atol=1e-2)


def test_pieces_join_to_the_text(gemma: LanguageModel) -> None:
    text = "  naïve 𓀀 東京\n\n\tend "
    tokens = capture_activations(gemma, Corpus([Text(text)]), [Site(0)])[Site(0)].tokens
    assert "".join(tokens.surface(row) for row in range(len(tokens))) == text


def test_importing_the_package_alone_loads_no_model_library() -> None:
    code = "import sys, cofire; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
