"""From the final stream to logits, exactly as the model itself does it."""

from contextlib import nullcontext

import torch

from cofire.errors import ModelError
from cofire.models.adapter import LanguageModel
from cofire.models.block import linear_weight
from cofire.models.packing import PackedLinears
from cofire.models.prefix import (
    FORWARD_ERRORS,
    SkippedBlock,
    last_stream,
    noting_returns,
    same_numbers,
    skipping,
)
from cofire.models.screening import Screen
from cofire.models.tracing import accepts, probe_ids
from cofire.types import Float, Int, Tensor

_TYPICAL_ROWS = 64  # logits of so many rows over a vocabulary of 262 144 take 67 MB


class Head:
    """The language head of a model, apart from its trunk.

    In most models the head is one linear map, which is then applied as it is. In others (soft
    caps, scaled logits) the model's own forward runs with its blocks skipped, so that whatever it
    does to the logits is done. Which of the two is right is tried out once.

    Attributes:
        plain: whether the head is the linear map alone.

    Raises:
        ModelError: when the model has no head, or it cannot be applied to a stream by itself.
    """

    def __init__(self, model: LanguageModel) -> None:
        unembedding = model.structure.unembedding
        if unembedding is None:
            raise ModelError(f"{model.name} has no unembedding; load it with its language head.")
        self._model = model
        self._unembedding = unembedding
        self._blocks: list[SkippedBlock] = []
        self._screen: Screen | None = None
        self._packed: PackedLinears | None = None
        self.plain = True
        self._try_out()
        if self.plain:
            self._packed = PackedLinears.where_faster(unembedding, rows=_TYPICAL_ROWS)
        if self.plain and getattr(unembedding, "bias", None) is None:
            self._screen = Screen.where_faster(linear_weight(unembedding).detach())

    @property
    def screened(self) -> bool:
        """Whether the most likely tokens are found by a coarse product first, see ``Screen``."""
        return self._screen is not None

    def logits(self, stream: Float[Tensor, "batch d_model"]) -> Float[Tensor, "batch vocab"]:
        """Logits of the next token, float32.

        Args:
            stream: the final stream after the model's last norm, as ``Prefix.run`` returns it.
        """
        packed = nullcontext() if self._packed is None else self._packed.used()
        with torch.inference_mode(), packed:
            found = self._unembedding(stream) if self.plain else self._through_model(stream)
            return found.float()

    def top(
        self, stream: Float[Tensor, "batch d_model"], k: int | None
    ) -> tuple[Float[Tensor, "batch vocab"], Int[Tensor, "batch vocab"]]:
        """The ``k`` highest logits, float32, and their tokens, highest first.

        Args:
            stream: as for ``logits``.
            k: how many; None for the whole vocabulary.
        """
        with torch.inference_mode():
            if self._screen is not None and k is not None and k <= self._screen.most:
                return self._screen.top(stream, k)
            logits = self.logits(stream)
            n_tokens = logits.shape[1]
            best = logits.topk(n_tokens if k is None else min(k, n_tokens), dim=1)
            return best.values, best.indices

    def _try_out(self) -> None:
        """Compare with the whole model on the probe batch."""
        model = self._model
        ids = probe_ids(model.model.config.get_text_config().vocab_size, model.device)
        mask = torch.ones_like(ids)
        blocks = [block.module for block in model.structure.blocks]
        with torch.inference_mode():
            expected = self._whole(ids)
            with noting_returns(blocks, self._blocks):
                stream = last_stream(model.run(ids, mask))
            try:
                if same_numbers(self.logits(stream), expected, model.dtype):
                    return
                self.plain = False
                if same_numbers(self.logits(stream), expected, model.dtype):
                    return
            except FORWARD_ERRORS as error:
                raise ModelError(self._message(f": {error}")) from error
        raise ModelError(self._message("."))

    def _message(self, end: str) -> str:
        return f"The head of {self._model.name} cannot be applied without its trunk{end}"

    def _through_model(self, stream: Float[Tensor, "batch d_model"]) -> Tensor:
        """The model's own forward on one position a row, with the stream put before the head."""
        ids = torch.zeros(len(stream), 1, dtype=torch.long, device=stream.device)

        def put(_module: torch.nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (stream[:, None].to(args[0]), *args[1:])

        hook = self._unembedding.register_forward_pre_hook(put)
        try:
            with skipping(self._blocks):
                return self._whole(ids)
        finally:
            hook.remove()

    def _whole(self, ids: Int[Tensor, "batch position"]) -> Float[Tensor, "batch vocab"]:
        """Logits at the last position of the model's own forward, without a cache."""
        model = self._model.model
        options = {"use_cache": False} if accepts(model, "use_cache") else {}
        output = model(input_ids=ids, attention_mask=torch.ones_like(ids), **options)
        return torch.as_tensor(output.logits[:, -1]).float()
