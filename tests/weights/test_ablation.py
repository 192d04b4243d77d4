"""Components taken out of heads, against weights edited by hand."""

import pytest
import torch

from cofire.errors import InputError
from cofire.low_rank import LowRankMatrix
from cofire.models import LanguageModel, intervening, ov
from cofire.models.weights import value_matrices
from cofire.site import Site
from cofire.weights.ablation import AblationSettings, ablate_components
from cofire.weights.removal import remove_components
from cofire.weights.tokens import TokenReader
from planted_heads import COPIES, LAYER, Planted, planted_heads
from tiny_models import tiny_model, train_tokenizer

IDS = [1, 40, 80, 90, 41, 200, 17, 80, 90]


def singular(matrix: LowRankMatrix) -> LowRankMatrix:
    u, sigma, vh = matrix.svd()
    return LowRankMatrix(u * sigma, vh)


def logits(model: LanguageModel, rows: int = 1) -> torch.Tensor:
    with torch.no_grad():
        return model.model(torch.tensor([IDS]).repeat(rows, 1), use_cache=False).logits


def test_each_row_is_the_model_with_the_component_subtracted_from_its_weights(
    planted: Planted,
) -> None:
    model = planted.model
    parts = singular(ov(model, LAYER, COPIES))
    removal = remove_components(model, LAYER, COPIES, parts)
    torch.testing.assert_close(removal.visible, torch.ones(8), rtol=1e-4, atol=1e-4)
    with intervening(model, {Site(LAYER, "attn"): removal}):
        found = logits(model, 8)
    plain = logits(model)
    edited = planted_heads().model  # a second copy, whose weights are changed
    weight = edited.model.model.layers[LAYER].self_attn.v_proj.weight
    gain = edited.model.model.layers[LAYER].input_layernorm.weight
    values = value_matrices(model, LAYER, COPIES)
    for row in range(8):
        keep = weight.detach().clone()
        a = torch.linalg.pinv(values.W_V) @ parts.left[:, row]
        b = parts.right[row] @ torch.linalg.pinv(values.W_O)
        with torch.no_grad():  # the head's columns of W_V, norm taken out again
            changed = values.W_V - torch.outer(values.W_V @ a, b)
            weight[:8] = (changed / gain[:, None]).T
            expected = logits(edited)
            weight.copy_(keep)
        torch.testing.assert_close(found[row], expected[0], rtol=2e-3, atol=2e-3)
        assert (found[row] - plain[0]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["gpt2", "gemma3_text", "gpt_neox", "falcon", "bloom"])
def test_all_components_together_leave_only_the_bias(name: str) -> None:
    """Taking Σ r wᵀ = W_OV out one after the other is a head that hands on its bias alone."""
    model = LanguageModel(tiny_model(name), train_tokenizer(["a"]), name=name)
    parts = singular(ov(model, 1, 2))
    removal = remove_components(model, 1, 2, parts)
    width = len(removal.bias)
    site = Site(1, "attn")
    z = torch.randn(1, 5, model.site_width(site), generator=torch.Generator().manual_seed(0))
    own = slice(2 * width, 3 * width)
    left = z.clone()
    for row in range(width):
        left = removal.take(torch.tensor([row]))(left)
    torch.testing.assert_close(left[..., own], removal.bias.expand(1, 5, -1), rtol=1e-2, atol=1e-2)
    rest = torch.ones(z.shape[-1], dtype=torch.bool)
    rest[own] = False
    torch.testing.assert_close(left[..., rest], z[..., rest])


def test_what_lies_outside_the_head_cannot_be_taken_out(planted: Planted) -> None:
    values = value_matrices(planted.model, LAYER, COPIES)
    basis = torch.linalg.qr(values.W_V)[0]
    outside = torch.ones(32, 1) - basis @ (basis.T @ torch.ones(32, 1))
    inside = values.W_V[:, :1]
    half = inside / inside.norm() + outside / outside.norm()
    parts = LowRankMatrix(torch.cat([inside, outside, half], dim=1), values.W_O[:1].repeat(3, 1))
    visible = remove_components(planted.model, LAYER, COPIES, parts).visible
    torch.testing.assert_close(visible, torch.tensor([1.0, 0.0, 0.5]), rtol=1e-3, atol=1e-3)


WATCHED = [40, 60, 80, 100, 120, 140, 160, 180]


