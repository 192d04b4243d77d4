"""What must be true of the heads of a real model."""

import pytest
import torch

from cofire.low_rank import LowRankMatrix
from cofire.models import LanguageModel, attention_shape, load_model, ov, read_patterns
from cofire.models.weights import value_matrices
from cofire.weights.ablation import AblationSettings, ablate_components
from cofire.weights.attention import behaviour_on_repeats
from cofire.weights.measures import copying_score
from cofire.weights.operations import CopyingNull, operations
from cofire.weights.tokens import TokenReader, TokenStatistics

pytestmark = pytest.mark.model

SENTENCE = "The train leaves the station at noon, and the train comes back at night."


@pytest.fixture(scope="module")
def gemma() -> LanguageModel:
    return load_model("gemma-3-270m", device="cpu")


@pytest.fixture(scope="module")
def reader(gemma: LanguageModel) -> TokenReader:
    """Of every sixteenth token, which is enough and takes a sixteenth of the time."""
    reader = TokenReader(gemma)
    reader.tokens = reader.tokens[::16]
    return reader


@pytest.fixture(scope="module")
def statistics(reader: TokenReader) -> TokenStatistics:
    return reader.statistics()


@pytest.mark.parametrize("layer", [4, 5])  # one with a sliding window, one without
def test_heads_add_up_to_the_attention(gemma: LanguageModel, layer: int) -> None:
    shape = attention_shape(gemma, layer)
    assert (shape.n_heads, shape.n_kv_heads, shape.d_head) == (4, 1, 256)
    assert shape.scale == pytest.approx(1 / 16, rel=1e-3)
    assert shape.rotary
    assert shape.normed_scores
    assert shape.post_norm
    ids = torch.tensor([gemma.tokenizer(SENTENCE)["input_ids"]])
    found: list[torch.Tensor] = []
    heard: list[torch.Tensor] = []

    def receive(_layer: int, pattern: torch.Tensor, handed_on: torch.Tensor) -> None:
        rows = heard[0]
        normalised = rows / rows.square().mean(dim=-1, keepdim=True).sqrt()
        for head in range(4):
            values = value_matrices(gemma, layer, head)
            moved = pattern[0, head] @ (normalised @ values.W_V + values.value_bias)
            torch.testing.assert_close(moved, handed_on[0, head], rtol=1e-3, atol=1e-2)
            found.append(moved @ value_matrices(gemma, layer, head, fold_norm=False).W_O)

    block = gemma.structure.blocks[layer]
    stream = block.module.register_forward_pre_hook(
        lambda _m, args: heard.append(args[0].detach()[0])
    )
    output = block.attention_projection.register_forward_hook(
        lambda _m, _a, out: heard.append(out.detach()[0])
    )
    try:
        read_patterns(gemma, ids, receive, layers=[layer])
    finally:
        stream.remove()
        output.remove()
    torch.testing.assert_close(sum(found), heard[1], rtol=1e-3, atol=2e-2)


def test_induction_and_copying_heads(
    gemma: LanguageModel, reader: TokenReader, statistics: TokenStatistics
) -> None:
    found = behaviour_on_repeats(gemma, reader, statistics, n_texts=2, length=30)
    assert found.induction[5, 1] > 0.6
    assert found.copying[11, 2] > 3
    assert found.copying[13, 3] < -2
    null = CopyingNull(statistics, 256, draws=6)
    assert null.beside(ov(gemma, 17, 1)).value > 0.9
    assert null.beside(ov(gemma, 17, 1)).z > 3
    assert copying_score(ov(gemma, 17, 2), statistics.gram) < -0.2


def test_components_of_a_copying_head(
    gemma: LanguageModel, reader: TokenReader, statistics: TokenStatistics
) -> None:
    matrix = ov(gemma, 17, 1)
    u, sigma, vh = matrix.svd()
    parts = LowRankMatrix(u[:, :4] * sigma[:4], vh[:4])
    assert all(op.kind == "copy" for op in operations(parts, statistics, head=matrix))
    texts = [gemma.tokenizer(SENTENCE)["input_ids"]]
    effects = ablate_components(
        gemma,
        17,
        1,
        parts,
        texts,
        reader=reader,
        statistics=statistics,
        settings=AblationSettings(n_places=4, n_random=1),
    )
    for effect in effects:
        assert effect.visible == pytest.approx(1, abs=1e-2)
        assert effect.own_kl.n == 4
        assert effect.own_kl.value > 0
