"""Asking language models: endpoints, in-process models, a journal, prompts, reading answers."""

from cofire.llm.answer import Answer, ChatModel
from cofire.llm.endpoint import EndpointModel
from cofire.llm.journal import JournaledModel
from cofire.llm.local import LocalModel
from cofire.llm.reading import read_label, read_rating, read_sentences
from cofire.llm.templates import PROMPTS, PromptTemplate, load_prompt

__all__ = [
    "PROMPTS",
    "Answer",
    "ChatModel",
    "EndpointModel",
    "JournaledModel",
    "LocalModel",
    "PromptTemplate",
    "load_prompt",
    "read_label",
    "read_rating",
    "read_sentences",
]
