"""The positive codes of a layer kept sparse: where features fire, alone and together, quickly."""

from dataclasses import dataclass

import numpy as np
import torch

from cofire.errors import InputError
from cofire.types import CodeMatrix, Float, Int, Tensor

_BLOCK_FEATURES = 256  # dense columns that are copied at once


@dataclass(frozen=True, eq=False)
class Cofiring:
    """Features that fire on the same rows as one feature, the largest cosine first.

    Attributes:
        features: their numbers, those with a shared row only.
        both: rows on which both fire.
        jaccard: rows on which both fire / rows on which either does.
        cosine: cosine of the two columns of positive codes.
    """

    features: Int[np.ndarray, "values"]
    both: Int[np.ndarray, "values"]
    jaccard: Float[np.ndarray, "values"]
    cosine: Float[np.ndarray, "values"]


@dataclass(frozen=True, eq=False)
class Histogram:
    """How positive codes are spread.

    Attributes:
        edges: of the bins, one more than there are bins.
        counts: codes in each bin; the last edge belongs to the last bin.
        rows: rows looked at.
        zero: rows whose code is not above 0.
    """

    edges: Float[np.ndarray, "_"]
    counts: Int[np.ndarray, "values"]
    rows: int
    zero: int


@dataclass(frozen=True)
class Together:
    """Two features on the same rows.

    Attributes:
        both: rows on which both fire.
        jaccard: that / rows on which either does; NaN when none does.
        cosine: cosine of the two columns of positive codes; NaN when one is zero.
    """

    both: int
    jaccard: float
    cosine: float


class PositiveCodes:
    """Codes above 0, by feature and by row; the others are left out.

    Args:
        codes: [rows features]; signed ones count on their positive side only.
        rows: mask of the rows that are counted (training rows); all when None. Other rows can
            still be looked up with ``window``.

    >>> found = PositiveCodes(torch.tensor([[1.0, 2.0], [1.0, 0.0], [0.0, 3.0], [0.0, 0.0]]))
    >>> together = found.cofiring(0)
    >>> together.features.tolist(), together.both.tolist(), together.jaccard.round(2).tolist()
    ([1], [1], [0.33])
    """

    def __init__(self, codes: CodeMatrix, rows: np.ndarray | None = None) -> None:
        from scipy.sparse import csc_matrix, hstack  # slow to import

        blocks = [
            csc_matrix(block.clamp_min(0).float().cpu().numpy())
            for block in torch.split(codes, _BLOCK_FEATURES, dim=1)
        ]
        self._columns = hstack(blocks, format="csc") if blocks else csc_matrix(codes.shape)
        self._counted = np.ones(len(codes), bool) if rows is None else rows
        self._rows = self._columns.tocsr()[np.flatnonzero(self._counted)]
        counted = self._rows.tocsc()
        self._firings = np.diff(counted.indptr)
        self._length = np.sqrt(np.asarray(counted.multiply(counted).sum(axis=0))).ravel()
        self._training = counted

    @property
    def n_rows(self) -> int:
        """Rows that are counted."""
        return int(self._rows.shape[0])

    @property
    def n_features(self) -> int:
        """Columns."""
        return int(self._columns.shape[1])

    def cofiring(self, feature: int) -> Cofiring:
        """Features that fire on the same counted rows.

        Raises:
            InputError: when there is no such feature.
        """
        column = self._column(feature)
        rows = self._rows[column.indices]
        both = np.bincount(rows.indices, minlength=self.n_features)
        product = np.asarray(rows.T @ column.data).ravel()
        both[feature] = 0
        found = np.flatnonzero(both)
        either = self._firings[found] + self._firings[feature] - both[found]
        cosine = product[found] / (self._length[found] * self._length[feature])
        order = np.lexsort((found, -cosine))
        found = found[order]
        return Cofiring(
            found, both[found], (both[found] / either[order]).astype(float), cosine[order]
        )

    def beside(self, feature: int, other: "PositiveCodes", other_feature: int) -> Together:
        """One feature with one of another layer or run, on the same counted rows.

        Raises:
            InputError: when a feature does not exist, or the rows are not as many.
        """
        if other.n_rows != self.n_rows:
            raise InputError(
                f"Codes of {self.n_rows} rows cannot be compared with codes of {other.n_rows}."
            )
        one, two = self._column(feature), other._column(other_feature)
        _, here, there = np.intersect1d(
            one.indices, two.indices, assume_unique=True, return_indices=True
        )
        both, either = len(here), len(one.indices) + len(two.indices) - len(here)
        length = self._length[feature] * other._length[other_feature]
        product = float(one.data[here].astype(float) @ two.data[there].astype(float))
        return Together(
            both,
            both / either if either else float("nan"),
            product / float(length) if length else float("nan"),
        )

    def matrix(self) -> Float[Tensor, "rows features"]:
        """All counted rows as one dense matrix."""
        return torch.from_numpy(self._rows.toarray())

    def histogram(self, feature: int, *, bins: int = 40) -> Histogram:
        """Positive codes of the counted rows in bins of equal width from 0 to the largest.

        Raises:
            InputError: when there is no such feature.
        """
        values = self._column(feature).data.astype(float)
        values = values[np.isfinite(values)]
        top = float(values.max()) if len(values) else 1.0
        counts, edges = np.histogram(values, bins=bins, range=(0.0, top))
        return Histogram(edges, counts, self.n_rows, self.n_rows - len(values))

    def window(self, feature: int, start: int, stop: int) -> Float[np.ndarray, "values"]:
        """Positive codes of rows ``start`` to ``stop`` of all rows, 0 where there is none.

        Raises:
            InputError: when there is no such feature.
        """
        self._check(feature)
        first, last = self._columns.indptr[feature : feature + 2]
        rows = self._columns.indices[first:last]
        low, high = np.searchsorted(rows, [start, stop])
        found = np.zeros(stop - start, np.float32)
        found[rows[low:high] - start] = self._columns.data[first + low : first + high]
        return found

    def _column(self, feature: int) -> "_Column":
        self._check(feature)
        first, last = self._training.indptr[feature : feature + 2]
        return _Column(self._training.indices[first:last], self._training.data[first:last])

    def _check(self, feature: int) -> None:
        if not 0 <= feature < self.n_features:
            raise InputError(
                f"There is no feature {feature}; this layer has 0 to {self.n_features - 1}."
            )


@dataclass(frozen=True, eq=False)
class _Column:
    """Where one feature fires, and how strongly."""

    indices: np.ndarray
    data: np.ndarray
