"""How well a continuation is written, by how likely the unsteered model finds it."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float

from cofire.errors import InputError

if TYPE_CHECKING:  # a scale needs no model, and the import takes seconds
    from cofire.models import LanguageModel

LOW_QUANTILE, HIGH_QUANTILE = 0.05, 0.95
"""Between these quantiles of the unsteered model's own text a continuation is fluent."""

FADING = 2.0
"""Fluency is 0 this many times the distance from median to quantile beyond the quantile."""

_FEWEST = 20  # unsteered generations; with fewer, a 5% quantile is no more than the least of them
_BATCH_TOKENS = 1024
_LOGIT_ROWS = 64  # rows of logits held at once: 67 MB over a vocabulary of 262 144
_HIGHEST = 2.0


@dataclass(frozen=True)
class FluencyScale:
    """Mean log-likelihoods a token of the unsteered model's own continuations, in nats.

    Attributes:
        low: their 5% quantile.
        median: their median.
        high: their 95% quantile.
        generations: how many there were.
    """

    low: float
    median: float
    high: float
    generations: int

    @classmethod
    def of(cls, unsteered: Float[np.ndarray, "texts"]) -> "FluencyScale":
        """Calibrate on unsteered generations made with the same prompts and sampling.

        Args:
            unsteered: their mean log-likelihoods, NaN where missing; at least 20 known ones.

        Raises:
            InputError: when there are fewer, or all are equal.
        """
        known = unsteered[np.isfinite(unsteered)].astype(float)
        if len(known) < _FEWEST:
            raise InputError(
                f"A scale of fluency needs at least {_FEWEST} unsteered generations with a "
                f"log-likelihood; got {len(known)}."
            )
        low, median, high = np.quantile(known, [LOW_QUANTILE, 0.5, HIGH_QUANTILE]).tolist()
        if not low < median < high:
            raise InputError(
                "The unsteered generations are alike, so they give no scale of fluency; sample "
                "them with a temperature, from several prompts."
            )
        return cls(low, median, high, len(known))

    def rate(self, log_likelihood: float | None) -> float | None:
        """Fluency from 0 to 2; None when the log-likelihood is missing.

        2 between ``low`` and ``high``; from there down in a straight line to 0 at ``FADING`` times
        the distance to the median further out. Text that is too likely loses as well: a model that
        repeats itself finds its own loop ever more likely.

        >>> scale = FluencyScale(low=-3.0, median=-2.0, high=-1.5, generations=50)
        >>> scale.rate(-2.5), scale.rate(-4.0), scale.rate(-9.0), scale.rate(-1.0)
        (2.0, 1.0, 0.0, 1.0)
        """
        if log_likelihood is None or not np.isfinite(log_likelihood):
            return None
        if log_likelihood < self.low:
            beyond = (self.low - log_likelihood) / (self.median - self.low)
        else:
            beyond = max(0.0, log_likelihood - self.high) / (self.high - self.median)
        return _HIGHEST * max(0.0, 1.0 - beyond / FADING)


def mean_log_likelihoods(
    model: "LanguageModel",
    texts: Sequence[str],
    *,
    batch_tokens: int = _BATCH_TOKENS,
) -> Float[np.ndarray, "texts"]:
    """Mean log-likelihood of each text's tokens, in nats; its perplexity is e to minus this.

    ``(1/n) Σ log p(tᵢ | BOS, t₁ … tᵢ₋₁)``. The continuation stands alone, without its prompt, as
    judges see it. In models without a beginning-of-sequence token the first token is only read.
    Use the unsteered model.

    Args:
        model: the model, without interventions.
        texts: continuations.
        batch_tokens: most tokens of a forward pass, padding included.

    Returns:
        NaN for a text without a token to predict. A text longer than the model's context counts
        with as many tokens as fit.
    """
    bos = model.tokenizer.bos_token_id
    start = [] if bos is None else [int(bos)]
    encoded = [
        [*start, *model.tokenizer(text, add_special_tokens=False)["input_ids"]] for text in texts
    ]
    ids = [tokens[: model.context_length] for tokens in encoded]
    found = np.full(len(ids), np.nan)
    # Texts that begin alike stand together: what they share is predicted once.
    order = sorted(
        (i for i, tokens in enumerate(ids) if len(tokens) > 1), key=lambda i: (len(ids[i]), ids[i])
    )
    while order:
        size = max(1, batch_tokens // len(ids[order[-1]]))
        batch, order = order[-size:], order[:-size]
        found[batch] = _batch(model, [ids[i] for i in batch])
    return found


def _batch(model: "LanguageModel", ids: list[list[int]]) -> Float[np.ndarray, "texts"]:
    """Mean log-likelihoods of some texts; every beginning that texts share is predicted once."""
    width = max(map(len, ids))
    tokens = torch.zeros((len(ids), width), dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for row, text in enumerate(ids):  # padded on the right, where causal models do not look
        tokens[row, : len(text)] = torch.tensor(text)
        mask[row, : len(text)] = 1
    tokens, mask = tokens.to(model.device), mask.to(model.device)
    places: dict[tuple[int, ...], tuple[int, int]] = {}
    wanted: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for row, text in enumerate(ids):
        for length in range(1, len(text)):
            beginning = tuple(text[:length])
            places.setdefault(beginning, (row, length - 1))
            wanted.setdefault(beginning, []).append((row, text[length]))
    sums = np.zeros(len(ids))
    beginnings = list(places)
    packed = model.packed_trunk
    with torch.inference_mode(), nullcontext() if packed is None else packed.used():
        output = model.run(tokens, mask)
        stream = output if isinstance(output, torch.Tensor) else output[0]
        for start in range(0, len(beginnings), _LOGIT_ROWS):
            block = beginnings[start : start + _LOGIT_ROWS]
            rows, positions = zip(*(places[beginning] for beginning in block), strict=True)
            logits = model.head.logits(stream[list(rows), list(positions)])
            totals = logits.logsumexp(dim=1)
            for line, beginning in enumerate(block):
                for row, token in wanted[beginning]:
                    sums[row] += float(logits[line, token] - totals[line])
    return np.array([total / (len(text) - 1) for total, text in zip(sums, ids, strict=True)])
