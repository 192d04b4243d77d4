"""Which tokens a component of W_OV reads and which it writes, and what both sides have in common.

A component is a rank-one part r wᵀ of W_OV, from stream to stream with norms folded
(``cofire.models.ov``). It reads token t as r · e_t, with e_t the token's embedding, brought to the
length that the norm before the attention gives every vector; it writes it as u_t · w, with u_t the
unembedding and the final norm's gain. Layers in between are skipped on both sides, so that the
reading of late layers and the writing of early ones must be taken with care.

The vocabulary is gone through in blocks, once for all components that are given.
"""

from dataclasses import dataclass

import torch

from cofire.errors import InputError
from cofire.interpret.vocabulary import (
    VocabularyProjection,
    token_weights,
    unwritten_tokens,
)
from cofire.low_rank import LowRankMatrix
from cofire.models import LanguageModel
from cofire.models.attention_parts import AttentionParts, Surroundings
from cofire.models.embeddings import (
    VOCABULARY_BLOCK,
    Embedding,
    Unembedding,
    embedding,
    unembedding,
)
from cofire.types import Float, Int, Tensor


@dataclass(frozen=True, eq=False)
class TokenStatistics:
    """Means and products of what tokens put into the stream and what raises them.

    Special and unused tokens are left out. With them correlations over the whole vocabulary cost
    no more than d_model × d_model numbers.

    Attributes:
        n_tokens: tokens counted.
        read_mean, write_mean: means of e and u.
        read: covariance of e.
        write: covariance of u.
        across: covariance of u (rows) with e (columns).
        gram: mean of u eᵀ, not centred, with e as long as the model's own embeddings: what
            ``copying_score`` takes.
    """

    n_tokens: int
    read_mean: Float[Tensor, "d_model"]
    write_mean: Float[Tensor, "d_model"]
    read: Float[Tensor, "d_model d_model"]
    write: Float[Tensor, "d_model d_model"]
    across: Float[Tensor, "d_model d_model"]
    gram: Float[Tensor, "d_model d_model"]


@dataclass(frozen=True)
class ComponentTokens:
    """Tokens of one component.

    Attributes:
        read: tokens with the largest and smallest r · e, in standard deviations over the
            vocabulary.
        written: the same of u · w. Tokens of ``read.promoted`` make the head write
            ``written.promoted``; those of ``read.demoted`` make it write ``written.demoted``,
            since both signs turn round.
        written_at_read: mean of u · w over the tokens read most at either end, signs aligned, in
            standard deviations: above 0 where what is read is written, below where it is
            suppressed.
    """

    read: VocabularyProjection
    written: VocabularyProjection
    written_at_read: float


