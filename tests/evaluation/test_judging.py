"""Judges: scores are harmonic means, and what is missing stays missing."""

import pytest

from chat_serving import MODEL, Reply, chat_server
from cofire.evaluation.judging import (
    Continuation,
    Judge,
    Judgement,
    LanguageModelJudge,
    count_judgements,
    harmonic_mean,
)
from cofire.llm import EndpointModel, JournaledModel, LocalModel


def asked(server):
    return EndpointModel(MODEL, base_url=server.base_url, retries=0)


def answer(prompt, _):
    """Rates Monday as a weekday, birds as none; nonsense for the third text."""
    if "third" in prompt:
        return Reply("I like it." if "concept is here" in prompt else '{"rating": 1}')
    about = "contain a concept" in prompt
    return Reply(f'{{"rating": {2 if "Monday" in prompt or not about else 0}}}')


def test_a_language_model_judges_concept_and_fluency():
    pytest.importorskip("openai", reason="needs the extra llm: pip install 'cofire[llm]'")
    texts = ["On Monday", "A bird {label}", "  \n"]
    with chat_server(answer) as server:
        judge = LanguageModelJudge(asked(server))
        assert isinstance(judge, Judge)
        assert judge.name == MODEL
        found = judge.judge([Continuation("weekdays", text) for text in texts])
    assert found[0] == Judgement(2.0, 2.0)
    assert found[1] == Judgement(0.0, 2.0)
    assert (found[1].score, found[1].missing) == (0.0, False)
    assert found[2].problems == ("The continuation is blank.",)
    assert len(server.log.asked) == 4
    fluency = [prompt for prompt in server.log.asked if "weekdays" not in prompt]
    assert len(fluency) == 2  # the question about fluency does not name the concept


def test_ratings_that_cannot_be_read_are_missing_and_counted(tmp_path):
    pytest.importorskip("openai", reason="needs the extra llm: pip install 'cofire[llm]'")
    (tmp_path / "judge_concept.md").write_text(
        "The concept is here? {label} {text} concept is here"
    )
    with chat_server(answer) as server:
        judge = LanguageModelJudge(
            JournaledModel(asked(server), tmp_path / "judge.jsonl"), prompts=tmp_path
        )
        (found,) = judge.judge([Continuation("weekdays", "third")])
        again = judge.judge([Continuation("weekdays", "third")])
    assert (found.concept, found.fluency, found.score) == (None, 1.0, None)
    assert found.problems == ("The answer holds no rating of concept from 0 to 2.",)
    assert again == [found]
    assert len(server.log.asked) == 2


def test_a_local_model_judges(tiny_folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = LocalModel(
        AutoModelForCausalLM.from_pretrained(tiny_folder, max_position_embeddings=1024),
        AutoTokenizer.from_pretrained(tiny_folder),
        max_tokens=3,
    )
    (found,) = LanguageModelJudge(model).judge([Continuation("weekdays", "On Monday")])
    assert found.missing  # a random model writes no rating


def test_counts_leave_the_missing_out_of_the_mean():
    judged = [Judgement(2.0, 2.0), Judgement(1.0, 1.0), Judgement(None, 1.0), Judgement(2.0, None)]
    count = count_judgements(judged)
    assert (count.total, count.missing, count.mean) == (4, 2, 1.5)
    assert (count.missing_concept, count.missing_fluency) == (1, 1)
    assert count_judgements([]).mean is None


def test_the_harmonic_mean_needs_both():
    assert harmonic_mean(2.0, 0.0) == 0.0
    assert harmonic_mean(2.0, None) is None
    assert harmonic_mean(1.0, 1.0) == 1.0
