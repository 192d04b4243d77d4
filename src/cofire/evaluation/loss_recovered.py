"""Does the model still predict as well when a reconstruction takes the activation's place?"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from cofire.errors import InputError
from cofire.evaluation.bootstrap import RESAMPLES, interval_note, ratio_interval
from cofire.evaluation.measurement import Estimate

Ablation: TypeAlias = Literal["mean", "zero"]
"""What stands in the activation's place at the worst: its mean row, or zeros."""


@dataclass(frozen=True, eq=False)
class ReplacementLosses:
    """A loss of every predicted token, with four things in the activation's place; in nats.

    Attributes:
        clean: the activation itself.
        reconstructed: its reconstruction.
        mean_ablated: the mean row.
        zero_ablated: zeros.
        text_id: text of each token; tokens of one text are drawn together.
    """

    clean: Float[np.ndarray, "rows"]
    reconstructed: Float[np.ndarray, "rows"]
    mean_ablated: Float[np.ndarray, "rows"]
    zero_ablated: Float[np.ndarray, "rows"]
    text_id: Int[np.ndarray, "rows"]

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in self.__dataclass_fields__}
        if len(set(lengths.values())) != 1:
            raise InputError(f"The losses need one figure a token each; their lengths: {lengths}.")

    @classmethod
    def of_divergences(
        cls,
        reconstructed: Float[np.ndarray, "rows"],
        mean_ablated: Float[np.ndarray, "rows"],
        zero_ablated: Float[np.ndarray, "rows"],
        text_id: Int[np.ndarray, "rows"],
    ) -> "ReplacementLosses":
        """KL(clean ‖ changed) of the next token's distribution; the clean run is 0 from itself."""
        return cls(np.zeros(len(text_id)), reconstructed, mean_ablated, zero_ablated, text_id)


def loss_recovered(
    losses: ReplacementLosses,
    *,
    against: Ablation = "mean",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Share of the loss due to ablation that the reconstruction takes back.

    (L ablated - L reconstructed) / (L ablated - L clean), each L summed over tokens: 1 when
    nothing is lost, 0 when the reconstruction is no better than the ablation, below 0 when it is
    worse (Bricken et al. 2023, "Towards Monosemanticity", zero ablation; the mean is the harder
    comparison). With Kullback-Leibler divergences in place of losses it is 1 - ΣKL(clean ‖
    reconstructed) / ΣKL(clean ‖ ablated).

    Tokens that lack one of the losses (NaN) are left out of all, and counted as missing. The
    interval draws texts; there is none where it cannot be told whether the ablation does harm.

    Args:
        losses: cross-entropies, or divergences.
        against: which ablation.
        resamples, seed: of the interval.

    Example:
        Ablation takes the loss from 2 to 6, reconstruction to 3: (6 - 3) / (6 - 2).

        >>> clean, rebuilt, ablated = np.full(3, 2.0), np.full(3, 3.0), np.full(3, 6.0)
        >>> losses = ReplacementLosses(clean, rebuilt, ablated, ablated + 4, np.arange(3))
        >>> loss_recovered(losses).value, loss_recovered(losses, against="zero").value
        (0.75, 0.875)
    """
    ablated = losses.mean_ablated if against == "mean" else losses.zero_ablated
    recovered, lost = ablated - losses.reconstructed, ablated - losses.clean
    known = np.isfinite(recovered) & np.isfinite(lost)
    n, missing = int(known.sum()), int((~known).sum())
    if not n:
        return Estimate(None, 0, missing, note="No token has all of the losses.")
    total = float(lost[known].sum())
    if total <= 0:
        note = f"There is nothing to recover: the {against} ablation does not raise the loss."
        return Estimate(None, n, missing, note=note)
    interval = ratio_interval(
        recovered[known],
        lost[known],
        groups=losses.text_id[known],
        resamples=resamples,
        seed=seed,
    )
    value = float(recovered[known].sum()) / total
    return Estimate(value, n, missing, interval, seed, interval_note(interval))
