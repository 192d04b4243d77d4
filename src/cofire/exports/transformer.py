"""A dictionary as a fitted scikit-learn transformer."""

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import validate_data

from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.exports.source import RunSite, chosen_site
from cofire.store import Run
from cofire.types import Float


class DictionaryTransformer(TransformerMixin, BaseEstimator):
    """Rows to codes by a dictionary that is already learned, of any method.

    The dictionary is a parameter: ``fit`` learns nothing, and clones (of pipelines, in
    cross-validation) encode as the original does. On the run's rows ``transform`` gives the stored
    codes. It can be pickled.

    >>> from cofire.site import Site
    >>> transformer = DictionaryTransformer(Dictionary(torch.eye(2), Site(0)))
    >>> transformer.transform(np.array([[3.0, -1.0]])).tolist()
    [[3.0, 0.0]]

    Args:
        dictionary: atoms and encoder.
        names: what the features are called, one each; ``feature0`` and so on when None.
    """

    def __init__(self, dictionary: Dictionary, names: tuple[str, ...] | None = None) -> None:
        self.dictionary = dictionary
        self.names = names

    @classmethod
    def of_run(cls, run: Run, layer: int | None = None) -> "DictionaryTransformer":
        """The dictionary of a stored run; features are called by their number and label.

        Args:
            run: the run.
            layer: one of its layers; needed when it has several.

        Raises:
            InputError: when there is no such layer, or several and none was named.
        """
        source = RunSite(run, chosen_site(run, layer))
        return cls(source.dictionary, tuple(source.names))

    @property
    def components_(self) -> Float[np.ndarray, "features channels"]:
        """The atoms."""
        return self.dictionary.atoms.numpy()

    def fit(self, X: object = None, y: object = None) -> "DictionaryTransformer":
        """Learns nothing; for scikit-learn's conventions."""
        return self

    def transform(self, X: Any) -> Float[np.ndarray, "rows features"]:
        """Codes of rows [rows channels].

        Raises:
            ValueError: for anything but a matrix of numbers.
            InputError: when the rows are not as wide as the atoms.
        """
        if isinstance(X, torch.Tensor):
            X = X.detach().cpu().float().numpy()
        rows = validate_data(self, X, reset=True, dtype=np.float32)
        return self.dictionary.encode(torch.from_numpy(np.ascontiguousarray(rows))).numpy()

    def inverse_transform(self, X: Any) -> Float[np.ndarray, "rows channels"]:
        """Rows that codes [rows features] stand for.

        Raises:
            InputError: when the codes are not as many as the features.
        """
        codes = torch.as_tensor(np.asarray(X, dtype=np.float32))
        if codes.ndim != 2 or codes.shape[1] != self.dictionary.n_features:
            raise InputError(
                f"Codes must be [rows features] with {self.dictionary.n_features} features; got "
                f"shape {tuple(codes.shape)}."
            )
        return self.dictionary.decode(codes).numpy()

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """What the columns of ``transform`` are called.

        Raises:
            InputError: when there are more or fewer names than features.
        """
        n_features = self.dictionary.n_features
        names = self.names or tuple(f"feature{i}" for i in range(n_features))
        if len(names) != n_features:
            raise InputError(f"{len(names)} names for {n_features} features; give one each.")
        return np.array(names, dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True
