"""Weights of heads and MLPs against the model's own forward pass, at hand-written names."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from cofire.errors import InputError, ModelError
from cofire.models import (
    LanguageModel,
    attention_patterns,
    attention_shape,
    embedding,
    head_matrices,
    mlp_weights,
    ov,
    qk,
    unembedding,
)
from cofire.models.weights import value_matrices
from tiny_models import FAMILIES, N_LAYERS, literal, tiny_model

Build = Callable[[str], LanguageModel]
ATTENDING = [name for name, family in FAMILIES.items() if family.attn]
IDS = torch.tensor([[1, 5, 9, 20, 33, 7, 5, 9, 41, 2], [3, 200, 31, 8, 8, 90, 14, 66, 12, 300]])


def seen(module: nn.Module, side: str, run: Callable[[], object]) -> Tensor:
    """What a module reads or returns, [batch position channels]."""
    heard: list[Tensor] = []

    def after(_module: nn.Module, _args: object, output: object) -> None:
        heard.append((output if isinstance(output, Tensor) else output[0]).detach().clone())

    def before(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
        heard.append(args[0].detach().clone())

    hook = (
        module.register_forward_hook(after)
        if side == "output"
        else (module.register_forward_pre_hook(before))
    )
    try:
        with torch.no_grad():
            run()
    finally:
        hook.remove()
    return heard[0].view(*IDS.shape, -1)


def streams(model: LanguageModel) -> tuple[Tensor, ...]:
    with torch.no_grad():
        return model.model(IDS, output_hidden_states=True, use_cache=False).hidden_states


def run(model: LanguageModel) -> Callable[[], object]:
    return lambda: model.model(IDS, use_cache=False)


def normalised(x: Tensor, centred: bool) -> Tensor:
    c = x - x.mean(dim=-1, keepdim=True) if centred else x
    return c / c.square().mean(dim=-1, keepdim=True).sqrt()


def before_norm(model: LanguageModel, x: Tensor) -> Tensor:
    """The stream as folded weights read it."""
    around = model.attention_parts[1].surroundings
    return x if around.before is None else normalised(x, around.before.centred)


@pytest.mark.parametrize("name", ATTENDING)
def test_patterns_are_those_of_the_eager_attention(
    name: str, build: Build, tokenizer: PreTrainedTokenizerBase
) -> None:
    eager = tiny_model(name, attn_implementation="eager")
    with torch.no_grad():
        expected = eager.base_model(IDS, output_attentions=True, use_cache=False).attentions
    models = [LanguageModel(eager, tokenizer, name=name)]
    if name != "falcon_alibi":  # its two implementations scale the bias by position differently
        models.append(build(name))
    for model in models:
        found = attention_patterns(model, IDS)
        assert list(found) == list(range(N_LAYERS))
        for layer in found:
            torch.testing.assert_close(found[layer], expected[layer], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ATTENDING)
def test_heads_add_up_to_the_attention_that_hooks_see(name: str, build: Build) -> None:
    """Σ over heads of pattern · x · W_OV, and biases, is what the output projection returns."""
    model, family = build(name), FAMILIES[name]
    output = literal(model.model, family, 1, family.attn)
    x = streams(model)[1]
    pattern = attention_patterns(model, IDS, layers=[1])[1]
    parts = model.attention_parts[1]
    shape = attention_shape(model, 1)
    total, raw = 0.0, 0.0
    heads_in = seen(output, "input", run(model))
    for head in range(shape.n_heads):
        folded = value_matrices(model, 1, head)
        moved = before_norm(model, x) @ folded.W_V + folded.value_bias
        mixed = pattern[:, head] @ moved
        width = shape.d_head
        torch.testing.assert_close(
            mixed, heads_in[..., head * width : (head + 1) * width], rtol=2e-3, atol=2e-3
        )
        total = total + mixed @ folded.W_O
        own = value_matrices(model, 1, head, fold_norm=False)
        raw = raw + mixed @ own.W_O
        low_rank = ov(model, 1, head)
        torch.testing.assert_close(low_rank.dense(), folded.W_V @ folded.W_O)
    total, raw = total + folded.output_bias, raw + own.output_bias
    written = seen(output, "output", run(model))
    torch.testing.assert_close(raw, written, rtol=2e-3, atol=2e-3)
    around = parts.surroundings
    if around.after is None:
        torch.testing.assert_close(total, around.factor * written, rtol=2e-3, atol=2e-3)
    else:  # past the post-norm, save for its division by the length of all heads together
        length = written - written.mean(-1, keepdim=True) if around.after.centred else written
        rms = length.square().mean(dim=-1, keepdim=True).sqrt()
        added = seen(literal(model.model, family, 1, POST_NORMS[name]), "output", run(model))
        torch.testing.assert_close(total / rms, added, rtol=2e-3, atol=2e-3)
    assert (around.after is not None) == (name in POST_NORMS) == shape.post_norm


POST_NORMS = {
    "gemma2": "post_attention_layernorm",
    "gemma3_text": "post_attention_layernorm",
    "olmo2": "post_attention_layernorm",
    "glm4": "post_self_attn_layernorm",
}


@pytest.mark.parametrize("name", "gpt2 opt falcon_alibi bloom mpt gpt_bigcode".split())
def test_scores_of_a_token_with_itself_are_queries_times_keys(name: str, build: Build) -> None:
    """Attention of the second of two tokens, rebuilt from W_QK, scale, biases and rotation."""
    model = build(name)
    shape = attention_shape(model, 1)
    assert not shape.rotary
    ids = IDS[:, :2]
    with torch.no_grad():
        x = model.model(ids, output_hidden_states=True, use_cache=False).hidden_states[1]
    x = before_norm(model, x)
    pattern = attention_patterns(model, ids, layers=[1])[1]
    for head in range(shape.n_heads):
        m = head_matrices(model, 1, head)
        q, k = x @ m.W_Q + m.query_bias, x @ m.W_K + m.key_bias
        score = shape.scale * (q[:, 1:] @ k.transpose(1, 2))[:, 0]
        if name in ("bloom", "mpt", "falcon_alibi"):  # ALiBi: slopes 2^(-8 h / n), per step back
            score[:, 0] -= ALIBI_SCALE.get(name, 1.0) * 2 ** (-8 * (head + 1) / shape.n_heads)
        torch.testing.assert_close(score.softmax(dim=-1), pattern[:, head, 1], rtol=2e-3, atol=2e-3)


ALIBI_SCALE = {"falcon_alibi": 8**-0.5}


@pytest.mark.parametrize(
    "name", ["llama", "gemma3_text", "gpt_neox", "olmo2", "falcon_new", "phi3"]
)
def test_rotary_scores_at_relative_position_0(name: str, build: Build) -> None:
    """Two tokens in one place: position ids 0, 0, so that rotation plays no part."""
    model = build(name)
    shape = attention_shape(model, 0)
    assert shape.rotary
    ids, places = IDS[:, :2], torch.zeros(2, 2, dtype=torch.long)
    family = FAMILIES[name]
    output = literal(model.model, family, 0, family.attn)
    heard: list[Tensor] = []
    hook = output.register_forward_pre_hook(lambda _m, args: heard.append(args[0].clone()))
    with torch.no_grad():
        x = model.model(ids, position_ids=places, output_hidden_states=True).hidden_states[0]
    hook.remove()
    z = heard[0].view(2, 2, shape.n_heads, shape.d_head)
    around = model.attention_parts[0].surroundings
    x = x if around.before is None else normalised(x, around.before.centred)
    n = shape.n_heads
    heads = [head_matrices(model, 0, head) for head in range(n)]
    q = torch.stack([x @ m.W_Q + m.query_bias for m in heads], dim=2)
    k = torch.stack([x @ m.W_K + m.key_bias for m in heads], dim=2)
    if shape.normed_scores:  # by the lengths without the gain
        gains = model.attention_parts[0].layout.scores
        raw_q, raw_k = q / gains.query_gain, k / gains.key_gain
        axes = (-2, -1) if name == "olmo2" else (-1,)
        q = q / raw_q.square().mean(dim=axes, keepdim=True).sqrt()
        k = k / raw_k.square().mean(dim=axes, keepdim=True).sqrt()
    score = shape.scale * torch.einsum("bhd,bkhd->bhk", q[:, 1], k)
    v = torch.stack([x @ m.W_V + m.value_bias for m in heads], dim=2)
    expected = torch.einsum("bhk,bkhd->bhd", score.softmax(dim=-1), v)
    torch.testing.assert_close(z[:, 1], expected, rtol=3e-3, atol=3e-3)


@pytest.mark.parametrize("name", FAMILIES)
def test_mlp_maps_make_the_neurons_and_the_output(name: str, build: Build) -> None:
    model, family = build(name), FAMILIES[name]
    projection = literal(model.model, family, 1, family.mlp)
    neurons = seen(projection, "input", run(model))
    found = mlp_weights(model, 1, fold_norm=False)
    torch.testing.assert_close(
        neurons @ found.W_out + found.out_bias,
        seen(projection, "output", run(model)),
        rtol=1e-3,
        atol=1e-3,
    )
    first = model.mlp_parts[1].projections[0]
    x = seen(first, "input", run(model))
    into = x @ found.W_in + found.in_bias
    if found.W_gate is None:
        top = into > 1  # where every activation function rises
        assert (into[top].argsort() == neurons[top].argsort()).all()
    else:  # the neurons divided by what is gated depend on the gate alone
        gate = (x @ found.W_gate + found.gate_bias).flatten()
        ratio = (neurons / into).flatten()[gate.argsort()]
        above = gate.sort().values > 1
        assert (ratio[above].diff() > -1e-3).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_folded_mlp_reads_the_normalised_stream(name: str, build: Build) -> None:
    model = build(name)
    parts = model.mlp_parts[1]
    raw, folded = mlp_weights(model, 1, fold_norm=False), mlp_weights(model, 1)
    norm = parts.surroundings.before
    first = parts.projections[0]
    x = seen(first, "input", run(model))
    if norm is None:
        torch.testing.assert_close(folded.W_in, raw.W_in)
        return
    source = [
        module
        for module in model.structure.blocks[1].module.modules()
        if next(module.children(), None) is None
        and tuple(getattr(module, "weight", torch.zeros(0)).shape) in ((32,), (0,))
    ]
    outputs = []
    for module in source:
        try:
            written = seen(module, "output", run(model))
        except (IndexError, RuntimeError):
            continue
        if written.shape == x.shape and torch.equal(written, x):
            outputs.append(module)
    read = seen(outputs[0], "input", run(model))
    torch.testing.assert_close(
        normalised(read, norm.centred) @ folded.W_in + folded.in_bias,
        x @ raw.W_in + raw.in_bias,
        rtol=3e-3,
        atol=3e-3,
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_embedding_and_unembedding(name: str, build: Build) -> None:
    model = build(name)
    x = streams(model)[0]
    rows = embedding(model).rows()[IDS]
    difference = x[0] - x[1]  # positions drop out
    torch.testing.assert_close(difference, rows[0] - rows[1], rtol=1e-3, atol=1e-3)
    maps = unembedding(model)
    direction = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    expected = model.vocabulary_logits(direction)
    found = normalised(direction, maps.norm is not None and maps.norm.centred) @ maps.rows().T
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)
    some = torch.tensor([7, 2, 300])
    torch.testing.assert_close(embedding(model).take(some), embedding(model).rows()[some])
    torch.testing.assert_close(maps.take(some), maps.rows()[some])


def test_shapes(build: Build) -> None:
    shape = attention_shape(build("llama"), 0)
    assert (shape.n_heads, shape.n_kv_heads, shape.d_head) == (4, 2, 8)
    assert shape.kv_heads == (0, 0, 1, 1)
    assert shape.scale == pytest.approx(8**-0.5, rel=1e-3)
    assert attention_shape(build("falcon"), 0).kv_heads == (0, 0, 0, 0)
    assert attention_shape(build("gpt2"), 0).rotary is False
    assert attention_shape(build("granite"), 0).scale == pytest.approx(1.0, rel=1e-3)
    assert attention_shape(build("gemma2"), 0).scale == pytest.approx(256**-0.5, rel=2e-3)
    m = head_matrices(build("llama"), 0, 3)
    assert m.W_Q.shape == m.W_K.shape == m.W_V.shape == (32, 8)
    assert m.W_O.shape == (8, 32)
    assert qk(build("llama"), 0, 3).shape == (32, 32)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "name", ["gpt2", "llama", "gemma3_text", "gpt_neox", "falcon_new", "olmo2"]
)
def test_half_precision_finds_the_same_layout(
    name: str, dtype: torch.dtype, build: Build, tokenizer: PreTrainedTokenizerBase
) -> None:
    half = LanguageModel(tiny_model(name).to(dtype), tokenizer, name=name)
    for layer in range(N_LAYERS):
        own, full = half.attention_parts[layer], build(name).attention_parts[layer]
        assert own.layout.values.equal(full.layout.values)
        assert own.layout.scores.queries.equal(full.layout.scores.queries)
        assert own.layout.scores.keys.equal(full.layout.scores.keys)
        assert own.layout.scores.scale == pytest.approx(full.layout.scores.scale, rel=1e-3)
        assert own.layout.scores.rotary == full.layout.scores.rotary


def test_layers_without_rotation_are_told(tokenizer: PreTrainedTokenizerBase) -> None:
    model = LanguageModel(tiny_model("smollm3", num_hidden_layers=4), tokenizer, name="smollm3")
    assert [attention_shape(model, layer).rotary for layer in range(4)] == [True, True, True, False]


def test_clipped_values_are_told(tokenizer: PreTrainedTokenizerBase) -> None:
    model = LanguageModel(tiny_model("olmo", clip_qkv=8.0), tokenizer, name="olmo")
    assert attention_shape(model, 0).value_limit == pytest.approx(8.0)
    assert attention_shape(LanguageModel(tiny_model("olmo"), tokenizer), 0).value_limit is None


def test_what_does_not_exist_is_named(build: Build) -> None:
    with pytest.raises(InputError, match=r"Head 4 does not exist: layer 1 .* has 4 heads, 0 to 3"):
        ov(build("llama"), 1, 4)
    with pytest.raises(InputError, match=r"Layer 3 does not exist: .* has 3 layers, 0 to 2"):
        qk(build("llama"), 3, 0)
    with pytest.raises(InputError, match="Layer -1 does not exist"):
        mlp_weights(build("llama"), -1)
    with pytest.raises(InputError, match="Layer 9 does not exist"):
        attention_patterns(build("llama"), IDS, layers=[9])


def test_a_layer_without_plain_attention_is_refused(build: Build) -> None:
    model = build("qwen3_5_text")
    with pytest.raises(ModelError, match=r"layer 0 .* cannot be read off its weights: .* values"):
        ov(model, 0, 0)
    with pytest.raises(ModelError, match="has no attention that can be read"):
        attention_patterns(model, IDS)


@pytest.mark.parametrize("read", [lambda model, layer: ov(model, layer, 0), mlp_weights])
def test_weights_that_are_no_numbers_are_named(tokenizer: PreTrainedTokenizerBase, read) -> None:
    bare = tiny_model("llama")
    with torch.no_grad():
        bare.model.layers[1].mlp.up_proj.weight[2, 3] = float("nan")
    model = LanguageModel(bare, tokenizer, name="broken")
    for layer in (1, 2):  # nor can what comes after be compared with the model
        with pytest.raises(ModelError, match=r"NaN .* \(mlp\.up_proj\.weight of layer 1\)"):
            read(model, layer)


def test_a_norm_after_the_sum_cannot_be_folded(tokenizer: PreTrainedTokenizerBase) -> None:
    model = LanguageModel(tiny_model("opt", do_layer_norm_before=False), tokenizer, name="opt")
    with pytest.raises(ModelError, match=r"cannot be folded .* fold_norm=False"):
        ov(model, 1, 0)
    assert ov(model, 1, 0, fold_norm=False).shape == (32, 32)
