"""Taking a component out of W_OV while the model runs, each row of a batch its own.

A component r wᵀ of W_OV = W_V W_O is taken out where the heads' outputs z meet W_O, so that no
weight is touched: with a = W_V⁺ r and b = w W_O⁺,

    z ← z − ((z − b_V) · a) b

is what the head would hand on had its matrix been W_OV − r wᵀ, with biases and attention as they
were.
"""

from dataclasses import dataclass

import torch

from cofire.errors import InputError
from cofire.low_rank import LowRankMatrix
from cofire.models import LanguageModel
from cofire.models.weights import value_matrices
from cofire.types import Float, Int, Tensor


@dataclass(frozen=True, eq=False)
class RemoveComponents:
    """Intervention at the ``attn`` site of a layer that takes a component out of one head.

    Attributes:
        reads: a, one a row of the batch.
        writes: b, one a row of the batch.
        bias: b_V, what the head hands on of every token whatever is in its stream.
        start: the head's first channel at the site.
        visible: share of each component's squared length that lies in the head's matrix; only
            that much can be taken out.
    """

    reads: Float[Tensor, "batch d_head"]
    writes: Float[Tensor, "batch d_head"]
    bias: Float[Tensor, "d_head"]
    start: int
    visible: Float[Tensor, "batch"]

    def __call__(
        self, activations: Float[Tensor, "batch position channels"]
    ) -> Float[Tensor, "batch position channels"]:
        """The heads' outputs without the components."""
        if len(activations) != len(self.reads):
            raise InputError(
                f"The batch has {len(activations)} rows; there are {len(self.reads)} components."
            )
        own = slice(self.start, self.start + len(self.bias))
        z = activations[..., own].float()
        amount = torch.einsum("bpd,bd->bp", z - self.bias, self.reads)
        changed = activations.clone()
        changed[..., own] = (z - amount[..., None] * self.writes[:, None]).to(activations)
        return changed

    def take(self, rows: Int[Tensor, "batch"]) -> "RemoveComponents":
        """See ``Intervention.take``."""
        return RemoveComponents(
            self.reads[rows], self.writes[rows], self.bias, self.start, self.visible[rows]
        )


def remove_components(
    model: LanguageModel, layer: int, head: int, components: LowRankMatrix
) -> RemoveComponents:
    """The intervention that takes components out of one head, one a row of the batch.

    Args:
        model: the model.
        layer: counted from 0.
        head: query head, counted from 0; others that share its values are left alone.
        components: component j is column j of ``left`` and row j of ``right``, in the terms of
            ``cofire.models.ov`` with norms folded.

    Raises:
        InputError: when layer or head do not exist, or the components are of another width.
        ModelError: when the head's matrix is not understood.
    """
    values = value_matrices(model, layer, head)
    if components.shape != (model.d_model, model.d_model):
        raise InputError(
            f"Components are {components.shape[0]} × {components.shape[1]}; W_OV of {model.name} "
            f"is {model.d_model} × {model.d_model}."
        )
    W_V, W_O = values.W_V.double(), values.W_O.double()
    r, w = components.left.to(W_V), components.right.to(W_V)
    a, b = torch.linalg.pinv(W_V) @ r, w @ torch.linalg.pinv(W_O)
    inside = (W_V @ a).norm(dim=0) * (b @ W_O).norm(dim=1)
    whole = r.norm(dim=0) * w.norm(dim=1)
    return RemoveComponents(
        reads=a.T.float().contiguous(),
        writes=b.float(),
        bias=values.value_bias,
        start=head * W_V.shape[1],
        visible=(inside / whole).square().float(),
    )
