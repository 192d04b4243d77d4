"""A prompt whose lower layers are computed once, however often what lies above is changed."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from cofire.errors import InputError
from cofire.models.adapter import LanguageModel
from cofire.models.interventions import Intervention, intervening
from cofire.models.tracing import first_tensor
from cofire.site import Site
from cofire.types import Bool, Float, Int, Tensor

logger = logging.getLogger(__name__)

FORWARD_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError)
"""What a forward pass may raise when it is used in a way that its authors did not foresee."""


@dataclass(frozen=True, eq=False)
class SkippedBlock:
    """A block that hands its input on.

    Attributes:
        module: the block.
        rest: what it returns after the stream when it returns a tuple; None when it does not.
    """

    module: nn.Module
    rest: tuple[Any, ...] | None


@contextmanager
def skipping(blocks: Sequence[SkippedBlock]) -> Iterator[None]:
    """While open, these blocks do no work: each returns the stream that it was given."""
    saved = [block.module.__dict__.get("forward") for block in blocks]
    try:
        for block in blocks:
            block.module.__dict__["forward"] = _hand_on(block.rest)
        yield
    finally:
        for block, forward in zip(blocks, saved, strict=True):
            block.module.__dict__.pop("forward", None)
            if forward is not None:
                block.module.__dict__["forward"] = forward


def _hand_on(rest: tuple[Any, ...] | None) -> Any:
    def forward(*args: Any, **kwargs: Any) -> Any:
        stream = next(v for v in (*args, *kwargs.values()) if isinstance(v, Tensor))
        return stream if rest is None else (stream, *rest)

    return forward


@contextmanager
def noting_returns(modules: Sequence[nn.Module], found: list[SkippedBlock]) -> Iterator[None]:
    """While open, write down how each block returns, in the order in which they run."""

    def hook(module: nn.Module, _args: Any, output: Any) -> None:
        rest = tuple(output[1:]) if isinstance(output, tuple) else None
        found.append(SkippedBlock(module, rest))

    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_hook(hook).remove)
        yield


def last_stream(output: Any) -> Float[Tensor, "batch d_model"]:
    """What a trunk returned, at the last position."""
    return final_streams(output)[:, -1]


def final_streams(output: Any) -> Float[Tensor, "batch position d_model"]:
    """What a trunk returned, at every position."""
    tensor = output if isinstance(output, Tensor) else first_tensor((output[0],))
    if tensor is None:
        raise InputError(f"The model's trunk returned {type(output).__name__} without a tensor.")
    return tensor


def same_numbers(one: Tensor, other: Tensor, dtype: torch.dtype) -> bool:
    """Whether two results of one computation in this number type agree to rounding, by row."""
    tolerance = max(1e-4, 16 * torch.finfo(dtype).eps)
    distance = (one.float() - other.float()).norm(dim=-1)
    return bool((distance <= tolerance * other.float().norm(dim=-1)).all())


class Prefix:
    """One prompt, ready to be run many times with interventions at one site.

    The residual stream below the site's layer does not depend on the intervention, so it is
    computed once; a run starts at the site's layer. Whether the architecture allows this is tried
    out at once, on the prompt itself; where it does not, every run is a whole forward pass, which
    ``resumed`` and ``reason`` tell.

    Attributes:
        ids: the prompt's tokens, special ones included.
        site: where interventions take place.
        resumed: whether runs start at the site's layer.
        reason: why they do not, None when they do.
        site_length: median Euclidean length of the activations at the site over the prompt's
            tokens, a natural unit for strengths.

    Args:
        model: the model.
        ids: tokens of the prompt, at least one.
        site: where interventions will take place.

    Raises:
        InputError: when the prompt is empty or the layer does not exist.
        ModelError: when the model lacks the site.
    """

    def __init__(self, model: LanguageModel, ids: Sequence[int], site: Site) -> None:
        if not ids:
            raise InputError("A prompt needs at least one token; got none.")
        model.resolve(site)
        self.ids = tuple(ids)
        self.site = site
        self._model = model
        self._entry = model.resolve(Site(site.layer, "resid_pre"))
        self._lower: list[SkippedBlock] = []
        self._stream: Tensor | None = None
        plain = self._prepare()
        self.reason = self._why_not(plain)
        self.resumed = self.reason is None
        if self.reason is not None:
            logger.warning("%s runs whole for every change: %s", model.name, self.reason)

    def run(
        self,
        intervention: Intervention | None = None,
        *,
        n_rows: int,
        where: Bool[Tensor, "batch position"] | None = None,
    ) -> Float[Tensor, "batch d_model"]:
        """The final stream at the last token, after the model's last norm.

        Args:
            intervention: what to do at the site; None for nothing.
            n_rows: rows of the batch, all of them this prompt.
            where: positions to change, all when None.

        Returns:
            A row for each row of the batch, in the model's number type; ``Head`` reads it.
        """
        return self.streams(intervention, n_rows=n_rows, where=where)[:, -1]

    def streams(
        self,
        intervention: Intervention | None = None,
        *,
        n_rows: int,
        where: Bool[Tensor, "batch position"] | None = None,
    ) -> Float[Tensor, "batch position d_model"]:
        """The final stream at every token; arguments as for ``run``."""
        edits = {} if intervention is None else {self.site: intervention}
        with (
            self._from_the_middle(n_rows) if self.resumed else nullcontext(),
            intervening(self._model, edits, where=where),
        ):
            return final_streams(self._forward(n_rows))

    def positions(self, n_rows: int, skip_first: int) -> Bool[Tensor, "batch position"] | None:
        """``where`` for all positions but the first few; None when none is left out."""
        if skip_first == 0:
            return None
        row = torch.arange(len(self.ids), device=self._model.device) >= skip_first
        return row.expand(n_rows, -1)

    def _forward(self, n_rows: int) -> Any:
        ids: Int[Tensor, "batch position"] = torch.tensor([self.ids], device=self._model.device)
        ids = ids.expand(n_rows, -1)
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        return self._model.run(ids, torch.ones_like(ids), positions)

    def _prepare(self) -> Float[Tensor, "batch d_model"]:
        """One plain pass that keeps what enters the site's layer; its last stream."""
        kept: list[Tensor] = []
        lengths: list[Tensor] = []
        lower = [block.module for block in self._model.structure.blocks[: self.site.layer]]
        with ExitStack() as stack:
            stack.callback(self._entry.register(lambda x: kept.append(x.clone())).remove)
            handle = self._model.resolve(self.site)
            stack.callback(handle.register(lambda x: lengths.append(_lengths(x))).remove)
            stack.enter_context(noting_returns(lower, self._lower))
            plain = last_stream(self._forward(1))
        self._stream = kept[0]
        self.site_length = float(lengths[0].median())
        return plain

    def _why_not(self, plain: Float[Tensor, "batch d_model"]) -> str | None:
        """Why runs cannot start at the site's layer; None when they can."""
        try:
            with self._from_the_middle(2):
                resumed = last_stream(self._forward(2))
        except FORWARD_ERRORS as error:
            return f"it cannot start at layer {self.site.layer} ({error})"
        if not same_numbers(resumed, plain.expand_as(resumed), plain.dtype):
            return f"starting at layer {self.site.layer} gives other numbers than a whole pass"
        return None

    @contextmanager
    def _from_the_middle(self, n_rows: int) -> Iterator[None]:
        """While open, the layers below the site are skipped and its layer reads what was kept."""
        stream = self._stream

        def enter(tensor: Tensor) -> Tensor | None:
            # A copy: some blocks add to their input in place.
            return None if stream is None else stream.expand(n_rows, -1, -1).clone()

        with skipping(self._lower):
            hook = self._entry.register(enter)
            try:
                yield
            finally:
                hook.remove()


def _lengths(activations: Tensor) -> Float[Tensor, "rows"]:
    return activations.flatten(0, -2).float().norm(dim=1)
