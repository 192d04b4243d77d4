"""Capture: what is computed, what comes back, and what goes wrong."""

from collections.abc import Callable

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from cofire.corpus import Corpus, Text
from cofire.errors import InputError, ModelError
from cofire.models import (
    CaptureSettings,
    LanguageModel,
    capture_activations,
    capture_batches,
    capture_texts,
)
from cofire.site import Site
from tiny_models import CONTEXT, hooks, tiny_model

Build = Callable[[str], LanguageModel]


@pytest.mark.parametrize("site", [Site(1, "mlp"), Site(1, "resid_pre"), Site(0, "mlp_out")])
def test_nothing_runs_after_the_last_site(build: Build, corpus: Corpus, site: Site) -> None:
    model = build("llama")
    ran: list[str] = []
    hooks = [
        module.register_forward_pre_hook(lambda _module, _args, name=name: ran.append(name))
        for name, module in model.model.named_modules()
    ]
    try:
        capture_activations(model, corpus, [site])
    finally:
        for hook in hooks:
            hook.remove()
    assert "lm_head" not in ran
    assert "model.norm" not in ran
    assert "model.layers.2" not in ran
    assert ("model.layers.1.mlp.down_proj" in ran) == (site == Site(1, "mlp"))


def test_no_hooks_stay_behind(build: Build, corpus: Corpus) -> None:
    model = build("llama")
    before = hooks(model.model)
    capture_activations(model, corpus, [Site(1, "mlp"), Site(2, "resid_pre")])
    assert hooks(model.model) == before
    ids = torch.tensor([[1, 5, 6]])
    assert model.model(ids).logits.shape == (1, 3, 320)


def test_sites_share_the_token_table(build: Build, corpus: Corpus) -> None:
    sites = [Site(0, "mlp"), Site(2, "resid_post"), Site(0, "mlp")]
    captured = capture_activations(build("gpt2"), corpus, sites)
    assert list(captured) == sites[:2]
    first, second = captured.values()
    assert first.tokens is second.tokens
    assert first.shape == (len(first.tokens), 48)
    assert first.provenance["corpus"] == corpus.fingerprint
    assert first.provenance["model"]["name"] == "gpt2"


def test_slices_add_up_to_the_whole(build: Build, corpus: Corpus) -> None:
    model, site = build("gemma2"), Site(1, "mlp")
    whole = capture_activations(model, corpus, [site])[site]
    parts = list(capture_batches(model, corpus, [site], texts_per_slice=3))
    assert len(parts) == 3
    rows = torch.cat([part.activations[site] for part in parts])
    torch.testing.assert_close(rows, whole.X, rtol=1e-4, atol=1e-4)
    text_ids = [number for part in parts for number in part.tokens.text_id.tolist()]
    assert text_ids == whole.tokens.text_id.tolist()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_result_has_the_number_type_asked_for(build: Build, corpus: Corpus, dtype: str) -> None:
    site = Site(1, "mlp")
    captured = capture_activations(build("llama"), corpus, [site], CaptureSettings(dtype=dtype))
    exact = capture_activations(build("llama"), corpus, [site])
    assert str(captured[site].X.dtype) == f"torch.{dtype}"
    torch.testing.assert_close(captured[site].X.float(), exact[site].X, rtol=1e-2, atol=1e-3)


def test_progress_counts_rows(build: Build, corpus: Corpus) -> None:
    seen: list[tuple[int, int]] = []
    settings = CaptureSettings(batch_size=2)
    captured = capture_texts(
        build("llama"),
        corpus,
        range(len(corpus)),
        [Site(0, "mlp")],
        settings,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert len(seen) == 4
    assert seen[-1] == (len(captured.tokens), len(captured.tokens))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_long_texts_are_cut_at_the_context_length(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    corpus = Corpus([Text("Rain. " * 200), Text("Rain.")])
    site = Site(0, "mlp")
    captured = capture_activations(build("gpt2"), corpus, [site])[site]
    assert (captured.tokens.text_id == 0).sum() == CONTEXT - 1
    assert captured.provenance["truncated"] == [0]
    assert "1 of 2 texts were cut" in caplog.text
    with pytest.raises(InputError, match="reads at most 64 tokens"):
        capture_activations(build("gpt2"), corpus, [site], CaptureSettings(max_length=65))


def test_empty_texts_are_skipped_and_named(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    corpus = Corpus([Text(" ", source="a.txt:1"), Text("Rain.")])
    site = Site(0, "mlp")
    settings = CaptureSettings(skip_empty=True)
    captured = capture_activations(build("llama"), corpus, [site], settings)[site]
    assert captured.provenance["skipped"] == [0]
    assert "a.txt:1" in caplog.text


def test_layer_that_does_not_exist(build: Build, corpus: Corpus) -> None:
    with pytest.raises(
        InputError, match=r"Layer 40 does not exist: the model has 3 layers, 0 to 2\."
    ):
        capture_activations(build("llama"), corpus, [Site(40)])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (CaptureSettings(batch_tokens=0), "at least 1"),
        (CaptureSettings(batch_size=0), "at least 1"),
        (CaptureSettings(dtype="int8"), "Unknown number type 'int8'"),
        (CaptureSettings(max_length=0), "no room"),
    ],
)
def test_settings_out_of_range(
    build: Build, corpus: Corpus, settings: CaptureSettings, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        capture_activations(build("llama"), corpus, [Site(0)], settings)


def test_no_site_at_all(build: Build, corpus: Corpus) -> None:
    with pytest.raises(InputError, match="name at least one"):
        capture_activations(build("llama"), corpus, [])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_activations_that_are_not_finite_are_named(
    tokenizer: PreTrainedTokenizerBase, value: float
) -> None:
    broken = tiny_model("llama")
    token = tokenizer("pencil", add_special_tokens=False)["input_ids"][0]
    with torch.no_grad():
        broken.model.embed_tokens.weight[token] = value
    corpus = Corpus([Text("Rain."), Text("pencil", source="notes.txt:2")])
    with pytest.raises(ModelError, match=r"blocks\.1\.mlp.* is not finite.*notes\.txt:2"):
        capture_activations(LanguageModel(broken, tokenizer), corpus, [Site(1)])


def test_values_too_large_for_float16_are_named(
    tokenizer: PreTrainedTokenizerBase, corpus: Corpus
) -> None:
    large = tiny_model("llama")
    with torch.no_grad():
        large.model.embed_tokens.weight.mul_(1e6)
    site = Site(0, "resid_pre")
    with pytest.raises(ModelError, match=r"does not fit torch\.float16.*bfloat16"):
        capture_activations(
            LanguageModel(large, tokenizer), corpus, [site], CaptureSettings(dtype="float16")
        )


def test_tokenizer_of_another_model(tokenizer: PreTrainedTokenizerBase, corpus: Corpus) -> None:
    small = LanguageModel(tiny_model("llama", vocab_size=200), tokenizer)
    with pytest.raises(ModelError, match="only knows 200; load the tokenizer that belongs"):
        capture_activations(small, corpus, [Site(0)])
