"""Tokens that a feature promotes and demotes when the model's MLP writes it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from cofire.types import AtomMatrix

if TYPE_CHECKING:  # records are read without a model; importing transformers takes seconds
    from cofire.models import LanguageModel


@dataclass(frozen=True)
class TokenWeight:
    """A vocabulary token and the logit a direction gives it."""

    token_id: int
    token: str
    logit: float


@dataclass(frozen=True)
class VocabularyProjection:
    """The two ends of one feature's logits over the vocabulary, strongest first."""

    promoted: tuple[TokenWeight, ...]
    demoted: tuple[TokenWeight, ...]


def project_on_vocabulary(
    model: "LanguageModel", atoms: AtomMatrix, layer: int, *, n: int = 12
) -> list[VocabularyProjection]:
    """Read MLP neuron groups through the model's output side (logit lens of W_out z).

    The atom z goes through the MLP's output projection without bias, the norm after the MLP where
    the model has one, the final norm and the unembedding. Layers in between are skipped, so early
    layers read worse than late ones. Special and added tokens are left out, and vocabulary ids past
    the tokenizer's last token.

    Args:
        model: the model the atoms live in.
        atoms: [features channels] at the ``mlp`` site of ``layer``.
        layer: counted from 0.
        n: tokens kept at each end.
    """
    directions = model.output_direction(atoms, layer)
    unwritten = torch.tensor(unwritten_tokens(model), dtype=torch.long, device=directions.device)
    found = []
    for logits in model.vocabulary_logit_batches(directions):
        # Matrices are padded to round sizes: rows past the tokenizer's last token are no tokens.
        written = logits[:, : len(model.tokenizer)]
        left_out = unwritten[unwritten < written.shape[1]]
        shown = min(n, written.shape[1] - len(left_out))
        high = written.index_fill(1, left_out, -torch.inf).topk(shown, dim=1)
        low = written.index_fill(1, left_out, torch.inf).topk(shown, dim=1, largest=False)
        found += [
            VocabularyProjection(
                promoted=token_weights(model, high.indices[i].tolist(), high.values[i].tolist()),
                demoted=token_weights(model, low.indices[i].tolist(), low.values[i].tolist()),
            )
            for i in range(len(logits))
        ]
    return found


def unwritten_tokens(model: "LanguageModel") -> list[int]:
    """Tokens that never stand in a text: special ones and placeholders such as <unused12>."""
    added = model.tokenizer.added_tokens_decoder.items()
    unwritten = {i for i, token in added if token.special or "unused" in token.content}
    return sorted(unwritten | set(model.tokenizer.all_special_ids))


def token_weights(
    model: "LanguageModel", ids: list[int], logits: list[float]
) -> tuple[TokenWeight, ...]:
    """Tokens by number, with the text that each stands for."""
    tokens = model.tokenizer.batch_decode([[token_id] for token_id in ids])
    return tuple(map(TokenWeight, ids, tokens, logits))
