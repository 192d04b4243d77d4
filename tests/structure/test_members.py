"""Features that stand for a concept or one of its details."""

import numpy as np
import pytest

from builders import token_table
from cofire.errors import InputError
from cofire.structure.members import best_of_each, concept_members
from planted_days import DAYS, day_codes, day_corpus

CORPUS = day_corpus()
TOKENS = token_table([text.text for text in CORPUS])


def test_details_are_told_apart():
    found = concept_members(day_codes(CORPUS, 0), TOKENS.text_id, CORPUS, "weekday")
    assert [(one.feature, one.name) for one in found] == list(enumerate(DAYS))
    assert all(one.detail and one.match.names_feature for one in found)


def test_a_feature_of_all_details_stands_for_the_concept():
    codes = day_codes(CORPUS, 0)
    codes[:, 5] = codes[:, :3].sum(dim=1)
    found = {one.feature: one for one in concept_members(codes, TOKENS.text_id, CORPUS, "weekday")}
    assert (found[5].name, found[5].detail) == ("weekday", False)
    assert found[0].detail


def test_a_feature_of_all_details_that_prefers_one_stands_for_the_concept():
    codes = day_codes(CORPUS, 0)
    codes[:, 5] = codes[:, :3].sum(dim=1) + 2.0 * (codes[:, 0] > 0)  # Monday always strongest
    found = {one.feature: one for one in concept_members(codes, TOKENS.text_id, CORPUS, "weekday")}
    assert found[5].name == "weekday"


def test_the_better_of_two_stands_for_a_detail():
    codes = day_codes(CORPUS, 0)
    rng = np.random.default_rng(0)
    codes[:, 6] = codes[:, 1]
    codes[rng.random(len(codes)) < 0.04, 6] = 5.0  # fires elsewhere too
    members = concept_members(codes, TOKENS.text_id, CORPUS, "weekday")
    assert {one.feature: one.name for one in best_of_each(members)}[1] == "Tuesday"
    assert 6 not in [one.feature for one in best_of_each(members)]


def test_features_without_a_concept_are_no_members():
    codes = day_codes(CORPUS, 0)[:, 5:]
    assert concept_members(codes, TOKENS.text_id, CORPUS, "weekday") == []
    assert concept_members(day_codes(CORPUS, 0), TOKENS.text_id, CORPUS, "food")[0].feature == 3


def test_an_unknown_concept_is_explained():
    with pytest.raises(InputError, match="did you mean 'weekday'"):
        concept_members(day_codes(CORPUS, 0), TOKENS.text_id, CORPUS, "weekdays")
    with pytest.raises(InputError, match="they have weekday, food"):
        concept_members(day_codes(CORPUS, 0), TOKENS.text_id, CORPUS, "zebra")
