"""Some neurons put to a fixed value while the model runs, each row of a batch its own."""

from dataclasses import dataclass

from cofire.errors import InputError
from cofire.types import Bool, Float, Int, Tensor


@dataclass(frozen=True, eq=False)
class AblateChannels:
    """Put fixed values in place of some channels, at every position; the others stay.

    Attributes:
        chosen: True for the channels to replace [batch channels].
        replacement: the values: means for mean-ablation, zeros for zero-ablation.

    Raises:
        InputError: when the two differ in width.
    """

    chosen: Bool[Tensor, "batch channels"]
    replacement: Float[Tensor, "_"]

    def __post_init__(self) -> None:
        if self.chosen.shape[1] != self.replacement.shape[0]:
            raise InputError(
                f"{self.chosen.shape[1]} channels are marked and {self.replacement.shape[0]} "
                "values given; give one a channel."
            )

    def __call__(
        self, activations: Float[Tensor, "batch position channels"]
    ) -> Float[Tensor, "batch position channels"]:
        """The chosen channels are the replacement at every position."""
        if (len(activations), activations.shape[-1]) != tuple(self.chosen.shape):
            raise InputError(
                f"Channels are marked for {tuple(self.chosen.shape)} [batch channels]; this batch "
                f"is {(len(activations), activations.shape[-1])}."
            )
        chosen = self.chosen.to(activations.device)[:, None]
        return activations.where(~chosen, self.replacement.to(activations))

    def take(self, rows: Int[Tensor, "batch"]) -> "AblateChannels":
        """See ``Intervention.take``."""
        return AblateChannels(self.chosen[rows], self.replacement)