def watching_head() -> tuple[Planted, LowRankMatrix]:
    """Head 0 of layer 1 has eight components, each of which reads one token and no other.

    Layers 0 and 2 write nothing, so that layer 1 reads embeddings.
    """
    model = tiny_model("llama", num_key_value_heads=4)
    with torch.no_grad():
        for layer in (0, 2):
            model.model.layers[layer].self_attn.o_proj.weight.zero_()
            model.model.layers[layer].mlp.down_proj.weight.zero_()
        block = model.model.layers[LAYER]
        block.mlp.down_proj.weight.zero_()
        block.self_attn.q_proj.weight.mul_(0.2)  # looks everywhere
        wrapped = LanguageModel(model, train_tokenizer(["The train leaves."]), name="watching")
        reader = TokenReader(wrapped)
        rows = reader.read_rows(torch.tensor(WATCHED))
        reads = torch.linalg.pinv(rows)  # the other watched tokens give exactly 0
        block.self_attn.v_proj.weight[:8] = (8 * reads / block.input_layernorm.weight[:, None]).T
    values = value_matrices(wrapped, LAYER, COPIES)
    return Planted(wrapped, reader, reader.statistics()), LowRankMatrix(values.W_V, values.W_O)


def watched_texts(n: int = 30) -> list[list[int]]:
    """Texts of four of the watched tokens each, over and over."""
    generator = torch.Generator().manual_seed(0)
    chosen = [torch.randperm(8, generator=generator)[:4] for _ in range(n)]
    picks = [torch.randint(4, (9,), generator=generator) for _ in range(n)]
    return [
        [1, *(WATCHED[int(some[i])] for i in pick)]
        for some, pick in zip(chosen, picks, strict=True)
    ]


def test_a_component_acts_where_its_token_is() -> None:
    watching, parts = watching_head()
    found = ablate_components(
        watching.model,
        LAYER,
        COPIES,
        parts,
        watched_texts(),
        reader=watching.reader,
        statistics=watching.statistics,
        settings=AblationSettings(n_places=24),
    )
    assert all(effect.specificity > 0.8 for effect in found)
    assert all(effect.specificity > effect.random_specificity for effect in found)
    assert all(effect.own_kl.value > effect.random_kl.value > 0 for effect in found)
    assert sum(effect.p < 0.05 for effect in found) >= 6


def test_effects_do_not_depend_on_how_components_are_batched(planted: Planted) -> None:
    parts = singular(ov(planted.model, LAYER, COPIES))
    generator = torch.Generator().manual_seed(0)
    texts = [[1, *torch.randint(3, 300, (9,), generator=generator).tolist()] for _ in range(4)]
    one, other = (
        ablate_components(
            planted.model,
            LAYER,
            COPIES,
            parts,
            texts,
            reader=planted.reader,
            statistics=planted.statistics,
            settings=AblationSettings(n_places=6, batch_rows=rows),
        )
        for rows in (4, 32)
    )
    lengths = parts.left.norm(dim=0).tolist()
    for first, second, length in zip(one, other, lengths, strict=True):
        assert first.visible == pytest.approx(1, abs=1e-3)
        assert first.size == pytest.approx(length, rel=1e-4)
        assert first.own_kl.n == first.other_kl.n == 6
        assert first.own_kl.value == pytest.approx(second.own_kl.value, rel=1e-3)
        assert first.random_kl.value == pytest.approx(second.random_kl.value, rel=1e-3)
        assert first.own_loss.value == pytest.approx(second.own_loss.value, rel=1e-2, abs=1e-5)


def test_a_component_of_nothing_has_no_specificity(planted: Planted) -> None:
    parts = LowRankMatrix(torch.zeros(32, 1), torch.zeros(1, 32))
    (found,) = ablate_components(
        planted.model,
        LAYER,
        COPIES,
        parts,
        [[1, 5, 9, 20, 33]] * 2,
        reader=planted.reader,
        statistics=planted.statistics,
        settings=AblationSettings(n_places=2),
    )
    assert found.own_kl.value == pytest.approx(0, abs=1e-6)
    assert found.specificity is None
    assert found.size == 0


def test_bad_input(planted: Planted) -> None:
    with pytest.raises(InputError, match="48 × 48"):
        remove_components(
            planted.model, LAYER, 0, LowRankMatrix(torch.ones(48, 1), torch.ones(1, 48))
        )
    parts = singular(ov(planted.model, LAYER, 0))
    with pytest.raises(InputError, match="No text has three tokens"):
        ablate_components(
            planted.model,
            LAYER,
            0,
            parts,
            [[1, 2]],
            reader=planted.reader,
            statistics=planted.statistics,
        )
    with pytest.raises(InputError, match="at least 1"):
        AblationSettings(n_random=0)
    removal = remove_components(planted.model, LAYER, 0, parts)
    with pytest.raises(InputError, match="3 rows; there are 8 components"):
        removal(torch.zeros(3, 2, 32))
