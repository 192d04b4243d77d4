"""What steering does to the tokens that a feature is said to promote: no judge is needed."""

from collections.abc import Iterator, Mapping, Sequence

import torch

from cofire.errors import InputError
from cofire.evaluation.steering import Steering
from cofire.evaluation.steering_records import Promotion, SteeringCell
from cofire.types import Float, Tensor


def logit_shift(
    base_logits: Float[Tensor, "vocab"],
    logits: Float[Tensor, "vocab"],
    token_ids: Sequence[int],
) -> float:
    """Mean change of the tokens' logits against the mean change of all logits.

    (1/|T|) Σ over T of (z' − z) − (1/V) Σ over all V tokens of (z' − z), in the units of logits.
    A number added to all logits does not change it.

    Args:
        base_logits: z, of the model as it is.
        logits: z', of the steered model.
        token_ids: T.

    Raises:
        InputError: when there is no token, or one outside the vocabulary.

    Example:
        Token 0 rises by 3, all three tokens by 1 on average.

        >>> logit_shift(torch.tensor([0.0, 0.0, 0.0]), torch.tensor([3.0, 0.0, 0.0]), [0])
        2.0
    """
    tokens = _checked(token_ids, len(base_logits))
    change = logits.double() - base_logits.double()
    return float(change[tokens].mean() - change.mean())


def log_probability_change(
    base_logits: Float[Tensor, "vocab"],
    logits: Float[Tensor, "vocab"],
    token_ids: Sequence[int],
) -> float:
    """Mean change of the tokens' log-probability, in nats: (1/|T|) Σ over T of ln p'(t) / p(t).

    Args:
        base_logits: of the model as it is, p.
        logits: of the steered model, p'.
        token_ids: T.

    Raises:
        InputError: as ``logit_shift``.

    Example:
        Token 0 goes from 1/2 to 3/4: ln 1.5.

        >>> p, q = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.75, 0.25]).log()
        >>> round(log_probability_change(p, q, [0]), 3)
        0.405
    """
    tokens = _checked(token_ids, len(base_logits))
    before = torch.log_softmax(base_logits.double(), dim=0)[tokens]
    after = torch.log_softmax(logits.double(), dim=0)[tokens]
    return float((after - before).mean())


def kl_efficiency(change: float, kl: float, sign: int = 1) -> float | None:
    """How far the feature's own tokens move for what the steering costs: sign · Δ / KL.

    Δ is ``log_probability_change`` and KL(base ‖ steered) the whole change of the distribution,
    both in nats. Above 0 when adding the atom makes its tokens more likely, and when taking it away
    makes them less likely; directions without a bearing on the tokens lie around 0.

    Args:
        change: Δ.
        kl: of the same cell; None comes back when it is 0.
        sign: of the cell.

    Example:
        The tokens lose 0.2 nats on average where a KL of 0.1 nats is spent on taking the atom away.

        >>> kl_efficiency(-0.2, 0.1, sign=-1)
        2.0
    """
    return sign * change / kl if kl > 0 else None


def measure_promotion(
    steering: Steering,
    cells: Sequence[SteeringCell],
    promoted: Mapping[int, Sequence[int]],
) -> Iterator[Promotion]:
    """Measure cells, in one steered pass over the prompt each.

    For a comparison give other directions' tokens: a random direction measured on this feature's
    tokens, or this feature on tokens of another.

    Args:
        steering: what the cells were made with.
        cells: cells with their strengths.
        promoted: token ids for each feature, for example those that ``project_on_vocabulary``
            finds.

    Yields:
        One measurement a cell, grouped by prompt.

    Raises:
        InputError: when a feature has no tokens, or one is outside the vocabulary.
    """
    for cell in cells:
        if not promoted.get(cell.feature):
            raise InputError(f"No promoted tokens were given for feature {cell.feature}.")
    for cell, logits in steering.logits(cells):
        tokens, base = promoted[cell.feature], steering.base_logits(cell.prompt)
        if not torch.isfinite(logits).all():
            yield Promotion(cell, len(tokens), None, None, None)
            continue
        change = log_probability_change(base, logits, tokens)
        yield Promotion(
            cell,
            len(tokens),
            logit_shift(base, logits, tokens),
            change,
            kl_efficiency(change, cell.reached_kl, cell.sign),
        )


def _checked(token_ids: Sequence[int], n_vocab: int) -> list[int]:
    if not len(token_ids) or min(token_ids) < 0 or max(token_ids) >= n_vocab:
        raise InputError(
            f"Token ids must be at least one, from 0 to {n_vocab - 1}; got {list(token_ids)[:10]}."
        )
    return list(token_ids)
