"""What is asked of the levels above a dictionary's features, and what is found."""

from dataclasses import dataclass

from cofire.types import CodeMatrix, Float, Tensor


@dataclass(frozen=True)
class TreeSettings:
    """How the levels above a dictionary are found.

    Attributes:
        sizes: features of the levels above, decreasing.
        direction: ``merge``, ``split`` or ``cluster``; see ``HierarchicalSemiNMF``.
        tune: ``above``, ``none``, or ``all``, which moves the dictionary's features too.
        sparsity: share of channels an atom of the first level keeps, the others more; None for
            what the dictionary's own atoms keep at most.
        code_penalty: relative L1 weight on the weights; None for 0.03.
        seed: of everything random.
        device: to compute on.
    """

    sizes: tuple[int, ...]
    direction: str = "merge"
    tune: str = "above"
    sparsity: float | None = None
    code_penalty: float | None = None
    seed: int = 0
    device: str = "auto"


@dataclass(frozen=True)
class LevelFigures:
    """What one level explains.

    Attributes:
        features: of the level.
        variance_before: explained variance of the training rows before the tuning; None without
            rows.
        variance: the same after it.
        variance_heldout: of the rows of held-out texts; None without rows or such texts.
        kept: 1 - ||R_0 - R_l||^2 / ||R_0 - mean||^2 with R_l the reconstruction of the training
            rows by level l: what it keeps of the first level's; None where that does not vary.
    """

    features: int
    variance_before: float | None
    variance: float | None
    variance_heldout: float | None
    kept: float | None


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """Features of all levels.

    Attributes:
        atoms: of every level, the finest first.
        weights: for every level but the first, how much of its atoms those below are.
        codes: of the first level, all rows, held-out ones included.
        figures: of every level.
        first_changed: whether the first level is another than the dictionary's.
        passes: rounds or passes of the tuning.
        stop_reason: why it ended.
    """

    atoms: tuple[Float[Tensor, "_ channels"], ...]
    weights: tuple[Float[Tensor, "_ _"], ...]
    codes: CodeMatrix
    figures: tuple[LevelFigures, ...]
    first_changed: bool
    passes: int
    stop_reason: str

    def level_codes(self, level: int) -> Float[Tensor, "rows _"]:
        """Codes of one level, all rows: those of the first, carried up."""
        carried: Tensor = self.codes
        for weights in self.weights[:level]:
            carried = carried @ weights
        return carried
