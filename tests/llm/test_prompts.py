"""Prompts are files; a user's own take their place, and mistakes in them are named."""

import pytest

from cofire.errors import InputError
from cofire.llm import PROMPTS, load_prompt
from cofire.llm.templates import _FIELD


@pytest.mark.parametrize("name", list(PROMPTS))
def test_our_own_prompts_have_exactly_their_fields(name):
    prompt = load_prompt(name)
    assert set(_FIELD.findall(prompt.text)) == PROMPTS[name]
    filled = prompt.fill(**{field: f"<{field} {{text}} {{label}}>" for field in PROMPTS[name]})
    for field in PROMPTS[name]:
        assert f"<{field} {{text}} {{label}}>" in filled


def test_a_users_file_takes_the_place_of_ours(tmp_path):
    (tmp_path / "judge_fluency.md").write_text('Is "{text}" good? {"rating": 0 to 2}\n')
    prompt = load_prompt("judge_fluency", folder=tmp_path)
    assert prompt.fill(text="{a} b") == 'Is "{a} b" good? {"rating": 0 to 2}'
    assert load_prompt("judge_concept", folder=tmp_path) == load_prompt("judge_concept")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("judge_fluency", "Rate {txt} and {text}.", "unknown field txt; use text"),
        ("judge_fluency", "Rate.", "lacks the field text"),
        ("judge_concept", "{text}", "lacks the field label"),
        ("judge_flency", "{text}", "the file of no prompt"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path, name, text, message):
    (tmp_path / f"{name}.md").write_text(text)
    with pytest.raises(InputError, match=message):
        load_prompt("judge_fluency" if name == "judge_flency" else name, folder=tmp_path)


def test_a_file_that_is_no_text_is_said_so(tmp_path):
    (tmp_path / "judge_fluency.md").write_bytes(b"\xff\xfe{text}")
    with pytest.raises(InputError, match="UTF-8"):
        load_prompt("judge_fluency", folder=tmp_path)


def test_unknown_prompts_folders_and_values_are_refused(tmp_path):
    with pytest.raises(InputError, match="no prompt 'judge'"):
        load_prompt("judge")
    with pytest.raises(InputError, match="no folder"):
        load_prompt("judge_concept", folder=tmp_path / "none")
    with pytest.raises(InputError, match="takes label, text; got text"):
        load_prompt("judge_concept").fill(text="a")
