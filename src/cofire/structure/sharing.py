"""Everything there is to say of the neurons that some features share, with what chance gives."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from cofire.dictionary import Dictionary
from cofire.progress import SILENT, Progress
from cofire.structure.core import SHARE, SharedNeurons, core_size, shared_neurons
from cofire.structure.overlap import Overlap, check_features, overlap
from cofire.structure.reuse_null import DRAWS, Mixing, reuse_null
from cofire.structure.support import Support, signed_support


@dataclass(frozen=True, eq=False)
class Sharing:
    """Overlap, core and exclusive neurons of some features of a dictionary.

    Attributes:
        overlap: pair by pair.
        neurons: core and exclusive neurons.
        core_by_chance: core neurons of the same features, on average, in dictionaries that keep
            every feature's size and every neuron's reuse.
        core_p_value: (1 + draws with as many core neurons) / (1 + draws).
        mixing: whether those draws forgot where they began; p-values count only if so.
        draws: how many.
        seed: of the draws.
    """

    overlap: Overlap
    neurons: SharedNeurons
    core_by_chance: float
    core_p_value: float
    mixing: Mixing
    draws: int
    seed: int

    def record(self) -> dict[str, Any]:
        """Plain JSON values."""
        matrices = {
            name: [[None if np.isnan(value) else value for value in row] for row in matrix.tolist()]
            for name, matrix in vars(self.overlap).items()
            if isinstance(matrix, np.ndarray)
        }
        found = self.neurons
        return {
            "features": list(found.features),
            "share": found.share,
            "needed": found.needed,
            "channels": self.overlap.channels,
            "core": [asdict(one) for one in found.core],
            "between": [asdict(one) for one in found.between],
            "exclusive": {
                str(feature): [asdict(one) for one in found.exclusive(feature)]
                for feature in found.features
            },
            "core_by_chance": self.core_by_chance,
            "core_p_value": self.core_p_value,
            "overlap": matrices,
            "mixing": asdict(self.mixing),
            "draws": self.draws,
            "seed": self.seed,
        }


def measure_sharing(
    dictionary: Dictionary,
    features: Sequence[int],
    *,
    share: float = SHARE,
    keep: float | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Sharing:
    """Measure what some features of a dictionary share, against two kinds of chance.

    Args:
        dictionary: of any method; its other features say how often each neuron is reused.
        features: the members, at least two.
        share: share of the members that must hold a core neuron.
        keep: share of the neurons of an atom that count; needed for dense atoms.
        draws: of the null that keeps reuse.
        seed: of those draws.
        progress: shown while drawing.

    Raises:
        InputError: for features that do not exist, dense atoms without ``keep``, or settings out of
            range.
    """
    support = signed_support(dictionary.atoms, keep=keep)
    chosen = check_features(features, len(support))
    neurons = shared_neurons(dictionary.atoms, chosen, share=share, keep=keep)
    sizes: list[int] = []

    def note(drawn: Support, _shared: Float[np.ndarray, "features features"]) -> None:
        sizes.append(core_size(drawn[chosen], neurons.needed))

    null = reuse_null(support, chosen, draws=draws, seed=seed, visit=note, progress=progress)
    observed = len(neurons.core)
    return Sharing(
        overlap=overlap(support, chosen, null=null.shared),
        neurons=neurons,
        core_by_chance=float(np.mean(sizes)),
        core_p_value=(1 + sum(size >= observed for size in sizes)) / (1 + len(sizes)),
        mixing=null.mixing,
        draws=draws,
        seed=seed,
    )
