"""Known hierarchies of concepts: the bundled one, files, and those of a corpus."""

import json

import pytest

from cofire.corpus import Corpus, Text
from cofire.data import bundled_concepts
from cofire.errors import DataError
from cofire.structure.nestings import (
    Nesting,
    bundled_nesting,
    finest_name,
    load_nesting,
    nesting_of,
)


def test_the_bundled_nesting_knows_every_bundled_concept():
    nesting = bundled_nesting()
    names = {finest_name(text) for text in bundled_concepts()} - {None}
    labels = set(bundled_concepts().concepts)
    assert names | labels <= set(nesting.within)
    assert nesting.path("Monday") == ("Monday", "working days", "weekday", "calendar", "time")
    assert nesting.path("Sunday")[1:3] == ("weekend", "weekday")
    assert nesting.depth == 5
    assert all(len(nesting.path(label)) > 1 for label in labels)


def test_a_corpus_of_ones_own_nests_by_detail_label_and_group():
    corpus = Corpus(
        [
            Text("a", "oak", "tree", "red oak"),
            Text("b", "oak", "tree"),
            Text("c", "weekday", "mine", "Monday"),
            Text("d", "neutral"),
            Text("e"),
        ]
    )
    nesting = nesting_of(corpus)
    assert nesting.path("red oak") == ("red oak", "oak", "tree")
    assert nesting.path("Monday")[-1] == "time"  # the bundled one knows better
    assert nesting.path("unheard of") == ("unheard of",)
    assert "neutral" not in nesting.within


def test_a_nesting_file_is_read(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"plants": {"trees": {"oak": {}}}}))
    assert load_nesting(file).path("oak") == ("oak", "trees", "plants")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON"),
        ("{}", "no names"),
        ('["a"]', "names within names"),
        ('{"a": {"b": 3}}', "names within names"),
        ('{"a": {"b": {}}, "c": {"b": {}}}', "'b' twice"),
    ],
)
def test_what_is_no_nesting_is_refused(tmp_path, text, message):
    file = tmp_path / "bad.json"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        load_nesting(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="Cannot read the nesting"):
        load_nesting(tmp_path / "none.json")


def test_a_name_within_itself_is_refused():
    with pytest.raises(DataError, match="'be' lies within itself"):
        Nesting({"be": "verbs", "verbs": "be"})
