"""What a model predicts when something else stands in its activation's place."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float as FloatArray

from cofire.corpus import Corpus
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.evaluation.loss_recovered import ReplacementLosses
from cofire.models import CaptureSettings, LanguageModel
from cofire.models.batching import pad
from cofire.models.capture import planned
from cofire.models.interventions import intervening
from cofire.models.tokens import TokenizedTexts, tokenize
from cofire.models.tracing import first_tensor
from cofire.progress import SILENT, Progress
from cofire.site import Site
from cofire.types import ActivationMatrix, Bool, Float, Int, Tensor

MOST_TOKENS = 4096
"""Tokens that are read by default: intervals draw texts, and a few hundred texts make them."""

_LOGIT_ROWS = 64  # rows of logits over the vocabulary held at once, for each thing put in place
_BATCH_TOKENS = 512  # streams of all things put in place are held for a batch

_Losses: TypeAlias = FloatArray[np.ndarray, "rows"]


@dataclass(frozen=True, eq=False)
class Replacement:
    """What reconstruction by one dictionary, and ablation, do to the next-token predictions.

    Attributes:
        cross_entropy: of the token that follows, in nats.
        divergence: KL(clean ‖ changed) of the next token's distribution, in nats.
    """

    cross_entropy: ReplacementLosses
    divergence: ReplacementLosses


def replace_activations(
    model: LanguageModel,
    dictionaries: Mapping[str, Dictionary],
    corpus: Corpus,
    mean: Float[Tensor, "channels"],
    *,
    settings: CaptureSettings | None = None,
    most_tokens: int | None = MOST_TOKENS,
    seed: int = 0,
    progress: Progress = SILENT,
) -> dict[str, Replacement]:
    """Put reconstructions, the mean row and zeros in place of the activations of texts.

    At every token that becomes a row (not at the beginning-of-sequence token); predictions at the
    same tokens are scored, except at the last of a text. All dictionaries see the same texts, in
    one go. Give the figures to ``loss_recovered``.

    Args:
        model: the model the dictionaries were made of.
        dictionaries: by name, all at the same site.
        corpus: texts to read, such as the held-out ones.
        mean: mean row of the training texts at the site.
        settings: how texts are read; as the rows were captured.
        most_tokens: whole texts are drawn until there are so many; None for all texts.
        seed: of the drawing.
        progress: shown while reading.

    Returns:
        For each dictionary its losses, a line a token.

    Raises:
        InputError: when there is no dictionary, they are at several sites or of another width, or
            no text has two tokens.
        ModelError: when the model has no language head.
    """
    settings = settings or CaptureSettings()
    site = _one_site(model, dictionaries, mean)
    texts = tokenize(
        model.tokenizer,
        corpus,
        _drawn(len(corpus), most_tokens, seed),
        max_length=settings.max_length or model.context_length,
        prepend_bos=settings.prepend_bos,
        skip_empty=settings.skip_empty,
    )
    places = [i for i in _first(texts, most_tokens) if len(texts.ids[i]) > 1]
    if not any(_scored(texts, i) for i in places):
        raise InputError("No text has a token to predict after another; give longer texts.")
    reader = _Reader(model, site, dictionaries, mean)
    numbers = _text_numbers(texts)
    found: list[dict[str, tuple[_Losses, _Losses]]] = []
    text_id: list[int] = []
    chosen = TokenizedTexts(
        tuple(texts.ids[i] for i in places),
        tuple(texts.rows[i] for i in places),
        texts.table,
        (),
        (),
    )
    batches = CaptureSettings(batch_tokens=settings.batch_tokens or _BATCH_TOKENS)
    with progress.task("Replacing", len(places), "text") as advance:
        for batch in planned(model, chosen, batches):
            found.append(reader.read(chosen, batch))
            for i in batch:
                text_id += [numbers[places[i]]] * len(_scored(chosen, i))
            advance(len(batch))
    joined = {
        name: tuple(np.concatenate([one[name][kind] for one in found]) for kind in (0, 1))
        for name in found[0]
    }
    ids = np.array(text_id, dtype=np.int64)
    return {
        name: Replacement(
            ReplacementLosses(
                joined[_CLEAN][0],
                joined[_own(name)][0],
                joined[_MEAN][0],
                joined[_ZERO][0],
                ids,
            ),
            ReplacementLosses.of_divergences(
                joined[_own(name)][1], joined[_MEAN][1], joined[_ZERO][1], ids
            ),
        )
        for name in dictionaries
    }


_CLEAN, _MEAN, _ZERO = "clean", "mean", "zero"


def _own(name: str) -> str:
    return f"dictionary {name}"  # a user may call one "mean"


def _one_site(model: LanguageModel, dictionaries: Mapping[str, Dictionary], mean: Tensor) -> Site:
    sites = {one.site for one in dictionaries.values()}
    if len(sites) != 1:
        shown = ", ".join(sorted(map(str, sites))) or "none"
        raise InputError(f"Dictionaries of one site are compared at a time; got {shown}.")
    site = sites.pop()
    width = model.site_width(site)
    for name, one in dictionaries.items():
        if one.n_channels != width:
            raise InputError(
                f"{name} encodes rows of {one.n_channels} channels; {site} of {model.name} has "
                f"{width}."
            )
    if len(mean) != width:
        raise InputError(f"The mean row has {len(mean)} channels; {site} has {width}.")
    return site


def _drawn(n_texts: int, most_tokens: int | None, seed: int) -> list[int]:
    """Texts in random order; no more than can be used, since each has a token."""
    order: list[int] = np.random.default_rng(seed).permutation(n_texts)[:most_tokens].tolist()
    return order


def _first(texts: TokenizedTexts, most_tokens: int | None) -> list[int]:
    """As many of the texts, in order, as have so many tokens; one at least."""
    total = 0
    kept: list[int] = []
    for i, ids in enumerate(texts.ids):
        if kept and most_tokens is not None and total + len(ids) > most_tokens:
            break
        total += len(ids)
        kept.append(i)
    return kept


def _text_numbers(texts: TokenizedTexts) -> list[int]:
    """Number in the corpus of each text."""
    ends = np.cumsum([len(rows) for rows in texts.rows])
    return [int(texts.table.text_id[end - 1]) for end in ends]


def _scored(texts: TokenizedTexts, i: int) -> list[int]:
    """Places of one text whose next token is there."""
    return [place for place in texts.rows[i] if place + 1 < len(texts.ids[i])]


@dataclass(frozen=True, eq=False)
class _Put:
    """Put given rows where ``here`` is True."""

    rows: ActivationMatrix
    here: Bool[Tensor, "batch position"]

    def __call__(
        self, activations: Float[Tensor, "batch position channels"]
    ) -> Float[Tensor, "batch position channels"]:
        changed = activations.clone()
        changed[self.here] = self.rows.to(changed)
        return changed

    def take(self, rows: Int[Tensor, "batch"]) -> "_Put":
        """Rows belong to the whole batch: any other is refused."""
        raise InputError("Given rows cannot be put into another batch.")


class _Reader:
    """Reads a batch with each thing in place and compares the predictions with the clean ones."""

    def __init__(
        self,
        model: LanguageModel,
        site: Site,
        dictionaries: Mapping[str, Dictionary],
        mean: Float[Tensor, "channels"],
    ) -> None:
        self._model, self._site = model, site
        self._dictionaries = {name: one.to(model.device) for name, one in dictionaries.items()}
        self._mean = mean.to(model.device)
        self._head = model.head
        self._packed = model.packed_trunk

    def read(self, texts: TokenizedTexts, batch: list[int]) -> dict[str, tuple[_Losses, _Losses]]:
        """Cross-entropy and divergence of each token, by what stood in place."""
        model = self._model
        pad_id = model.tokenizer.pad_token_id or 0
        ids = [texts.ids[i] for i in batch]
        tokens, mask, positions = pad(ids, int(pad_id), "right", model.device)
        here, scored = torch.zeros_like(mask, dtype=torch.bool), torch.zeros_like(mask).bool()
        for row, i in enumerate(batch):
            here[row, list(texts.rows[i])] = True
            scored[row, _scored(texts, i)] = True
        following = tokens.roll(-1, dims=1)[scored]
        with ExitStack() as stack, torch.inference_mode():
            if self._packed is not None:
                stack.enter_context(self._packed.used())
            rows: list[Tensor] = []
            hook = model.resolve(self._site).register(
                lambda tensor: rows.append(tensor.view(*tokens.shape, -1)[here].clone())
            )
            try:
                streams = {_CLEAN: _stream(model, tokens, mask, positions)[scored]}
            finally:
                hook.remove()
            for name, put in self._things(rows[0].float()):
                with intervening(model, {self._site: _Put(put, here)}):
                    streams[name] = _stream(model, tokens, mask, positions)[scored]
            return self._compared(streams, following)

    def _things(self, rows: ActivationMatrix) -> Iterator[tuple[str, ActivationMatrix]]:
        for name, dictionary in self._dictionaries.items():
            yield _own(name), dictionary.decode(dictionary.encode(rows))
        yield _MEAN, self._mean.expand_as(rows)
        yield _ZERO, torch.zeros_like(rows)

    def _compared(
        self,
        streams: Mapping[str, Float[Tensor, "rows d_model"]],
        following: Int[Tensor, "rows"],
    ) -> dict[str, tuple[_Losses, _Losses]]:
        parts: dict[str, list[Tensor]] = {name: [] for name in streams}
        for start in range(0, len(following), _LOGIT_ROWS):
            block = slice(start, start + _LOGIT_ROWS)
            clean = torch.log_softmax(self._head.logits(streams[_CLEAN][block]), dim=1)
            chances = clean.exp()
            for name, stream in streams.items():
                log_q = (
                    clean
                    if name == _CLEAN
                    else torch.log_softmax(self._head.logits(stream[block]), dim=1)
                )
                loss = -log_q.gather(1, following[block, None])[:, 0]
                kl = (chances * (clean - log_q)).sum(dim=1).clamp_min(0)
                parts[name].append(torch.stack([loss, kl]))
        joined = {name: torch.cat(found, dim=1).double().cpu() for name, found in parts.items()}
        return {name: (both[0].numpy(), both[1].numpy()) for name, both in joined.items()}


def _stream(
    model: LanguageModel, tokens: Tensor, mask: Tensor, positions: Tensor
) -> Float[Tensor, "batch position d_model"]:
    output = model.run(tokens, mask, positions)
    tensor = output if isinstance(output, Tensor) else first_tensor((output[0],))
    if tensor is None:
        raise InputError(f"The model's trunk returned {type(output).__name__} without a tensor.")
    return tensor
