"""A transformers model in this process, asked as an endpoint is."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cofire.errors import InputError
from cofire.llm.answer import Answer, OnAnswer, Settings

if TYPE_CHECKING:  # endpoints need neither, and their import takes seconds
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class LocalModel:
    """A causal language model of transformers that answers prompts.

    Greedy (what temperature 0 means). Where the tokenizer has a chat template the prompt becomes a
    user's message; where it has none the model continues the prompt. Prompts of like length go
    through together, padded on the left.

    Args:
        model: the model, on its device.
        tokenizer: its tokenizer.
        name: what it is called in journals; where it was loaded from by default.
        max_tokens: longest answer.
        batch_size: prompts at a time.

    Raises:
        InputError: when a number is below 1, or neither model nor caller gives a name.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        *,
        name: str | None = None,
        max_tokens: int = 256,
        batch_size: int = 8,
    ) -> None:
        for argument, value in (("max_tokens", max_tokens), ("batch_size", batch_size)):
            if value < 1:
                raise InputError(f"{argument} must be at least 1; got {value}.")
        self._name: str = name or model.config.name_or_path or ""
        if not self._name:
            raise InputError("This model does not say what it is called; pass name=...")
        self._model = model.eval()
        self._tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.batch_size = batch_size

    @property
    def name(self) -> str:
        """What it is called."""
        return self._name

    @property
    def settings(self) -> Settings:
        """Kind of prompt, temperature, longest answer and number type."""
        return {
            "kind": "chat" if self._tokenizer.chat_template else "completion",
            "temperature": 0,
            "max_tokens": self.max_tokens,
            "dtype": str(self._model.dtype).removeprefix("torch."),
        }

    def complete(
        self, prompts: Sequence[str], *, on_answer: OnAnswer | None = None
    ) -> list[Answer]:
        """See ``ChatModel.complete``; a prompt too long for the model fails by itself."""
        ids = [self._ids(prompt) for prompt in prompts]
        answers: list[Answer] = [Answer(None, "Not asked.", tries=0)] * len(prompts)

        def give(place: int, answer: Answer) -> None:
            answers[place] = answer
            if on_answer is not None:
                on_answer(place, answer)

        room = self._context_length()
        fitting = []
        for place, tokens in enumerate(ids):
            if not tokens:
                give(place, Answer(None, "The prompt gives no token.", tries=0))
            elif room is not None and len(tokens) + self.max_tokens > room:
                problem = (
                    f"The prompt's {len(tokens)} tokens and an answer of {self.max_tokens} are "
                    f"more than the {room} the model was built for."
                )
                give(place, Answer(None, problem, tries=0))
            else:
                fitting.append(place)
        fitting.sort(key=lambda place: (-len(ids[place]), place))
        for first in range(0, len(fitting), self.batch_size):
            batch = fitting[first : first + self.batch_size]
            begun = time.monotonic()
            texts = self._generate([ids[place] for place in batch])
            seconds = (time.monotonic() - begun) / len(batch)
            for place, text in zip(batch, texts, strict=True):
                give(place, Answer(text, None, seconds))
        return answers

    def _ids(self, prompt: str) -> list[int]:
        if self._tokenizer.chat_template:
            text: Any = self._tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False
            )
            # The template writes the special tokens itself.
            return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        return list(self._tokenizer(prompt)["input_ids"])

    def _context_length(self) -> int | None:
        length = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        return length if isinstance(length, int) and length > 0 else None

    def _generate(self, ids: list[list[int]]) -> list[str]:
        import torch

        width = max(map(len, ids))
        padding = self._tokenizer.pad_token_id
        if padding is None:
            padding = self._tokenizer.eos_token_id or 0
        tokens = torch.full((len(ids), width), padding)
        mask = torch.zeros_like(tokens)
        for row, prompt in enumerate(ids):
            tokens[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        model: Any = self._model
        with torch.inference_mode():
            found = model.generate(
                input_ids=tokens.to(model.device),
                attention_mask=mask.to(model.device),
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                max_new_tokens=self.max_tokens,
                pad_token_id=padding,
            )
        written = self._tokenizer.batch_decode(found[:, width:], skip_special_tokens=True)
        return [text.strip() for text in written]

    def __repr__(self) -> str:
        return f"LocalModel({self._name!r})"
