"""A sparse autoencoder trained by SAELens on the rows that the other methods get."""

import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from cofire.activations import Activations
from cofire.baselines.lens import sae_lens
from cofire.device import resolve_device
from cofire.dictionary import Dictionary
from cofire.errors import ConvergenceWarning, InputError
from cofire.progress import Advance
from cofire.site import Site
from cofire.types import ActivationMatrix, Tensor

Architecture: TypeAlias = Literal["topk", "standard"]

_BATCH = 512
_STEPS = 500  # then within 1% of the loss after 1000 (5,000 rows × 2,048 channels, k = 100)
_PASSES = 5
_HELD_BACK = 0.1  # of the texts, on which the grid is judged
_LEARNING_RATES = (1e-3, 3e-3)  # 1e-2 was never better, 3e-4 not done after 500 steps
_FIRST_L1 = 2.0  # for rows scaled to norm √channels, as SAELens scales them
_L1_TRIES = 4  # for each learning rate
_UNSAID = Site(0)  # a fitted estimator does not know where its rows are from
_ACTIVE_SHARE = 0.2  # of the features: about what SNMF's default gives


@dataclass(frozen=True)
class Try:
    """One cell of the grid, judged on rows that were held back.

    Attributes:
        learning_rate: of Adam.
        l1: SAELens' ``l1_coefficient``, None for topk.
        loss: ‖X - X̂‖² / ‖X‖² there.
        active: mean number of features active a row there (L0).
    """

    learning_rate: float
    l1: float | None
    loss: float
    active: float


def matched_sae(n_components: int, *, architecture: Architecture, **settings: Any) -> "MatchedSAE":
    """An unfitted ``MatchedSAE``, if SAELens is there.

    Raises:
        InputError: when the extra is missing.
    """
    if find_spec("sae_lens") is None:
        raise InputError(
            "Sparse autoencoders are trained by the package 'sae-lens'; install it with: "
            "pip install 'cofire[sae]'."
        )
    return MatchedSAE(n_components, architecture=architecture, **settings)


