"""Steering features of a model: matched strengths and continuations, many cells at a time."""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from itertools import groupby
from typing import TypeAlias

import torch

from cofire.errors import InputError
from cofire.evaluation.kl_search import (
    Divergence,
    SearchSettings,
    StrengthMatch,
    kl_divergence,
    match_strengths,
)
from cofire.evaluation.steering_records import (
    CellKey,
    Generation,
    Sign,
    SteeringCell,
    SteeringSettings,
    sample_seed,
)
from cofire.models.adapter import LanguageModel
from cofire.models.generation import Continuation, TextGenerator
from cofire.models.interventions import Steer
from cofire.models.prefix import Prefix
from cofire.sampling import uniform_stream
from cofire.site import Site
from cofire.types import AtomMatrix, Float, Tensor

CPU_BATCH_ROWS, OTHER_BATCH_ROWS = 128, 1024

_LOGIT_ROWS = 64
"""Rows whose logits over the vocabulary are held at once when strengths are searched."""

GenerationWatch: TypeAlias = Callable[[Sequence[Generation]], None]
"""Gets all continuations so far."""


class Steering:
    """A model and the directions it is steered along, at one site.

    Directions are just vectors: atoms of a dictionary, or random and permuted ones to compare with.
    Every method takes a list of cells and yields results as they come, so that a caller can keep
    each and continue later with the cells that are left; a cell's result does not depend on which
    others are asked for beyond the rounding of the model's numbers.

    Attributes:
        model: the model.
        site: where it is steered.
        settings: how.
        resumed: whether the layers below the site are computed once a prompt (else every strength
            tried is a whole forward pass).
        cached: whether keys and values are kept between tokens.
        screened: whether a coarse product finds the most likely tokens first, see ``Screen``.
        packed: whether linear maps run through packed weights, see ``PackedLinears``.

    Args:
        model: the model.
        site: where to steer.
        directions: one a feature [features channels]; only their direction counts.
        settings: how to steer.
        generator: of the same model, when one was made already.

    Raises:
        InputError: when the directions do not fit the site or are not finite, or a prompt is longer
            than the model reads.
        ModelError: when the model lacks the site or a language head.
    """

    def __init__(
        self,
        model: LanguageModel,
        site: Site,
        directions: AtomMatrix,
        settings: SteeringSettings | None = None,
        *,
        generator: TextGenerator | None = None,
    ) -> None:
        self.model, self.site = model, site
        self.settings = settings or SteeringSettings()
        self._unit = self._checked(directions)
        self._generator = generator or TextGenerator(model)
        self._ids = [self._tokenize(prompt) for prompt in self.settings.prompts]
        self._prefixes = [Prefix(model, ids, site) for ids in self._ids]
        self._base = [self._generator.head.logits(p.run(n_rows=1))[0] for p in self._prefixes]
        self.resumed = all(prefix.resumed for prefix in self._prefixes)
        self.cached = self._generator.cached
        self.screened = self._generator.head.screened
        self.packed = self._generator.packed

    def along(self, directions: AtomMatrix, settings: SteeringSettings) -> "Steering":
        """The same model, site and prompts with other directions; what was computed is kept.

        Args:
            directions: as for the class.
            settings: with the same prompts and ``steer_bos``.

        Raises:
            InputError: when the directions do not fit the site, or the prompts are others.
        """
        if settings.prompts != self.settings.prompts:
            raise InputError("Other directions are steered with the same prompts; got others.")
        other = copy(self)
        other.settings = settings
        other._unit = self._checked(directions)
        return other

    @property
    def n_features(self) -> int:
        """Number of directions."""
        return len(self._unit)

    def match(self, keys: Sequence[CellKey]) -> Iterator[SteeringCell]:
        """Find the strength of each cell, see ``match_strengths``.

        With ``shared_strength`` sign −1 takes the strength and status found for sign 1, and reaches
        another KL than the target.

        Cells come out grouped by prompt, a batch of features at a time. An atom of zeros reaches
        nothing: its cells are unreachable at strength 0.

        Raises:
            InputError: when a feature or prompt does not exist.
        """
        shared = self.settings.shared_strength
        for prompt, chunk in self._chunks(keys, self._batch_rows):
            sought = [(key.feature, 1 if shared else key.sign) for key in chunk]
            pairs: list[tuple[int, Sign]] = list(dict.fromkeys(sought))
            place = {pair: number for number, pair in enumerate(pairs)}
            wanted = [(place[one], key.target_kl) for one, key in zip(sought, chunk, strict=True)]
            length = self._prefixes[prompt].site_length
            search = SearchSettings(
                tolerance=self.settings.tolerance, largest=self.settings.largest_strength * length
            )
            matches = match_strengths(self._divergence(prompt, pairs), wanted, search)
            if shared:
                matches = self._reached_by(prompt, chunk, matches)
            for key, match in zip(chunk, matches, strict=True):
                dead = not self._unit[key.feature].any()
                yield SteeringCell(
                    key.feature,
                    key.sign,
                    key.target_kl,
                    key.prompt,
                    alpha=0.0 if dead else match.strength,
                    reached_kl=0.0 if dead else match.kl,
                    status="unreachable" if dead else match.status,
                )

    def generate(self, cells: Sequence[SteeringCell]) -> Iterator[Generation]:
        """Continue each cell's prompt ``samples`` times, at every position steered.

        Cells that could not be matched are continued at the strength they name; leave them out of
        the list to save the time.

        Yields:
            All continuations of a cell in order, cell by cell.

        Raises:
            InputError: when a feature or prompt does not exist.
        """
        settings = self.settings
        per_pass = max(1, self._batch_rows // settings.samples)
        by_key = {cell.key: cell for cell in cells}
        for prompt, chunk in self._chunks([cell.key for cell in cells], per_pass):
            chosen = [by_key[key] for key in chunk]
            strengths = torch.tensor([cell.alpha * cell.sign for cell in chosen])
            directions = self._unit[[cell.feature for cell in chosen]]
            yield from self._continue(prompt, chosen, Steer(directions, strengths.to(directions)))

    def reference(self, prompt: int = 0, *, samples: int | None = None) -> Iterator[Generation]:
        """Continuations of the model as it is, for comparison.

        Args:
            prompt: number of the prompt.
            samples: how many; as many as a cell has when None.
        """
        yield from self._continue(prompt, [None], None, samples=samples)

    def beside_reference(
        self, cell: SteeringCell, *, watch: GenerationWatch | None = None
    ) -> Iterator[Generation]:
        """The model as it is, and steered by one cell, continued together.

        Both draw with the numbers of ``reference``, so that they differ by the steering alone.

        Args:
            cell: how to steer.
            watch: called after every new token with all continuations so far; what it raises ends
                the generation.

        Yields:
            All continuations of the model as it is, then those of the cell.

        Raises:
            InputError: when the feature or prompt does not exist.
        """
        self._check([cell.key])
        directions = self._unit[[cell.feature, cell.feature]]
        strengths = torch.tensor([0.0, cell.alpha * cell.sign]).to(directions)
        change = Steer(directions, strengths)
        yield from self._continue(
            cell.prompt, [None, cell], change, drawn_as=[None, None], watch=watch
        )

    def site_length(self, prompt: int = 0) -> float:
        """Median length of the activations at the site over a prompt, a unit for strengths."""
        return self._prefixes[prompt].site_length

    def logits(
        self, cells: Sequence[SteeringCell]
    ) -> Iterator[tuple[SteeringCell, Float[Tensor, "vocab"]]]:
        """Next-token logits after the prompt under each cell's steering, float32."""
        by_key = {cell.key: cell for cell in cells}
        for prompt, chunk in self._chunks(list(by_key), _LOGIT_ROWS):
            chosen = [by_key[key] for key in chunk]
            features = [cell.feature for cell in chosen]
            signed = [cell.alpha * cell.sign for cell in chosen]
            for block in self._steered(prompt, features, signed):
                yield from zip(chosen, block, strict=True)

    def base_logits(self, prompt: int = 0) -> Float[Tensor, "vocab"]:
        """Next-token logits after the prompt of the model as it is, float32."""
        return self._base[prompt]

    def _checked(self, directions: AtomMatrix) -> AtomMatrix:
        """The directions at unit length, on the model's device."""
        width = self.model.site_width(self.site)
        if directions.shape[1] != width or not torch.isfinite(directions).all():
            raise InputError(
                f"Directions must be finite numbers of {width} channels at {self.site}; got "
                f"{tuple(directions.shape)}."
            )
        return torch.nn.functional.normalize(directions.to(self.model.device).float(), dim=1)

    @property
    def _batch_rows(self) -> int:
        standard = CPU_BATCH_ROWS if self.model.device.type == "cpu" else OTHER_BATCH_ROWS
        return self.settings.batch_rows or standard

    @property
    def _skip_first(self) -> int:
        has_bos = self.model.tokenizer.bos_token_id is not None
        return 1 if has_bos and not self.settings.steer_bos else 0

    def _tokenize(self, prompt: str) -> list[int]:
        tokenizer = self.model.tokenizer
        ids = tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"]
        if tokenizer.bos_token_id is not None:
            ids = [tokenizer.bos_token_id, *ids]
        longest = self.model.context_length
        needed = len(ids) + self.settings.new_tokens
        if not ids or (longest is not None and needed > longest):
            raise InputError(
                f"Prompt {prompt!r} has {len(ids)} tokens, which with new tokens makes {needed}; "
                f"give at least one and, with new tokens, at most {longest}."
            )
        return [int(i) for i in ids]

    def _chunks(self, keys: Sequence[CellKey], size: int) -> Iterator[tuple[int, list[CellKey]]]:
        """Cells of one prompt, at most ``size`` at a time, in the order of first appearance."""
        order = {
            prompt: place for place, prompt in enumerate(dict.fromkeys(k.prompt for k in keys))
        }
        self._check(keys)
        ordered = sorted(keys, key=lambda key: order[key.prompt])
        for prompt, group in groupby(ordered, key=lambda key: key.prompt):
            members = list(group)
            for start in range(0, len(members), size):
                yield prompt, members[start : start + size]

    def _check(self, keys: Sequence[CellKey]) -> None:
        for key in keys:
            if not 0 <= key.feature < self.n_features or not 0 <= key.prompt < len(self._ids):
                raise InputError(
                    f"There is no cell {key}: {self.n_features} features and {len(self._ids)} "
                    "prompts, both counted from 0."
                )

    def _reached_by(
        self, prompt: int, keys: Sequence[CellKey], matches: Sequence[StrengthMatch]
    ) -> list[StrengthMatch]:
        """The matches with the KL that each cell's own sign reaches at that strength."""
        pairs = [(key.feature, key.sign) for key in keys]
        strengths = [match.strength for match in matches]
        reached = self._divergence(prompt, pairs)(range(len(pairs)), strengths)
        return [replace(match, kl=kl) for match, kl in zip(matches, reached, strict=True)]

    def _divergence(self, prompt: int, pairs: Sequence[tuple[int, Sign]]) -> Divergence:
        """KL at strengths of (feature, sign) pairs, which go by their numbers."""

        def divergence(numbers: Sequence[int], strengths: Sequence[float]) -> list[float]:
            features = [pairs[number][0] for number in numbers]
            signed = [a * pairs[n][1] for n, a in zip(numbers, strengths, strict=True)]
            found = [
                kl_divergence(self._base[prompt], logits)
                for logits in self._steered(prompt, features, signed)
            ]
            return [float(kl) for kl in torch.cat(found).tolist()]

        return divergence

    def _steered(
        self, prompt: int, features: Sequence[int], signed: Sequence[float]
    ) -> Iterator[Float[Tensor, "batch vocab"]]:
        """Logits after the prompt for features at signed strengths, a block of rows at a time."""
        prefix = self._prefixes[prompt]
        for start in range(0, len(features), _LOGIT_ROWS):
            block = slice(start, start + _LOGIT_ROWS)
            directions = self._unit[list(features[block])]
            strengths = torch.tensor(list(signed[block])).to(directions)
            where = prefix.positions(len(directions), self._skip_first)
            stream = prefix.run(Steer(directions, strengths), n_rows=len(directions), where=where)
            yield self._generator.head.logits(stream)

    def _continue(
        self,
        prompt: int,
        cells: Sequence[SteeringCell | None],
        intervention: Steer | None,
        *,
        samples: int | None = None,
        drawn_as: Sequence[CellKey | None] | None = None,
        watch: GenerationWatch | None = None,
    ) -> Iterator[Generation]:
        settings = self.settings
        n_samples = settings.samples if samples is None else samples
        keys = drawn_as or [None if cell is None else cell.key for cell in cells]
        seeds = [
            sample_seed(settings.seed, settings.prompts[prompt], key, sample)
            for key in keys
            for sample in range(n_samples)
        ]
        uniforms = torch.stack([uniform_stream(seed, settings.new_tokens) for seed in seeds])

        def told(continuations: Sequence[Continuation]) -> Iterator[Generation]:
            for place, (continuation, seed) in enumerate(zip(continuations, seeds, strict=True)):
                yield Generation(
                    cell=cells[place // n_samples],
                    prompt=prompt,
                    sample=place % n_samples,
                    text=self._text(prompt, continuation),
                    token_ids=continuation.token_ids,
                    ended=continuation.ended,
                    seed=seed,
                )

        def watching(drawn: Sequence[Sequence[int]], ended: Sequence[bool]) -> None:
            if watch is not None:
                pairs = zip(drawn, ended, strict=True)
                watch(list(told([Continuation(tuple(ids), end) for ids, end in pairs])))

        found = self._generator.generate(
            self._ids[prompt],
            uniforms,
            cells=torch.arange(len(cells)).repeat_interleave(n_samples),
            site=None if intervention is None else self.site,
            intervention=intervention,
            skip_first=self._skip_first,
            sampling=settings.sampling,
            watch=None if watch is None else watching,
        )
        yield from told(found)

    def _text(self, prompt: int, continuation: Continuation) -> str:
        """Decoded after the prompt, since some tokenizers drop the space of a text's first word."""
        tokenizer = self.model.tokenizer
        options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        before = str(tokenizer.decode(self._ids[prompt], **options))
        whole = str(tokenizer.decode([*self._ids[prompt], *continuation.token_ids], **options))
        if whole.startswith(before):
            return whole[len(before) :]
        return str(tokenizer.decode(list(continuation.token_ids), **options))
