"""How one sweep improves codes and atoms: exact coordinate descent, or projected gradient steps.

Both never raise the objective, see C^T X and C^T C only, and keep to the constraints; a solver is a
choice of them plus a schedule.
"""

from typing import Protocol, runtime_checkable

from cofire.types import AtomMatrix, Float, Int, Tensor


@runtime_checkable
class Updates(Protocol):
    """The two half-steps of a sweep."""

    def improve_codes(
        self,
        codes: Float[Tensor, "features rows"],
        target: Float[Tensor, "features rows"],
        gram: Float[Tensor, "features features"],
    ) -> None:
        """Lower ½ c H c - w c for every row, in place, c >= 0.

        Args:
            codes: C^T.
            target: W = D X^T - penalty; may be used up.
            gram: H = D D^T of unit atoms.
        """
        ...

    def improve_atoms(
        self,
        atoms: AtomMatrix,
        cross: Float[Tensor, "features channels"],
        gram: Float[Tensor, "features features"],
        *,
        kept: Int[Tensor, "features"],
        unit_norm: bool,
    ) -> None:
        """Lower ½ <G, D D^T> - <V, D> in place.

        Args:
            atoms: D.
            cross: V = C^T X.
            gram: G = C^T C.
            kept: nonzero entries each atom may have.
            unit_norm: keep to atoms of norm one.
        """
        ...
