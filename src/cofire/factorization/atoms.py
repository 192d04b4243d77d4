"""Exact coordinate descent on the atoms under winner-take-all.

With the codes C and all other atoms fixed, the best sparse atom has a closed form. Let

    V = C^T X  [features channels],   G = C^T C  [features features],
    v_j = V_j - sum over i != j of G_ji D_i

Then  ||X - C D||^2 = const - 2 <v_j, D_j> + G_jj ||D_j||^2, whose minimum over vectors with at most
``kept`` nonzero entries keeps the largest |v_j| and sets them to v_j / G_jj; on the unit sphere it
is the same vector normalised. Projecting v_j is exact because this quadratic is a multiple of the
identity, which is not so for the least-squares solution of all atoms at once: thresholding that
(the published step) projects in the wrong metric.

Sources: Gillis & Kumar, arXiv:1410.7220 (block coordinate descent for semi-NMF); Peharz & Pernkopf
2012 (l0-constrained NMF).
"""

import torch

from cofire.factorization.atom_kernel import descend_sparse_atoms
from cofire.threads import single_threaded
from cofire.types import AtomMatrix, Float, Int, Tensor

_BLOCK = 32
# Up to this share of the channels entry by entry beats products of whole atoms on CPUs.
_SPARSE_SHARE = 0.1
# An atom is left alone when its codes carry less than this part of the largest code energy.
DEAD_ENERGY = 1e-10


def descend_atoms(
    atoms: AtomMatrix,
    cross: Float[Tensor, "features channels"],
    gram: Float[Tensor, "features features"],
    *,
    kept: Int[Tensor, "features"],
    sweeps: int,
    unit_norm: bool,
) -> None:
    """Minimise over every atom in turn, in place; the squared error never rises.

    Args:
        atoms: D, at most ``kept`` nonzero entries each; changed in place.
        cross: V = C^T X.
        gram: G = C^T C.
        kept: nonzero entries each atom may have.
        sweeps: passes over all atoms.
        unit_norm: minimise over atoms of norm one (needed beside an L1 penalty on the codes, which
            long atoms would evade) instead of any norm.
    """
    energy, room = gram.diagonal().tolist(), kept.tolist()
    floor = DEAD_ENERGY * max(energy)
    most = max(*room, int(atoms.count_nonzero(dim=1).max()))
    if atoms.device.type == "cpu" and most <= _SPARSE_SHARE * atoms.shape[1]:
        descend_sparse_atoms(
            atoms,
            cross,
            gram,
            kept=kept,
            most=most,
            sweeps=sweeps,
            unit_norm=unit_norm,
            floor=floor,
        )
        return
    with single_threaded(atoms.device):
        for _ in range(sweeps):
            for first in range(0, len(energy), _BLOCK):
                block = slice(first, first + _BLOCK)
                pull = torch.addmm(cross[block], gram[block], atoms, alpha=-1)
                mutual = gram[block, block]
                for j, atom in enumerate(atoms[block]):
                    if energy[first + j] <= floor:
                        continue
                    free = torch.add(pull[j], atom, alpha=energy[first + j])
                    new = _best_atom(
                        free, room[first + j], None if unit_norm else energy[first + j]
                    )
                    if j + 1 < len(pull):
                        pull[j + 1 :].addr_(mutual[j + 1 :, j], atom - new)
                    atom.copy_(new)


def _best_atom(
    free: Float[Tensor, "channels"], kept: int, energy: float | None
) -> Float[Tensor, "channels"]:
    """The largest entries of v_j, divided by G_jj or, without ``energy``, by their own norm."""
    if kept < len(free):
        index = free.abs().topk(kept, sorted=False).indices
        best = torch.zeros_like(free).scatter_(0, index, free[index])
    else:
        best = free.clone()
    if energy is not None:
        return best.div_(energy)
    return best.div_(torch.linalg.vector_norm(best).clamp(min=torch.finfo(free.dtype).tiny))


def shared_budget(
    atoms: AtomMatrix,
    cross: Float[Tensor, "features channels"],
    gram: Float[Tensor, "features features"],
    total: int,
) -> Int[Tensor, "features"]:
    """How many entries each atom should keep, ``total`` together and at least one each.

    Entry l of atom j takes v_jl^2 / G_jj off the squared error, all other atoms fixed (module
    docstring); the ``total`` largest of all atoms are counted where they lie. Gains of entries on
    different channels add up, those on the same channel need not: the caller tries the counts and
    compares the objective.
    """
    wide = atoms.to(gram.dtype)
    energy = gram.diagonal()[:, None]
    free = cross - gram @ wide + energy * wide
    alive = energy > DEAD_ENERGY * energy.max()
    gains = torch.where(alive, free.square() / energy, 0.0)
    first = gains.argmax(dim=1, keepdim=True)
    gains.scatter_(1, first, torch.inf)
    best = gains.flatten().topk(total).indices
    return torch.bincount(best // atoms.shape[1], minlength=len(atoms))
