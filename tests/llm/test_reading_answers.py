"""Ratings, labels and sentences are read from what models write; the rest is missing."""

import pytest

from cofire.llm import read_label, read_rating, read_sentences


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ('{"rating": 2}', 2),
        ('```json\n{"rating": 1}\n```', 1),
        ('{"reason": "a {b} c", "Rating": "1"}', 1),
        ('Maybe {"rating": 0}, no: {"rating": 2}', 2),
        ('{"score": 1.5}', 1.5),
        ("Rating: 2", 2),
        ("rating = 0", 0),
        ("**Rating:** **1**", 1),
        ("The rating is 2.", 2),
        ("Rating: [[2]]", 2),
        ("Rating: 1/2", 1),
        ("2", 2),
        (" **1**.\n", 1),
        ("It is weak. Rating: 0\nOn a second look,\nRating: 1", 1),
        ("rating: 2 (out of 2)", 2),
    ],
)
def test_ratings(text, rating):
    assert read_rating(text) == rating


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "two",
        "Rating: high",
        "Rating: 3",
        "Rating: -1",
        "Rating: 10",
        "Rating: 0-2",
        "Rating: 0, 1 or 2",
        '{"rating": 0, 1 or 2}',
        '{"rating": null}',
        '{"rating": true}',
        '{"rating": NaN}',
        '{"rating": [1]}',
        '{"rating": 7}',
        "Rating: 1/10",
        "Rating: 2%",
        "There are 2 birds in the text.",
        "0 1 2",
        '{"rating"',
        "{" * 3000,
    ],
)
def test_what_is_no_rating_is_missing_and_not_0(text):
    assert read_rating(text) is None


def test_other_scales():
    assert read_rating("Rating: 7", highest=10) == 7
    assert read_rating("7/10", highest=10) == 7


@pytest.mark.parametrize(
    "text",
    [
        '{"label": "days of the week"}',
        'Sure!\n```json\n{"label": " days of\\nthe week "}\n```',
        "Label: days of the week",
        "**Label:** days of the week\n\nBecause of Monday.",
        '"days of the week"',
        "days of the week\n",
    ],
)
def test_labels(text):
    assert read_label(text) == "days of the week"


@pytest.mark.parametrize(
    "text",
    [None, "", " \n", '{"label": 3}', '{"label": ""}', '{"lab', "One.\nTwo.", "—", "word " * 80],
)
def test_what_is_no_label_is_missing(text):
    assert read_label(text) is None


def test_sentences_as_json():
    text = 'Here: {"activating": ["On Monday.", "On Monday.", "", 3, "Friday!"], "neutral": ["A."]}'
    assert read_sentences(text, 5) == (("On Monday.", "Friday!"), ("A.",))


def test_sentences_as_lists_under_headings():
    text = (
        '**Activating sentences:**\n1. On Monday.\n2) "Friday," she said.\n\n'
        '## Neutral:\n- "A boat."\n- A dog.\n- A cat.'
    )
    assert read_sentences(text, 2) == (
        ("On Monday.", '"Friday," she said.'),
        ("A boat.", "A dog."),
    )


@pytest.mark.parametrize("text", [None, "", "nothing", '{"activating": "one"}', "1. a\n2. b"])
def test_no_sentences(text):
    assert read_sentences(text, 5) == ((), ())
