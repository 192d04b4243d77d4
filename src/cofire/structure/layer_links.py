"""Which features of two layers go together: by their codes, and by weights through the stream."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from cofire.errors import InputError
from cofire.types import CodeMatrix, Tensor


@dataclass(frozen=True, kw_only=True)
class LinkSettings:
    """When a feature of one layer and a feature of the next count as linked.

    Attributes:
        correlation: least correlation of the two codes over training tokens.
        confirmation: least correlation over held-out tokens, as a share of ``correlation``; not
            asked where there are no held-out tokens.
        false_links: share of the links that may be false, by the null of shuffled texts.
        shuffles: shuffles of the null.
        seed: of the shuffles.

    Raises:
        InputError: when a setting is out of range.
    """

    correlation: float = 0.4
    confirmation: float = 0.5
    false_links: float = 0.01
    shuffles: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.correlation < 1 or not 0 <= self.confirmation <= 1:
            raise InputError(
                f"A link's correlation lies between 0 and 1, and its confirmation from 0 to 1; got "
                f"{self.correlation} and {self.confirmation}."
            )
        if self.shuffles < 1 or not 0 < self.false_links < 1:
            raise InputError(
                f"Give at least one shuffle and a share of false links between 0 and 1; got "
                f"{self.shuffles} and {self.false_links}."
            )


@dataclass(frozen=True, eq=False)
class LayerLinks:
    """Links between the features of a lower and a higher layer.

    Attributes:
        train: correlation of codes over training tokens; NaN where a code never varies.
        heldout: over held-out tokens; NaN likewise. None where there are no held-out tokens.
        null_quantile: the correlation above which so few pairs of shuffled codes lie that the links
            hold no more than the allowed share of false ones; infinite where there is none.
        settings: when a pair counts as linked.
    """

    train: Float[np.ndarray, "features _"]
    heldout: Float[np.ndarray, "features _"] | None
    null_quantile: float
    settings: LinkSettings

    @property
    def least(self) -> float:
        """The larger of ``null_quantile`` and the correlation asked for."""
        return max(self.settings.correlation, self.null_quantile)

    @property
    def linked(self) -> Bool[np.ndarray, "features _"]:
        """True for links."""
        return self.linked_at(self.settings.correlation)

    def linked_at(self, correlation: float) -> Bool[np.ndarray, "features _"]:
        """True for what would be links if this were the least correlation."""
        with np.errstate(invalid="ignore"):
            linked = self.train >= max(correlation, self.null_quantile)
            if self.heldout is not None:
                linked &= self.heldout >= self.settings.confirmation * correlation
        return np.asarray(linked)


def link_layers(
    lower: CodeMatrix,
    higher: Float[Tensor, "rows _"],
    text_id: Int[np.ndarray, "rows"],
    heldout: Bool[np.ndarray, "rows"],
    settings: LinkSettings | None = None,
) -> LayerLinks:
    """Link features of two layers by their codes on the same tokens.

    The null puts one layer's texts in random order against the other's: both layers keep how often
    their features fire and how firings follow one another within a text, and only what fires
    together is lost. With n⁺ pairs above a correlation in the data and e in a shuffle on average,
    e / n⁺ of the links above it are expected to be false.

    Args:
        lower: codes of the lower layer.
        higher: codes of the higher layer on the same tokens, in the same order.
        text_id: text of every row; rows of a text lie together.
        heldout: True for rows of held-out texts.
        settings: when a pair counts as linked.

    Raises:
        InputError: when the rows differ in number, or fewer than 100 are for training.
    """
    settings = settings or LinkSettings()
    if len({len(lower), len(higher), len(heldout), len(text_id)}) > 1:
        raise InputError(
            f"Codes of two layers must be of the same tokens; got {len(lower)} and {len(higher)} "
            f"rows, {len(text_id)} texts and {len(heldout)} marks."
        )
    one, two = lower[torch.from_numpy(~heldout)], higher[torch.from_numpy(~heldout)]
    if len(one) < 100:
        raise InputError(f"Linking layers needs at least 100 training tokens; got {len(one)}.")
    first, second = _standardised(one), _standardised(two)
    train = _products(first, second)
    rng = np.random.default_rng(settings.seed)
    orders = (shuffled_texts(text_id[~heldout], rng) for _ in range(settings.shuffles))
    null = np.concatenate([_products(first, second[order]).ravel() for order in orders])
    quantile = _limit(train.ravel(), null[~np.isnan(null)], settings)
    confirmed = None
    if heldout.any():
        mask = torch.from_numpy(heldout)
        confirmed = correlations(lower[mask], higher[mask])
    return LayerLinks(train, confirmed, quantile, settings)


def shuffled_texts(
    text_id: Int[np.ndarray, "rows"], rng: np.random.Generator
) -> Int[Tensor, "rows"]:
    """Rows in another order: texts at random, the rows of each text as they were."""
    edges = np.flatnonzero(np.diff(text_id)) + 1
    texts = np.split(np.arange(len(text_id)), edges)
    return torch.from_numpy(np.concatenate([texts[i] for i in rng.permutation(len(texts))]))


def correlations(
    first: CodeMatrix, second: Float[Tensor, "rows _"]
) -> Float[np.ndarray, "features _"]:
    """Pearson correlation of every column of one matrix with every column of another.

    Args:
        first: [rows features].
        second: the same rows.

    Returns:
        NaN where a column does not vary.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
        >>> correlations(x, torch.tensor([[2.0], [0.0], [2.0], [0.0]])).round(6).tolist()
        [[1.0], [nan]]
    """
    return _products(_standardised(first), _standardised(second))


def _standardised(codes: CodeMatrix) -> CodeMatrix:
    """Columns of mean 0 and length 1, float32; NaN where a column does not vary."""
    centred = codes.float() - codes.double().mean(dim=0).float()
    varies = codes.amax(dim=0) > codes.amin(dim=0)
    return torch.where(varies, centred / centred.norm(dim=0), torch.nan)


def _products(
    first: CodeMatrix, second: Float[Tensor, "rows _"]
) -> Float[np.ndarray, "features _"]:
    return np.asarray((first.T @ second).double().numpy())


def _limit(found: np.ndarray, null: np.ndarray, settings: LinkSettings) -> float:
    """Smallest correlation above which at most the allowed share of links is false."""
    found = np.sort(found[~np.isnan(found)])[::-1]
    null = np.sort(null)
    expected = (len(null) - np.searchsorted(null, found, side="left")) / settings.shuffles
    false = expected / np.arange(1, len(found) + 1)
    good = np.flatnonzero(false <= settings.false_links)
    return float(found[good[-1]]) if len(good) else float("inf")


@dataclass(frozen=True, eq=False)
class WeightLinks:
    """How features of a lower layer reach features of a higher one through the residual stream.

    Attributes:
        cosine: cosine of what a lower feature writes into the stream with what the higher feature's
            neurons read from it, weighted by the feature's atom: the larger in magnitude of the
            two readings (gate and input) where an MLP is gated. NaN where one of the two features
            is dead, its atom zero.
        null_quantile: the (1 − ``false``) quantile of |cosine| when the higher features' weights
            stand on shuffled neurons, dead features left out; infinite when all are dead.
    """

    cosine: Float[np.ndarray, "features _"]
    null_quantile: float


def reach_through_stream(
    written: Float[Tensor, "features d_model"],
    atoms: Float[Tensor, "_ channels"],
    readings: list[Float[Tensor, "d_model channels"]],
    *,
    false: float = 0.01,
    permutations: int = 5,
    seed: int = 0,
) -> WeightLinks:
    """Compare what lower features write with what higher features' neurons read.

    A feature z of neurons with input weights W reads the direction W z: the gradient of Σ z · x W.
    The layer norm and the nonlinearity are left out, and so are attention and the layers in
    between: this is the direct path.

    Args:
        written: directions that the lower features add to the stream (``output_direction``).
        atoms: of the higher layer.
        readings: input weights of the higher layer's MLP: W_in, and W_gate where it has gates.
        false: share of shuffled pairs allowed above ``null_quantile``.
        permutations: shuffles of every atom.
        seed: of the shuffles.
    """
    atoms = atoms.detach().float().cpu()
    out = _directions(written.detach().float().cpu())

    def cosines(features: Tensor) -> Float[np.ndarray, "_ _"]:
        read = [_directions(features @ one.float().cpu().T) for one in readings]
        each = torch.stack([out @ one.T for one in read])
        strongest = each.abs().argmax(dim=0, keepdim=True)
        return np.asarray(each.gather(0, strongest)[0].numpy())

    generator = torch.Generator().manual_seed(seed)
    shuffled = []
    for _ in range(permutations):
        order = torch.rand(atoms.shape, generator=generator).argsort(dim=1)
        shuffled.append(np.abs(cosines(atoms.gather(1, order))).ravel())
    null = np.concatenate(shuffled)
    null = null[~np.isnan(null)]
    return WeightLinks(
        cosine=cosines(atoms),
        null_quantile=float(np.quantile(null, 1 - false)) if len(null) else float("inf"),
    )


def _directions(rows: Tensor) -> Tensor:
    """Rows of length 1; a row of zeros has no direction, NaN."""
    return rows / rows.norm(dim=1, keepdim=True)
