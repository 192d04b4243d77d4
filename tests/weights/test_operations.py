"""Tokens and operations of components, on heads whose task was planted."""

import numpy as np
import pytest
import torch

from cofire.errors import InputError
from cofire.low_rank import LowRankMatrix
from cofire.models import LanguageModel, ov, qk
from cofire.weights.measures import copying_score
from cofire.weights.operations import (
    CopyingNull,
    composition,
    matching_score,
    operations,
    token_correlations,
)
from cofire.weights.tokens import TokenReader
from planted_heads import COPIES, LAYER, SUPPRESSES, TRANSFORMS, Planted
from tiny_models import tiny_model, train_tokenizer


def singular(matrix: LowRankMatrix) -> LowRankMatrix:
    u, sigma, vh = matrix.svd()
    return LowRankMatrix(u * sigma, vh)


def test_planted_heads_are_told_apart(planted: Planted) -> None:
    kinds = {}
    for head in (COPIES, SUPPRESSES, TRANSFORMS):
        matrix = ov(planted.model, LAYER, head)
        found = operations(singular(matrix), planted.statistics, head=matrix, seed=1)
        kinds[head] = [operation.kind for operation in found]
        assert all(abs(op.correlation) <= 1 and op.p <= op.corrected_p for op in found)
        for op in found:
            assert (op.kind == "transform") == (op.corrected_p > 0.05)
            assert op.margin > 0 or op.kind == "transform"
    assert kinds[COPIES].count("copy") >= 7
    assert kinds[SUPPRESSES].count("suppress") >= 7
    assert kinds[TRANSFORMS].count("transform") >= 7


def test_correlations_are_those_over_the_whole_vocabulary(planted: Planted) -> None:
    generator = torch.Generator().manual_seed(0)
    parts = LowRankMatrix(
        torch.randn(32, 5, generator=generator), torch.randn(5, 32, generator=generator)
    )
    reader = planted.reader
    reads = reader.read_rows(reader.tokens) @ parts.left
    writes = reader.write_rows(reader.tokens) @ parts.right.T
    expected = [np.corrcoef(reads[:, j], writes[:, j])[0, 1] for j in range(5)]
    found = token_correlations(parts, planted.statistics)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    nothing = LowRankMatrix(torch.zeros(32, 1), torch.ones(1, 32))
    assert token_correlations(nothing, planted.statistics).isnan().all()
    assert operations(nothing, planted.statistics)[0].kind is None


@pytest.mark.parametrize("head", [COPIES, SUPPRESSES, TRANSFORMS])
def test_copying_scores_are_those_of_the_whole_circuit(planted: Planted, head: int) -> None:
    """The eigenvalues of tokens × tokens, dense, against those of the small matrix."""
    reader, model = planted.reader, planted.model
    embedded = model.model.get_input_embeddings().weight.detach()[reader.tokens]
    matrix = ov(model, LAYER, head)
    circuit = embedded @ matrix.dense() @ reader.write_rows(reader.tokens).T
    values = torch.linalg.eigvals(circuit.double())
    expected = float(values.real.sum() / values.abs().sum())
    found = copying_score(matrix, planted.statistics.gram)
    assert found == pytest.approx(expected, abs=1e-3)
    null = CopyingNull(planted.statistics, 8, draws=50)
    if head == COPIES:
        assert found > 0.9
        assert null.beside(matrix).beyond
    if head == SUPPRESSES:
        assert found < -0.9
        assert null.beside(matrix, tail="below").beyond
    if head == TRANSFORMS:
        assert not null.beside(matrix).beyond
        assert not null.beside(matrix, tail="below").beyond


def test_a_component_made_from_two_tokens_reads_the_one_and_writes_the_other(
    planted: Planted,
) -> None:
    reader = planted.reader
    cat, dog = reader.tokens[40:41], reader.tokens[77:78]
    unembedded = reader.write_rows(reader.tokens)
    precision = torch.linalg.pinv(unembedded.T @ unembedded)
    component = LowRankMatrix(reader.read_rows(cat).T, reader.write_rows(dog) @ precision)
    (found,) = reader.component_tokens(component, n=3)
    assert found.read.promoted[0].token_id == int(cat)
    assert found.written.promoted[0].token_id == int(dog)
    (turned,) = reader.component_tokens(LowRankMatrix(-component.left, -component.right), n=3)
    assert turned.read.demoted[0].token_id == int(cat)
    assert turned.written.demoted[0].token_id == int(dog)
    assert turned.written_at_read == pytest.approx(found.written_at_read, rel=1e-4)
    same = LowRankMatrix(reader.read_rows(cat).T, reader.write_rows(cat) @ precision)
    assert reader.component_tokens(same, n=1)[0].written_at_read > 1


