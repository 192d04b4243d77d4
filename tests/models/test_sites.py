"""Sites found by structure carry what plain hooks on hand-written module names see."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerBase

from cofire.corpus import Corpus
from cofire.models import CaptureSettings, LanguageModel, capture_activations
from cofire.site import Site, SiteKind
from tiny_models import COMMON, FAMILIES, N_LAYERS, Family, literal, tiny_model

Build = Callable[[str], LanguageModel]


@contextmanager
def listening(module: nn.Module, side: str) -> Iterator[list[Tensor]]:
    """What a module reads or returns while open, by the plainest possible hooks."""
    heard: list[Tensor] = []
    if side == "input":
        handle = module.register_forward_pre_hook(
            lambda _module, args: heard.append(args[0].clone())
        )
    else:
        handle = module.register_forward_hook(
            lambda _module, _args, output: heard.append(output.clone())
        )
    try:
        yield heard
    finally:
        handle.remove()


def expected(model: LanguageModel, family: Family, site: Site, text: str) -> Tensor:
    """Rows of one text, run alone and to the end, read at the literal place."""
    tokens = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    ids = torch.tensor([[model.tokenizer.bos_token_id, *tokens]])
    match site.kind:
        case "mlp":
            place, side = family.mlp, "input"
        case "attn":
            place, side = family.attn, "input"
        case _:
            place, side = family.added, "output"
    module = literal(model.model, family, site.layer, place)
    with torch.no_grad(), listening(module, side) as heard:
        output = model.model(ids, output_hidden_states=True, use_cache=False)
    if site.kind == "resid_pre":
        return output.hidden_states[site.layer][0, 1:]
    if site.kind == "resid_post":
        return output.hidden_states[site.layer + 1][0, 1:]
    factor = family.factor if site.kind == "mlp_out" else 1.0
    return factor * heard[0].view(ids.shape[1], -1)[1:]


@pytest.mark.parametrize("name", FAMILIES)
def test_captured_rows_are_what_plain_hooks_see(name: str, build: Build, corpus: Corpus) -> None:
    model, family = build(name), FAMILIES[name]
    kinds = [kind for kind in get_args(SiteKind) if kind != "attn" or family.attn]
    sites = [Site(layer, kind) for kind in kinds for layer in (0, 1)]
    captured = capture_activations(model, corpus, sites, CaptureSettings(batch_tokens=60))
    for site in sites:
        rows = torch.cat([expected(model, family, site, text.text) for text in corpus])
        torch.testing.assert_close(captured[site].X, rows, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_structure_is_found(name: str, build: Build) -> None:
    model, family = build(name), FAMILIES[name]
    last = model.resolve(Site(N_LAYERS - 1, "mlp"))
    assert last.module is literal(model.model, family, N_LAYERS - 1, family.mlp)
    assert model.n_layers == N_LAYERS
    assert model.d_model == 32
    assert model.d_mlp(0) == last.width
    assert model.site_width(Site(0, "resid_post")) == 32
    assert model.describe()["architecture"] == type(model.model).__name__


@pytest.mark.parametrize("name", ["granite", "gemma3_text", "olmo2", "falcon", "phi"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_the_mlp_adds_is_found_in_half_precision(
    name: str, dtype: torch.dtype, tokenizer: PreTrainedTokenizerBase
) -> None:
    model = LanguageModel(tiny_model(name).to(dtype), tokenizer)
    for layer in range(N_LAYERS):
        scale = model.resolve(Site(layer, "mlp_out")).scale
        assert scale == pytest.approx(FAMILIES[name].factor, rel=1e-3)


def test_language_model_inside_a_model_that_also_sees(
    tokenizer: PreTrainedTokenizerBase, corpus: Corpus
) -> None:
    sight = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": N_LAYERS,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = AutoConfig.for_model(
        "gemma3",
        text_config={**COMMON, "head_dim": 8},
        vision_config=sight,
        mm_tokens_per_image=4,
    )
    model = LanguageModel(AutoModelForCausalLM.from_config(config), tokenizer)
    site = Site(1, "mlp")
    assert model.resolve(site).module is model.trunk.language_model.layers[1].mlp.down_proj
    assert capture_activations(model, corpus, [site])[site].shape[1] == 48
