"""Continuations of a prompt while the model is changed, many at once.

Continuations of one cell that have the same tokens so far are one row of the batch: they part when
they draw different tokens. Rows that ended leave the batch. Neither changes what is drawn.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from transformers import DynamicCache

from cofire.errors import InputError
from cofire.models.adapter import LanguageModel
from cofire.models.head import Head
from cofire.models.interventions import Intervention, intervening
from cofire.models.packing import PackedLinears
from cofire.models.prefix import FORWARD_ERRORS, last_stream, same_numbers
from cofire.models.tracing import accepts, probe_ids
from cofire.sampling import SamplingSettings, draw, kept_probabilities
from cofire.site import Site
from cofire.types import Bool, Float, Int, Tensor

logger = logging.getLogger(__name__)

Watch: TypeAlias = Callable[[Sequence[Sequence[int]], Sequence[bool]], None]
"""Gets the new tokens of every continuation so far, and whether each has ended."""


@dataclass(frozen=True)
class Continuation:
    """What followed a prompt.

    Attributes:
        token_ids: new tokens only, without the one that ended the text.
        ended: whether an end-of-text token was drawn before the longest length.
    """

    token_ids: tuple[int, ...]
    ended: bool


class TextGenerator:
    """Continues prompts under interventions, with keys and values kept between tokens.

    Whether the architecture keeps keys and values correctly for rows that part is tried out once;
    where it does not, every token is a pass over the whole text, which ``cached`` tells.

    Attributes:
        model: the model.
        head: the language head.
        cached: whether keys and values are kept.
        stop_ids: tokens that end a text.

    Args:
        model: the model.
        head: its head, when one was made already.
    """

    def __init__(self, model: LanguageModel, head: Head | None = None) -> None:
        self.model = model
        self.head = head or model.head
        self.stop_ids = _stop_ids(model)
        self._packed: PackedLinears | None = None
        self.cached = self._can_cache()
        if not self.cached:
            logger.warning("%s keeps no keys and values here; generation is slow", model.name)
        self._packed = model.packed_trunk

    def generate(
        self,
        ids: Sequence[int],
        uniforms: Float[Tensor, "batch position"],
        *,
        cells: Int[Tensor, "batch"] | None = None,
        site: Site | None = None,
        intervention: Intervention | None = None,
        skip_first: int = 0,
        sampling: SamplingSettings | None = None,
        watch: Watch | None = None,
    ) -> list[Continuation]:
        """Continue one prompt many times.

        The interventions act on every position, those of the prompt and the new ones, but on the
        first ``skip_first``.

        Args:
            ids: tokens of the prompt, special ones included.
            uniforms: a row of numbers in [0, 1) for each continuation, one a new token; they alone
                decide what is drawn. The width is the longest length of a continuation.
            cells: for each continuation, its row of the intervention; all 0 when None.
            site: where the intervention acts.
            intervention: what it does, one row a cell; None for the model as it is.
            skip_first: positions at the start of the prompt that are left as they are.
            sampling: how tokens are drawn.
            watch: called after every new token, while nothing of the model is changed; what it
                raises ends the generation.

        Returns:
            Continuations in the order of the rows of ``uniforms``. They do not depend on what else
            is in the batch beyond the rounding of the model's numbers.

        Raises:
            InputError: when the prompt is empty, or cells and continuations do not agree.
        """
        sampling = sampling or SamplingSettings()
        n_wanted, n_steps = uniforms.shape
        device = self.model.device
        cells = torch.zeros(n_wanted, dtype=torch.long) if cells is None else cells
        if not ids or len(cells) != n_wanted or (site is None) != (intervention is None):
            raise InputError(
                f"Got {len(ids)} prompt tokens, {n_wanted} continuations and {len(cells)} cells; "
                "give at least one token, a cell for each continuation, and a site with the "
                "intervention."
            )
        present, branch = torch.unique(cells, return_inverse=True)
        state = _Branches(self, ids, present.to(device), site, intervention, skip_first)
        drawn: list[list[int]] = [[] for _ in range(n_wanted)]
        ended = [False] * n_wanted
        alive = torch.arange(n_wanted)
        stop = torch.tensor(sorted(self.stop_ids), dtype=torch.long)
        for step in range(n_steps):
            values, tokens = self.head.top(state.stream, sampling.n_needed)
            chances = kept_probabilities(values.cpu(), sampling)
            place = draw(chances[branch], uniforms[alive, step])
            token = tokens.cpu()[branch, place]
            over = torch.isin(token, stop)
            for row in alive[over].tolist():
                ended[row] = True
            alive, branch, token = alive[~over], branch[~over], token[~over]
            for row, number in zip(alive.tolist(), token.tolist(), strict=True):
                drawn[row].append(number)
            if watch is not None:
                watch(drawn, ended)
            if not len(alive) or step == n_steps - 1:
                break
            pairs, branch = torch.unique(
                torch.stack([branch, token], dim=1), dim=0, return_inverse=True
            )
            state.advance(pairs[:, 0].to(device), pairs[:, 1].to(device))
        return [Continuation(tuple(ids), end) for ids, end in zip(drawn, ended, strict=True)]

    def forward(self, tokens: Int[Tensor, "batch position"], cache: DynamicCache | None) -> Any:
        """Run the trunk on new tokens after those in the cache, which takes them in."""
        if cache is None:
            return self.model.run(tokens, torch.ones_like(tokens), _counted(tokens, 0))
        past = int(cache.get_seq_length())
        mask = torch.ones(len(tokens), past + tokens.shape[1], dtype=torch.long)
        inputs: dict[str, Any] = {"past_key_values": cache, "use_cache": True}
        if accepts(self.model.trunk, "position_ids"):
            inputs["position_ids"] = _counted(tokens, past)
        with torch.inference_mode(), self._packed.used() if self._packed else nullcontext():
            return self.model.trunk(
                input_ids=tokens, attention_mask=mask.to(tokens.device), **inputs
            )

    @property
    def packed(self) -> bool:
        """Whether linear maps run through packed weights, see ``PackedLinears``."""
        return self._packed is not None

    def new_cache(self) -> DynamicCache | None:
        """An empty cache, None when none is kept."""
        return DynamicCache(config=self.model.model.config) if self.cached else None

    def _can_cache(self) -> bool:
        """Compare a text read in two parts, rows exchanged in between, with one read whole."""
        model = self.model
        ids = probe_ids(model.model.config.get_text_config().vocab_size, model.device)
        rows = torch.tensor([1, 0, 1], device=model.device)
        whole = last_stream(self.forward(ids, None))[rows]
        self.cached = True
        try:
            cache = self.new_cache()
            if cache is None or not accepts(model.trunk, "past_key_values"):
                return False
            self.forward(ids[:, :-2], cache)
            cache.batch_select_indices(rows)
            self.forward(ids[rows, -2:-1], cache)
            parted = last_stream(self.forward(ids[rows, -1:], cache))
        except FORWARD_ERRORS:
            return False
        return same_numbers(parted, whole, model.dtype)


class _Branches:
    """The texts that differ so far, one a row, and the model's state after each of them."""

    def __init__(
        self,
        generator: TextGenerator,
        ids: Sequence[int],
        cells: Int[Tensor, "batch"],
        site: Site | None,
        intervention: Intervention | None,
        skip_first: int,
    ) -> None:
        self._generator = generator
        self._cells, self._site, self._intervention = cells, site, intervention
        self._skip_first = skip_first
        self._cache = generator.new_cache()
        self._tokens = torch.tensor([list(ids)], device=cells.device).repeat(len(cells), 1)
        self.stream = self._run(self._tokens)

    def advance(self, parents: Int[Tensor, "batch"], tokens: Int[Tensor, "batch"]) -> None:
        """Go on with one more token: row i continues row ``parents[i]``."""
        stays = len(parents) == len(self._cells) and bool(
            (parents == torch.arange(len(parents), device=parents.device)).all()
        )
        if not stays:
            self._cells = self._cells[parents]
            self._tokens = self._tokens[parents]
            if self._cache is not None:
                self._cache.batch_select_indices(parents)
        self._tokens = torch.cat([self._tokens, tokens[:, None]], dim=1)
        self.stream = self._run(self._tokens if self._cache is None else tokens[:, None])

    def _run(self, tokens: Int[Tensor, "batch position"]) -> Float[Tensor, "batch d_model"]:
        if self._intervention is None or self._site is None:
            context: Any = nullcontext()
        else:
            edit = {self._site: self._intervention.take(self._cells)}
            context = intervening(self._generator.model, edit, where=self._where(tokens))
        with context:
            return last_stream(self._generator.forward(tokens, self._cache))

    def _where(
        self, tokens: Int[Tensor, "batch position"]
    ) -> Bool[Tensor, "batch position"] | None:
        """Positions to change, None for all: those given are the last of the text so far."""
        first = self._tokens.shape[1] - tokens.shape[1]
        if first >= self._skip_first:
            return None
        return (_counted(tokens, first) >= self._skip_first).contiguous()


def _counted(tokens: Int[Tensor, "batch position"], start: int) -> Int[Tensor, "batch position"]:
    """Positions of tokens that follow ``start`` others."""
    places = torch.arange(start, start + tokens.shape[1], device=tokens.device)
    return places.expand_as(tokens)


def _stop_ids(model: LanguageModel) -> frozenset[int]:
    """Every token that the tokenizer or the model's own settings call the end of a text."""
    settings = getattr(model.model, "generation_config", None)
    listed = getattr(settings, "eos_token_id", None)
    ids = listed if isinstance(listed, list | tuple) else [listed]
    return frozenset(int(i) for i in [*ids, model.tokenizer.eos_token_id] if i is not None)