def test_tokens_of_many_components_do_not_depend_on_blocks(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = singular(ov(planted.model, LAYER, TRANSFORMS))
    whole = planted.reader.component_tokens(parts, n=7)
    monkeypatch.setattr("cofire.weights.tokens.VOCABULARY_BLOCK", 50)
    in_blocks = planted.reader.component_tokens(parts, n=7)
    for one, other in zip(whole, in_blocks, strict=True):
        for side in ("read", "written"):
            ends = [
                [[t.token_id for t in getattr(getattr(found, side), end)] for found in (one, other)]
                for end in ("promoted", "demoted")
            ]
            assert all(first == second for first, second in ends)
        assert one.written_at_read == pytest.approx(other.written_at_read, abs=1e-4)
    scores = planted.reader.read_rows(planted.reader.tokens) @ parts.left
    z = (scores - scores.mean(dim=0)) / scores.std(dim=0, unbiased=False)
    assert whole[2].read.promoted[0].logit == pytest.approx(float(z[:, 2].max()), rel=1e-3)


def test_special_tokens_are_left_out(planted: Planted) -> None:
    special = planted.model.tokenizer.all_special_ids
    assert len(special) == 3
    assert not set(special) & set(planted.reader.tokens.tolist())
    assert planted.statistics.n_tokens == len(planted.model.tokenizer) - 3


@pytest.mark.parametrize("name", ["gpt2", "bloom", "gemma3_text", "olmo2"])
def test_reading_a_token_is_what_the_first_head_makes_of_it(name: str) -> None:
    """r · e_t is the value that layer 0 computes, positions and biases left out."""
    model = LanguageModel(tiny_model(name), train_tokenizer(["a"]), name=name)
    reader = TokenReader(model)
    tokens = reader.tokens[:6]
    rows = reader.read_rows(tokens)
    parts = model.attention_parts[0].surroundings.before
    if parts is None:
        torch.testing.assert_close(rows, reader._embedding.take(tokens))
        return
    torch.testing.assert_close(rows.square().mean(dim=1), torch.ones(6), rtol=1e-4, atol=1e-4)
    if name == "gemma3_text":  # no positions are added: compare with the model itself
        heard: list[torch.Tensor] = []
        module = model.attention_parts[0].wiring.projections[2]
        hook = module.register_forward_hook(lambda _m, _a, out: heard.append(out.detach()))
        with torch.no_grad():
            model.model(tokens[None])
        hook.remove()
        first = ov(model, 0, 0)
        torch.testing.assert_close(rows @ first.left, heard[0][0, :, :8], rtol=1e-3, atol=1e-3)


def test_composition_and_matching(planted: Planted) -> None:
    """A head that writes where another reads, and keys that hold what a first head moved."""
    frame = torch.linalg.qr(torch.randn(32, 16, generator=torch.Generator().manual_seed(0)))[0]
    one, other = frame[:, :8], frame[:, 8:]
    mover = LowRankMatrix(other, one.T)
    assert composition(mover, LowRankMatrix(one, other.T)) == pytest.approx(1 / 8**0.5, abs=1e-5)
    assert composition(mover, mover) == pytest.approx(0, abs=1e-6)
    looks_for_moved = LowRankMatrix(other, one.T)  # query reads what the mover reads
    assert matching_score(looks_for_moved, mover, planted.statistics) == pytest.approx(1, abs=1e-4)
    away = LowRankMatrix(-other, one.T)
    assert matching_score(away, mover, planted.statistics) == pytest.approx(-1, abs=1e-4)
    real = matching_score(qk(planted.model, 1, 0), ov(planted.model, 0, 0), planted.statistics)
    assert abs(real) < 1


def test_bad_input(planted: Planted) -> None:
    wide = LowRankMatrix(torch.ones(48, 1), torch.ones(1, 48))
    with pytest.raises(InputError, match="48 × 48"):
        planted.reader.component_tokens(wide)
    with pytest.raises(InputError, match="stream of 32 channels"):
        operations(wide, planted.statistics)
    parts = singular(ov(planted.model, LAYER, 0))
    with pytest.raises(InputError, match="at least 100 draws"):
        operations(parts, planted.statistics, draws=5)
    with pytest.raises(InputError, match="at least one token|At least one token"):
        planted.reader.component_tokens(parts, n=0)
    with pytest.raises(InputError, match="rank 4 and the matrix of rank 8"):
        CopyingNull(planted.statistics, 4, draws=2).beside(ov(planted.model, LAYER, 0))
    with pytest.raises(InputError, match="cannot be read through"):
        composition(wide, ov(planted.model, LAYER, 0))
