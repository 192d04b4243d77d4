"""Offline labels say what fires a feature, and no more than is known."""

import pytest

from cofire.interpret.concepts import ConceptMatch
from cofire.interpret.labels import offline_label, visible


def match(auroc, p_value=0.001, precision=0.9):
    return ConceptMatch("weekday", 0.99, auroc, (0.8, 1.0), p_value, 7, 150, precision)


def test_a_confirmed_concept_leads():
    label = offline_label(match(0.97), [("monday", 3), ("friday", 2)])
    assert label == "weekday: monday, friday"


@pytest.mark.parametrize(
    "doubtful", [match(0.7), match(0.9, p_value=0.2), match(0.97, precision=0.2), None]
)
def test_an_unconfirmed_concept_is_left_out(doubtful):
    assert "weekday" not in offline_label(doubtful, [("monday", 3)])


def test_scattered_firings_are_called_mixed():
    types = [(f"word{i}", 1) for i in range(20)]
    assert offline_label(None, types).startswith("mixed: word0, word1, word2, word3 …")


def test_white_space_is_made_visible():
    assert visible("\n\n") == "↵↵"
    assert visible(" \t") == "␣⇥"
    assert visible(" Monday ") == "Monday"
    assert visible("\x1b[31m") == "␛[31m"
    assert visible("") == "⟨empty⟩"
