"""Everything about one matrix of a model in one record: evidence, tokens, features, verdict."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from cofire.errors import ModelError
from cofire.interpret.vocabulary import TokenWeight
from cofire.low_rank import LowRankMatrix
from cofire.models import LanguageModel
from cofire.models.embeddings import VOCABULARY_BLOCK
from cofire.models.weights import mlp_weights, ov, qk
from cofire.types import Float, Tensor
from cofire.weights.ablation import ablate_components
from cofire.weights.alignment import ResidualFeatures, align
from cofire.weights.decompositions import Decomposition
from cofire.weights.examination import Examination, Settings, examine
from cofire.weights.head_record import (
    ComponentRecord,
    HeadRecord,
    component_records,
)
from cofire.weights.measures import fan_out, self_alignment
from cofire.weights.nulls import AgainstNull, against, rotated
from cofire.weights.on_texts import OnTexts
from cofire.weights.operations import CopyingNull, operations
from cofire.weights.tokens import TokenReader, TokenStatistics
from cofire.weights.verdict import Alignment

MATRICES = ("ov", "qk", "mlp-in", "mlp-gate", "mlp-out")
"""Matrices that can be taken apart; ``ov`` and ``qk`` belong to heads, the others to layers."""

OF_HEADS = ("ov", "qk")


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """What is known about a model's tokens, read once for all of its heads.

    Attributes:
        reader: goes through the vocabulary.
        statistics: means and covariances of what tokens put into the stream and what raises them.
        tokens: tokens kept at each end of a component.
    """

    reader: TokenReader
    statistics: TokenStatistics
    tokens: int = 8
    _nulls: dict[int, CopyingNull] = field(default_factory=dict)

    @classmethod
    def of(cls, model: LanguageModel, tokens: int = 8) -> "Vocabulary":
        """Read the model's embedding and unembedding; takes some seconds."""
        reader = TokenReader(model)
        return cls(reader, reader.statistics(), tokens)

    def copying(self, matrix: LowRankMatrix) -> AgainstNull:
        """Copying score of a head beside its null, which heads of one width share."""
        rank = min(*matrix.shape, matrix.left.shape[1])
        if rank not in self._nulls:
            self._nulls[rank] = CopyingNull(self.statistics, rank)
        return self._nulls[rank].beside(matrix)

    def fan_out(self, directions: Float[Tensor, "features d_model"]) -> Float[Tensor, "features"]:
        """``measures.fan_out`` over the model's tokens, in blocks."""
        counts = torch.zeros(len(directions))
        for tokens in self.reader.tokens.split(VOCABULARY_BLOCK):
            rows = self.reader.write_rows(tokens).cpu()
            counts += fan_out(directions, rows) * len(rows)
        return counts / len(self.reader.tokens)


def weight_matrix(
    model: LanguageModel, matrix: str, layer: int, head: int | None
) -> LowRankMatrix | Float[Tensor, "_ _"]:
    """One matrix of a model with its norms folded in, on the CPU.

    Raises:
        InputError: when the layer or head does not exist.
        ModelError: when the matrix cannot be read off the model.
    """
    if matrix in OF_HEADS:
        found = (ov if matrix == "ov" else qk)(model, layer, head or 0)
        return LowRankMatrix(found.left.cpu(), found.right.cpu())
    maps = mlp_weights(model, layer)
    named = {"mlp-in": maps.W_in, "mlp-gate": maps.W_gate, "mlp-out": maps.W_out}[matrix]
    if named is None:
        raise ModelError(f"The MLP of {model.name} has no gate; use --matrix mlp-in or mlp-out.")
    return named.cpu()


def read_head(
    matrix: LowRankMatrix | Float[Tensor, "_ _"],
    layer: int,
    head: int | None,
    *,
    kind: str = "ov",
    settings: Settings | None = None,
    vocabulary: Vocabulary | None = None,
    reading: ResidualFeatures | None = None,
    writing: ResidualFeatures | None = None,
    induction: float | None = None,
    previous_token: float | None = None,
    on_texts: OnTexts | None = None,
) -> tuple[HeadRecord, Mapping[str, Decomposition]]:
    """Take one matrix apart and write down everything that is known about its components.

    Args:
        matrix: W.
        layer, head: whose it is.
        kind: which matrix, one of ``MATRICES``.
        settings: how it is examined.
        vocabulary: for W_OV, to read components through the tokens.
        reading, writing: features to match what components read and write.
        induction, previous_token: attention scores of the head, where measured.
        on_texts: what the head does on texts, where measured.

    Raises:
        InputError: for k above the rank.
    """
    began = time.perf_counter()
    examined = examine(matrix, settings)
    lines = component_records(examined)
    copying = alignment = None
    if kind in OF_HEADS and isinstance(matrix, LowRankMatrix):
        alignment = _aligned_with_itself(matrix, settings or Settings())
    if kind == "ov" and vocabulary is not None and isinstance(matrix, LowRankMatrix):
        lines = _with_tokens(lines, examined, matrix, vocabulary)
        copying = vocabulary.copying(matrix)
    alignments: list[Alignment] = []
    if reading is not None:
        found, best = align(examined, reading, "reading")
        alignments.append(found)
        lines = [replace(one, feature_read=best[one.method][one.index]) for one in lines]
    if writing is not None:
        found, best = align(examined, writing, "writing")
        alignments.append(found)
        lines = [replace(one, feature_write=best[one.method][one.index]) for one in lines]
    record = HeadRecord(
        layer=layer,
        head=head,
        matrix=kind,
        evidence=examined.evidence,
        components=tuple(lines),
        copying=copying,
        self_alignment=alignment,
        induction=induction,
        previous_token=previous_token,
        alignments=tuple(alignments),
        seconds=time.perf_counter() - began,
        on_texts=on_texts,
    )
    return record, examined.decompositions