class MatchedSAE(BaseEstimator):
    """A TopK (Gao et al. 2024) or L1 (Bricken et al. 2023) SAE on given rows.

    Modules, loss and optimiser are SAELens' own (``SAETrainer``); rows are scaled to mean norm
    √channels for it, the decoder's bias starts at the mean row, the learning rate warms up over 2%
    of the steps and falls to 0 over the last fifth. TopK revives dead features with SAELens'
    auxiliary loss.

    A tenth of the texts (of the rows, for plain rows) is held back. TopK tries every learning rate
    at k = ``max_active``; L1 tries every learning rate with a bracketed search over the
    coefficient for at most ``max_active`` features a row. The cell of the lowest loss on the rows
    held back, among those within ``max_active``, is trained once more on all rows. Every try is
    recorded.

    Attributes:
        components_: decoder rows, unit norm [features channels].
        encoder_weight_, encoder_bias_, offset_: see ``Dictionary``; offset_ is the decoder's bias.
        max_active_: bound on the features active a row.
        tries_: the grid.
        chosen_: the cell that was taken.
        n_iter_: training steps.
        record_: tries, choice and SAELens' version, as plain JSON values.
        callback: called after every training step, with what is done and figures to show; set it
            before ``fit``. Clones have none.
    """

    callback: Advance | None = None

    def __init__(
        self,
        n_components: int = 100,
        *,
        architecture: Architecture = "topk",
        max_active: int | None = None,
        max_iter: int | None = None,
        random_state: int = 0,
        device: str = "auto",
    ) -> None:
        """Nothing is trained yet.

        Args:
            n_components: number of features.
            architecture: ``topk`` or ``standard`` (L1).
            max_active: features active a row, exactly for topk (at most k), at most in the mean for
                standard; None for a fifth of the features.
            max_iter: training steps of 512 rows; None for 500, or five passes over the rows where
                that is more.
            random_state: of the start, the order of the rows and those held back.
            device: to train on.
        """
        self.n_components = n_components
        self.architecture = architecture
        self.max_active = max_active
        self.max_iter = max_iter
        self.random_state = random_state
        self.device = device

    def fit(self, X: np.ndarray | Activations, y: None = None) -> "MatchedSAE":
        """Train on [rows channels].

        Raises:
            InputError: when there are too few rows to hold some back, or steps to train.
        """
        if self.max_iter is not None and self.max_iter < 1:
            raise InputError(f"max_iter is the number of training steps; got {self.max_iter}.")
        if self.max_active is not None and self.max_active < 1:
            raise InputError(f"max_active must be at least 1; got {self.max_active}.")
        values = validate_data(self, X, dtype=np.float32, ensure_min_samples=2)
        held_back = torch.from_numpy(_held_back(X, len(values), self.random_state))
        rows = torch.from_numpy(np.ascontiguousarray(values)).to(resolve_device(self.device))
        self.n_iter_: int = self._steps(len(rows))
        asked = self.max_active or round(_ACTIVE_SHARE * self.n_components)
        self.max_active_: int = min(max(1, asked), self.n_components)
        tries = []
        for rate in _LEARNING_RATES:
            search = _Bracket(self.max_active_)
            for l1 in search if self.architecture == "standard" else (None,):
                sae = self._train(rows[~held_back], rate, l1)
                tries.append(_judged(sae, rows[held_back], rate, l1))
                search.heard(tries[-1].active)
        self.tries_: list[Try] = tries
        self.chosen_: Try = self._choice(tries)
        sae = self._train(rows, self.chosen_.learning_rate, self.chosen_.l1)
        parts = {name: part.cpu().numpy() for name, part in sae.tensors().items()}
        self.components_: np.ndarray = parts["atoms"]
        self.encoder_weight_: np.ndarray = parts["encoder_weight"]
        self.encoder_bias_: np.ndarray = parts["encoder_bias"]
        self.offset_: np.ndarray = parts["offset"]
        self.record_: dict[str, Any] = {
            "tries": [asdict(cell) for cell in tries],
            "chosen": asdict(self.chosen_),
            "features_active": self.max_active_,
            "sae_lens": sae_lens().__version__,
        }
        return self

    def training_steps(self, n_rows: int) -> int:
        """Training steps of a fit on so many rows: all tries, and the last training."""
        cells = len(_LEARNING_RATES) * (_L1_TRIES if self.architecture == "standard" else 1)
        return (cells + 1) * self._steps(n_rows)

    def _steps(self, n_rows: int) -> int:
        return self.max_iter or max(_STEPS, -(-_PASSES * n_rows // _BATCH))

    def _choice(self, tries: list[Try]) -> Try:
        slack = 1e-6 * self.max_active_
        within = [cell for cell in tries if cell.active <= self.max_active_ + slack]
        if within:
            return min(within, key=lambda cell: cell.loss)
        sparsest = min(tries, key=lambda cell: cell.active)
        warnings.warn(
            f"No L1 coefficient of {len(tries)} tried gave at most {self.max_active_} active "
            f"features a row; the sparsest, with {sparsest.active:.1f}, was taken.",
            ConvergenceWarning,
            stacklevel=3,
        )
        return sparsest

    def _train(self, rows: ActivationMatrix, rate: float, l1: float | None) -> Dictionary:
        """One training of SAELens, without its progress bar and its record keeping."""
        lens = sae_lens()
        channels = rows.shape[1]
        scale = float(channels**0.5 / rows.norm(dim=1).mean().clamp_min(1e-12))
        size = {"d_in": channels, "d_sae": self.n_components}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            sae: Any
            if self.architecture == "topk":
                sae = lens.TopKTrainingSAE(lens.TopKTrainingSAEConfig(k=self.max_active_, **size))
            else:
                warm_up = self.n_iter_ // 20
                sae = lens.StandardTrainingSAE(
                    lens.StandardTrainingSAEConfig(
                        l1_coefficient=l1, l1_warm_up_steps=warm_up, **size
                    )
                )
        sae.b_dec.data.copy_(scale * rows.mean(dim=0))
        sae.to(str(rows.device))
        batch = min(_BATCH, len(rows))
        trainer = lens.SAETrainer(
            lens.config.SAETrainerConfig(
                total_training_samples=self.n_iter_ * batch,
                train_batch_size_samples=batch,
                lr=rate,
                lr_end=rate,
                lr_warm_up_steps=self.n_iter_ // 50,
                lr_decay_steps=self.n_iter_ // 5,
                dead_feature_window=max(1, self.n_iter_ // 5),
                device=str(rows.device),
            ),
            sae,
            iter(()),
        )
        for index in _batches(len(rows), batch, self.n_iter_, self.random_state):
            trainer.step(scale * rows[index.to(rows.device)])
            trainer.n_training_steps += 1
            if self.callback is not None:
                self.callback(1)
        top_k = self.max_active_ if self.architecture == "topk" else None
        return _dictionary(sae, scale, top_k, _UNSAID)


def _dictionary(sae: Any, scale: float, top_k: int | None, site: Site) -> Dictionary:
    """Fold the scale of the rows and the norms of the decoder into the weights.

    SAELens' topk ranks by pre-activation times that norm, so that the same features win.
    """
    norms = sae.W_dec.detach().norm(dim=1).clamp_min(1e-12)
    return Dictionary(
        atoms=sae.W_dec.detach() / norms[:, None],
        site=site,
        encoder="relu" if top_k is None else "topk",
        encoder_weight=sae.W_enc.detach() * norms,
        encoder_bias=sae.b_enc.detach() * norms / scale,
        offset=sae.b_dec.detach() / scale,
        top_k=top_k,
    )


class _Bracket:
    """L1 coefficients to try, from the number of active features that the last one gave."""

    def __init__(self, max_active: int) -> None:
        self._bound = float(max_active)
        self._dense: float | None = None  # largest coefficient that is too small
        self._sparse: float | None = None  # smallest one that is large enough
        self._last = _FIRST_L1

    def __iter__(self) -> Iterator[float]:
        for _ in range(_L1_TRIES):
            yield self._last
            if self._dense is None:
                self._last /= 2
            elif self._sparse is None:
                self._last *= 2
            else:
                self._last = (self._dense * self._sparse) ** 0.5

    def heard(self, active: float) -> None:
        """How many features were active a row with the last coefficient."""
        if active > self._bound:
            self._dense = self._last
        else:
            self._sparse = self._last


def _judged(sae: Dictionary, rows: ActivationMatrix, rate: float, l1: float | None) -> Try:
    codes = sae.encode(rows)
    total = rows.double().square().sum().clamp_min(1e-300)
    return Try(
        learning_rate=rate,
        l1=l1,
        loss=float((rows - sae.decode(codes)).double().square().sum() / total),
        active=float((codes > 0).double().sum(dim=1).mean()),
    )


def _held_back(X: Any, n_rows: int, seed: int) -> np.ndarray:
    """True for the rows of a tenth of the texts, at least one; of the rows where texts are few."""
    rng = np.random.default_rng(seed)
    owner = X.tokens.text_id if isinstance(X, Activations) else np.arange(n_rows)
    owners = np.unique(owner)
    if len(owners) == 1:
        owner = owners = np.arange(n_rows)
    chosen = rng.permutation(owners)[: max(1, round(_HELD_BACK * len(owners)))]
    return np.isin(owner, chosen)


def _batches(n_rows: int, batch: int, steps: int, seed: int) -> Iterator[Tensor]:
    """Row numbers for each step: every row once in a random order, then again in another."""
    generator = torch.Generator().manual_seed(seed)
    left = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(left) < batch:
            left = torch.cat([left, torch.randperm(n_rows, generator=generator)])
        yield left[:batch]
        left = left[batch:]