class TokenReader:
    """Embedding and unembedding of a model, as components of its heads meet them.

    Raises:
        ModelError: when the model's embedding, unembedding or final norm is not understood.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._embedding: Embedding = embedding(model)
        self._unembedding: Unembedding = unembedding(model)
        self._normed, self._centred = _first_norm(model)
        size = min(self._embedding.n_tokens, self._unembedding.n_tokens, len(model.tokenizer))
        keep = torch.ones(size, dtype=torch.bool)
        left_out = torch.tensor(unwritten_tokens(model), dtype=torch.long)
        keep[left_out[left_out < size]] = False
        self.tokens: Int[Tensor, "vocab"] = keep.nonzero().flatten()

    def read_rows(self, tokens: Int[Tensor, "vocab"]) -> Float[Tensor, "vocab d_model"]:
        """e of these tokens, float32."""
        return self._lengthened(self._embedding.take(tokens))

    def write_rows(self, tokens: Int[Tensor, "vocab"]) -> Float[Tensor, "vocab d_model"]:
        """u of these tokens, float32."""
        return self._unembedding.take(tokens)

    def statistics(self) -> TokenStatistics:
        """Go through the vocabulary once. Takes some seconds for 262 144 tokens of width 640."""
        d = self._model.d_model
        device = self._model.device
        sums = torch.zeros(2, d, dtype=torch.float64, device=device)
        products = torch.zeros(4, d, d, dtype=torch.float64, device=device)
        for tokens in self.tokens.split(VOCABULARY_BLOCK):
            raw = self._embedding.take(tokens)
            e, u = self._lengthened(raw), self.write_rows(tokens)
            sums += torch.stack([e.sum(dim=0), u.sum(dim=0)])
            products += torch.stack([e.T @ e, u.T @ u, u.T @ e, u.T @ raw])
        n = len(self.tokens)
        read_mean, write_mean = (sums / n).float()
        read, write, across, gram = (products / n).float()
        return TokenStatistics(
            n_tokens=n,
            read_mean=read_mean,
            write_mean=write_mean,
            read=read - torch.outer(read_mean, read_mean),
            write=write - torch.outer(write_mean, write_mean),
            across=across - torch.outer(write_mean, read_mean),
            gram=gram,
        )

    def component_tokens(
        self, components: LowRankMatrix, *, n: int = 10
    ) -> tuple[ComponentTokens, ...]:
        """Tokens that each component reads and writes most.

        Args:
            components: component j is column j of ``left`` and row j of ``right``; those of many
                heads may be put side by side.
            n: tokens kept at each end.

        Raises:
            InputError: when the components are not of the model's width, or n is below 1.
        """
        if components.shape != (self._model.d_model,) * 2:
            raise InputError(
                f"Components are {components.shape[0]} × {components.shape[1]}; the stream of "
                f"{self._model.name} has {self._model.d_model} channels."
            )
        if n < 1:
            raise InputError(f"At least one token must be kept at each end; got {n}.")
        left = components.left.to(self._model.device, torch.float32)
        right = components.right.to(left).T
        read, written = _Ends(n), _Ends(n)
        for tokens in self.tokens.split(VOCABULARY_BLOCK):
            read.add(tokens, self.read_rows(tokens) @ left)
            written.add(tokens, self.write_rows(tokens) @ right)
        found = []
        for j in range(left.shape[1]):
            high, low = read.tokens(j)
            at_high = self.write_rows(high) @ right[:, j]
            at_low = self.write_rows(low) @ right[:, j]
            mean, sd = written.moments(j)
            aligned = torch.cat([at_high - mean, mean - at_low]) / sd
            found.append(
                ComponentTokens(
                    read=read.projection(self._model, j),
                    written=written.projection(self._model, j),
                    written_at_read=float(aligned.mean()),
                )
            )
        return tuple(found)

    def _lengthened(self, rows: Float[Tensor, "vocab d_model"]) -> Float[Tensor, "vocab d_model"]:
        """Rows divided as the norm before the first attention divides them."""
        if not self._normed:
            return rows
        centred = rows - rows.mean(dim=1, keepdim=True) if self._centred else rows
        return centred / centred.square().mean(dim=1, keepdim=True).sqrt().clamp_min(1e-12)


class _Ends:
    """The largest and smallest scores of each component while the vocabulary goes by."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._high: tuple[Tensor, Tensor] | None = None
        self._low: tuple[Tensor, Tensor] | None = None
        self._sums = torch.zeros(())
        self._squares = torch.zeros(())
        self._count = 0

    def add(self, tokens: Int[Tensor, "vocab"], scores: Float[Tensor, "vocab features"]) -> None:
        self._high = self._best(self._high, tokens, scores, largest=True)
        self._low = self._best(self._low, tokens, scores, largest=False)
        self._sums = self._sums.to(scores.device) + scores.double().sum(dim=0)
        self._squares = self._squares.to(scores.device) + scores.double().square().sum(dim=0)
        self._count += len(scores)

    def moments(self, j: int) -> tuple[float, float]:
        """Mean and standard deviation over the vocabulary."""
        mean = float(self._sums[j] / self._count)
        variance = float(self._squares[j] / self._count) - mean**2
        return mean, max(variance, 1e-30) ** 0.5

    def tokens(self, j: int) -> tuple[Int[Tensor, "_"], Int[Tensor, "_"]]:
        """Tokens at both ends."""
        if self._high is None or self._low is None:
            raise InputError("The vocabulary has no token that can stand in a text.")
        return self._high[1][:, j], self._low[1][:, j]

    def projection(self, model: LanguageModel, j: int) -> VocabularyProjection:
        """Both ends in standard deviations from the mean."""
        mean, sd = self.moments(j)
        ends = []
        for kept in (self._high, self._low):
            if kept is None:
                raise InputError("The vocabulary has no token that can stand in a text.")
            values = ((kept[0][:, j] - mean) / sd).tolist()
            ends.append(token_weights(model, kept[1][:, j].tolist(), values))
        return VocabularyProjection(promoted=ends[0], demoted=ends[1])

    def _best(
        self,
        kept: tuple[Tensor, Tensor] | None,
        tokens: Int[Tensor, "vocab"],
        scores: Float[Tensor, "vocab features"],
        *,
        largest: bool,
    ) -> tuple[Tensor, Tensor]:
        top = scores.topk(min(self._n, len(scores)), dim=0, largest=largest)
        values, ids = top.values, tokens.to(scores.device)[top.indices]
        if kept is None:
            return values, ids
        values, ids = torch.cat([kept[0], values]), torch.cat([kept[1], ids])
        order = values.topk(min(self._n, len(values)), dim=0, largest=largest)
        return order.values, ids.gather(0, order.indices)


def _first_norm(model: LanguageModel) -> tuple[bool, bool]:
    """Whether a norm lies before the first attention that is understood, and whether it centres."""
    for parts in model.attention_parts:
        if isinstance(parts, AttentionParts) and isinstance(parts.surroundings, Surroundings):
            norm = parts.surroundings.before
            return norm is not None, norm is not None and norm.centred
    return False, False