def _aligned_with_itself(matrix: LowRankMatrix, settings: Settings) -> AgainstNull:
    """How far a head reads what it writes, beside random directions of the same spectrum."""
    drawn = [
        self_alignment(rotated(matrix, seed=settings.seed + draw)) for draw in range(settings.draws)
    ]
    return against(self_alignment(matrix), drawn, null="rotated")


def _with_tokens(
    lines: Sequence[ComponentRecord],
    examined: Examination,
    matrix: LowRankMatrix,
    vocabulary: Vocabulary,
) -> list[ComponentRecord]:
    """Tokens, class and fan-out of every component; NMF has no signs, so no tokens either."""
    signed = {m: made for m, made in examined.decompositions.items() if not made.magnitudes}
    side_by_side = LowRankMatrix(
        torch.cat([made.reading().T for made in signed.values()], dim=1),
        torch.cat([made.writing() for made in signed.values()]),
    )
    read = vocabulary.reader.component_tokens(side_by_side, n=vocabulary.tokens)
    fans = vocabulary.fan_out(side_by_side.right)
    found: dict[tuple[str, int], ComponentRecord] = {}
    start = 0
    by_key = {(line.method, line.index): line for line in lines}
    for method, made in signed.items():
        done = operations(made.reconstruction(), vocabulary.statistics, head=matrix)
        for i, operation in enumerate(done):
            tokens = read[start + i]
            found[method, i] = replace(
                by_key[method, i],
                reads=_words(tokens.read.promoted),
                reads_opposite=_words(tokens.read.demoted),
                writes=_words(tokens.written.promoted),
                writes_opposite=_words(tokens.written.demoted),
                written_at_read=tokens.written_at_read,
                operation=operation.kind,
                correlation=operation.correlation,
                margin=operation.margin,
                p=operation.corrected_p,
                fan_out=float(fans[start + i]),
            )
        start += made.n_components
    return [found.get((line.method, line.index), line) for line in lines]


def ablated(
    record: HeadRecord,
    made: Mapping[str, Decomposition],
    model: LanguageModel,
    texts: Sequence[Sequence[int]],
    vocabulary: Vocabulary,
    n_components: int,
) -> HeadRecord:
    """Take the largest components of SVD, and of ICA the stable ones, out and add what changes.

    Args:
        record, made: of ``read_head``, of a head's W_OV.
        model: the model.
        texts: token ids of texts.
        vocabulary: of the model.
        n_components: most components of each of the two methods.
    """
    if record.head is None:
        return record
    measured: dict[tuple[str, int], ComponentRecord] = {}
    for method in ("svd", "ica"):  # each beside random mixtures of its own components
        chosen = [one for one in record.of_method(method) if one.stable is not False]
        chosen = chosen[:n_components]
        if not chosen:
            continue
        parts = [made[method].component(line.index) for line in chosen]
        effects = ablate_components(
            model,
            record.layer,
            record.head,
            LowRankMatrix(
                torch.cat([one.left for one in parts], dim=1),
                torch.cat([one.right for one in parts]),
            ),
            texts,
            reader=vocabulary.reader,
            statistics=vocabulary.statistics,
        )
        for line, effect in zip(chosen, effects, strict=True):
            measured[method, line.index] = replace(
                line,
                kl_own=effect.own_kl.value,
                kl_other=effect.other_kl.value,
                kl_random=effect.random_kl.value,
                specificity=effect.specificity,
                random_specificity=effect.random_specificity,
                p_ablation=effect.p,
            )
    lines = tuple(measured.get((one.method, one.index), one) for one in record.components)
    return replace(record, components=lines)


def _words(ends: Sequence[TokenWeight]) -> tuple[str, ...]:
    return tuple(end.token for end in ends)
