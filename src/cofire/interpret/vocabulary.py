"""Tokens that a feature promotes and demotes when the model's MLP writes it."""

from dataclasses import dataclass

import torch

from cofire.models import LanguageModel
from cofire.types import AtomMatrix

_BLOCK_FEATURES = 128  # a block of logits is this many rows of the vocabulary


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
    model: LanguageModel, atoms: AtomMatrix, layer: int, *, n: int = 12
) -> list[VocabularyProjection]:
    """Read MLP neuron groups through the model's output side (logit lens of W_out z).

    The atom z goes through the MLP's output projection without bias, the norm after the MLP where
    the model has one, the final norm and the unembedding. Layers in between are skipped, so early
    layers read worse than late ones. Special and added tokens are left out.

    Args:
        model: the model the atoms live in.
        atoms: [features channels] at the ``mlp`` site of ``layer``.
        layer: counted from 0.
        n: tokens kept at each end.
    """
    left_out = torch.tensor(sorted(model.special_token_ids), dtype=torch.long)
    found = []
    for block in torch.split(atoms, _BLOCK_FEATURES):
        logits = model.vocabulary_logits(model.output_direction(block, layer)).float().cpu()
        logits[:, left_out[left_out < logits.shape[1]]] = float("nan")
        high = logits.nan_to_num(nan=-torch.inf).topk(n, dim=1)
        low = logits.nan_to_num(nan=torch.inf).topk(n, dim=1, largest=False)
        found += [
            VocabularyProjection(
                promoted=_weights(model, high.indices[i].tolist(), high.values[i].tolist()),
                demoted=_weights(model, low.indices[i].tolist(), low.values[i].tolist()),
            )
            for i in range(len(block))
        ]
    return found


def _weights(model: LanguageModel, ids: list[int], logits: list[float]) -> tuple[TokenWeight, ...]:
    return tuple(
        TokenWeight(token_id, model.token_string(token_id), logit)
        for token_id, logit in zip(ids, logits, strict=True)
    )
