"""Features are named, and sentences written, by a real endpoint; what does not come is missing."""

import re
from dataclasses import replace

import pytest

import builders
from chat_serving import MODEL, Reply, chat_server
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.interpret.llm_labels import label_features, marked_context, write_sentences
from cofire.interpret.reading import read_features
from cofire.interpret.vocabulary import TokenWeight, VocabularyProjection
from cofire.llm import EndpointModel

pytest.importorskip("openai", reason="needs the extra llm: pip install 'cofire[llm]'")


@pytest.fixture(scope="module")
def features():
    return read_features(
        Dictionary(builders.atoms(), builders.SITE, penalty=0.1), builders.activations()
    )


def asked(server):
    return EndpointModel(MODEL, base_url=server.base_url, concurrency=1, retries=0)


def test_labels_from_contexts_mark_the_firing_token(features):
    with chat_server(lambda *_: Reply('{"label": "colour words"}')) as server:
        labels = label_features(features, asked(server), n_contexts=3)
    colour, dead = labels[1], labels[4]
    assert (colour.feature, colour.kind, colour.label) == (1, "input", "colour words")
    assert colour.problem is None
    assert colour.prompt.count("<<") == 4  # three contexts, and the explanation
    assert re.search(r"- paint it <<\w+>> now\n", colour.prompt)
    assert colour.answer == '{"label": "colour words"}'
    assert dead.missing
    assert (dead.problem, dead.prompt) == ("No context fires it.", None)
    assert len(server.log.asked) == 4


def test_labels_from_tokens_show_both_ends(features):
    promoted = (TokenWeight(1, " Monday", 3.0), TokenWeight(2, "\n", 2.0))
    known = replace(
        features[1], vocabulary=VocabularyProjection(promoted, (TokenWeight(3, "x", -1.0),))
    )
    with chat_server(lambda *_: Reply("Label: weekdays")) as server:
        labels = label_features([known, features[2]], asked(server), kind="output")
    assert labels[0].label == "weekdays"
    assert '" Monday", "↵"' in labels[0].prompt
    assert labels[0].prompt.index("Monday") < labels[0].prompt.index('"x"')
    assert labels[1].problem == "No promoted tokens are known."


def test_an_answer_that_cannot_be_read_is_missing_and_counted(features, caplog):
    replies = {"colour": Reply("One.\nTwo."), "animal": Reply(status=400, body=b"{}")}

    def answer(prompt, _):
        kind = "colour" if "paint" in prompt else "animal"
        return replies[kind]

    with chat_server(answer) as server:
        labels = label_features(features[:2], asked(server))
    assert [label.missing for label in labels] == [True, True]
    assert "400" in labels[0].problem
    assert labels[1].problem == "The answer holds no label that can be read."
    assert labels[1].answer == "One.\nTwo."
    assert "2 of 2 labels are missing" in caplog.text


def test_a_users_own_prompt_is_asked(features, tmp_path):
    (tmp_path / "label_from_contexts.md").write_text("Was ist das? {contexts}")
    with chat_server(lambda *_: Reply("Farben")) as server:
        (label,) = label_features(features[1:2], asked(server), prompts=tmp_path)
    assert label.label == "Farben"
    assert server.log.asked[0].startswith("Was ist das? - ")


def test_marks_stand_inside_the_space(features):
    context = features[1].contexts[0]
    assert marked_context(replace(context, tokens=("a", " b", " c"), focus=1)) == "a <<b>> c"
    assert marked_context(replace(context, tokens=("\n", "b"), focus=0)) == "<<↵>>b"


def test_sentences_are_written_and_the_missing_counted(caplog):
    whole = (
        '{"activating": ["a1", "a2", "a3", "a4", "a5", "a6"],'
        ' "neutral": ["n1", "n2", "n3", "n4", "n5"]}'
    )

    def answer(prompt, _):
        if "weekdays" in prompt:
            return Reply(whole)
        return Reply('{"activating": ["a1"]}' if "colours" in prompt else "I would rather not.")

    with chat_server(answer) as server:
        full, few, none = write_sentences(["weekdays", "colours", "verbs"], asked(server))
    assert full.activating == ("a1", "a2", "a3", "a4", "a5")
    assert len(full.neutral) == 5
    assert (full.missing, full.problem) == (0, None)
    assert (few.missing, few.activating) == (9, ("a1",))
    assert few.problem == "The answer lacks 9 of 10 sentences."
    assert (none.missing, none.activating) == (10, ())
    assert "19 of 30 sentences are missing" in caplog.text
    assert "Write 5 different" in server.log.asked[0]


def test_numbers_out_of_range_are_refused(features):
    model = EndpointModel(MODEL, base_url="http://localhost/v1")
    with pytest.raises(InputError, match="n_contexts"):
        label_features(features, model, n_contexts=0)
    with pytest.raises(InputError, match="count"):
        write_sentences(["a"], model, count=0)
