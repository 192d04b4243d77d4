"""A tiny random chat model on disk, and a real server of it."""

from pathlib import Path

import pytest

CHAT_TEMPLATE = (
    "{% for message in messages %}<s>{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


@pytest.fixture(scope="session")
def chat_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama whose tokenizer has a chat template."""
    from cofire.data import bundled_concepts
    from tiny_models import tiny_model, train_tokenizer

    folder = tmp_path_factory.mktemp("models") / "tiny-chat"
    tiny_model("llama", max_position_embeddings=2048).save_pretrained(folder)
    tokenizer = train_tokenizer(text.text for text in bundled_concepts())
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder
