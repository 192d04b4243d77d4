"""A model in this process answers as transformers' own generation does, one prompt at a time."""

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from cofire.errors import InputError
from cofire.llm import ChatModel, JournaledModel, LocalModel

PROMPTS = ["Hello", "What day comes after Monday, and why is that so?", "Rain.", "One, two"]


@pytest.fixture(scope="module")
def parts(chat_folder):
    return (
        AutoModelForCausalLM.from_pretrained(chat_folder),
        AutoTokenizer.from_pretrained(chat_folder),
    )


def alone(model, tokenizer, text, length):
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
    found = model.generate(ids, do_sample=False, max_new_tokens=length, pad_token_id=0)
    return tokenizer.decode(found[0, ids.shape[1] :], skip_special_tokens=True).strip()


def test_batches_answer_as_single_prompts_do(parts):
    model = LocalModel(*parts, name="tiny", max_tokens=6, batch_size=3)
    assert isinstance(model, ChatModel)
    assert model.settings["kind"] == "chat"
    seen = []
    answers = model.complete(PROMPTS, on_answer=lambda i, a: seen.append((i, a)))
    expected = [alone(*parts, f"<s>user: {p}\nassistant:", 6) for p in PROMPTS]
    assert [answer.text for answer in answers] == expected
    assert sorted(seen, key=lambda item: item[0]) == list(enumerate(answers))


def test_without_a_chat_template_the_prompt_is_continued(parts, tiny_folder):
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    model = LocalModel(parts[0], tokenizer, max_tokens=4)
    assert model.settings["kind"] == "completion"
    (answer,) = model.complete(["Hello there"])
    assert answer.text == alone(parts[0], tokenizer, "Hello there", 4)


def test_a_prompt_too_long_fails_by_itself(parts, tmp_path):
    model = JournaledModel(LocalModel(*parts, name="tiny", max_tokens=4), tmp_path / "j.jsonl")
    long, short = model.complete(["word " * 2100, "Hello"])
    assert long.text is None
    assert "2048" in long.error
    assert short.text is not None


def test_bad_arguments_are_refused(parts):
    with pytest.raises(InputError, match="max_tokens"):
        LocalModel(*parts, max_tokens=0)
    model, tokenizer = parts
    model.config.name_or_path, before = "", model.config.name_or_path
    try:
        with pytest.raises(InputError, match="name="):
            LocalModel(model, tokenizer)
    finally:
        model.config.name_or_path = before
