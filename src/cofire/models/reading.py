"""Rows of one batch: a forward pass that ends at the last wanted site."""

import torch
from torch import Tensor

from cofire.activations import TokenTable
from cofire.corpus import Corpus
from cofire.errors import ModelError
from cofire.models.adapter import LanguageModel
from cofire.models.batching import PaddingSide, pad
from cofire.models.handle import SiteCallback, SiteHandle
from cofire.models.tokens import TokenizedTexts, name_of
from cofire.site import Site


class _AllSeen(Exception):  # noqa: N818  (no error: it ends a forward pass)
    """Raised from the last hook to leave a forward pass that has nothing more to give."""


def read_rows(
    model: LanguageModel,
    handles: list[SiteHandle],
    texts: TokenizedTexts,
    places: list[int],
    side: PaddingSide,
) -> dict[Site, Tensor]:
    """Rows of one batch at every site.

    Args:
        model: the model.
        handles: the sites; the pass ends when the last of them has been read.
        texts: tokenized texts.
        places: which of them make up the batch.
        side: where padding goes.

    Returns:
        For each site a matrix [rows channels] on the model's device, texts in the order of
        ``places``.

    Raises:
        ModelError: when the pass never comes by a site, or the batch does not fit into memory.
    """
    pad_id = model.tokenizer.pad_token_id
    if pad_id is None or pad_id >= model.n_embeddings:
        pad_id = 0  # masked, so that any token will do
    tokens, mask, positions = pad(
        [texts.ids[place] for place in places], int(pad_id), side, model.device
    )
    width = tokens.shape[1]
    index = torch.tensor(
        [
            row * width + place + (0 if side == "right" else width - len(texts.ids[number]))
            for row, number in enumerate(places)
            for place in texts.rows[number]
        ],
        device=model.device,
    )
    seen: dict[Site, Tensor] = {}

    def keep(site: Site) -> SiteCallback:
        def callback(tensor: Tensor) -> None:
            # Copied at once: some models write into these tensors afterwards.
            seen[site] = tensor.flatten(0, -2)[index]
            if len(seen) == len(handles):
                raise _AllSeen

        return callback

    hooks = [handle.register(keep(handle.site)) for handle in handles]
    try:
        model.run(tokens, mask, positions)
    except _AllSeen:
        return seen
    except torch.cuda.OutOfMemoryError as error:
        raise ModelError(
            f"{tokens.numel()} tokens at once do not fit into the memory of {model.device}; "
            "lower batch_tokens or max_length, or load the model in bfloat16."
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    absent = ", ".join(str(handle.site) for handle in handles if handle.site not in seen)
    raise ModelError(f"The forward pass of {model.name} never reached {absent}.")


def finite_rows(
    values: Tensor,
    dtype: torch.dtype,
    site: Site,
    table: TokenTable,
    destination: Tensor,
    corpus: Corpus,
) -> Tensor:
    """Values as the number type asked for, in main memory, all of them finite.

    Args:
        values: rows of one batch at one site.
        dtype: number type of the result.
        site: where they were read, for the message.
        table: tokens of all rows.
        destination: line in the table of each row of ``values``.
        corpus: the texts.

    Raises:
        ModelError: naming token and text of the first row that is not finite.
    """
    converted = values.to(dtype)
    if not torch.isfinite(converted.sum(dtype=torch.float32)):
        finite = torch.isfinite(converted).all(dim=1)
        if not finite.all():
            row = int(destination[int((~finite).nonzero()[0])])
            number = int(table.text_id[row])
            cause = "is not finite"
            advice = "load the model in float32 and check its weights"
            if torch.isfinite(values).all():
                cause, advice = f"does not fit {dtype}", "capture in bfloat16 or float32"
            raise ModelError(
                f"An activation at {site} {cause}: token {int(table.position[row])} "
                f"({table.surface(row)!r}) of {name_of(corpus[number], number)}; {advice}."
            )
    return converted.cpu()
