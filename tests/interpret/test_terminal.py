"""What stands in texts, tokens and labels cannot command the reader's terminal."""

import io
import json
from contextlib import redirect_stdout
from dataclasses import replace

import pytest
from rich.console import Console

import builders
from cofire.cli.feature_page import print_feature
from cofire.cli.listing import print_listing
from cofire.config import MethodsConfig
from cofire.dictionary import Dictionary
from cofire.interpret.concepts import ConceptMatch
from cofire.interpret.reading import Feature, read_features
from cofire.interpret.vocabulary import TokenWeight, VocabularyProjection

RED = "\x1b[31m"
C1 = "\x9b31m"  # the same in one character


@pytest.fixture(scope="module")
def feature() -> Feature:
    return read_features(Dictionary(builders.atoms(), builders.SITE), builders.activations())[1]


def page(feature: Feature) -> str:
    out = io.StringIO()
    print_feature(Console(file=out, width=400), feature, contexts=5)
    return out.getvalue()


def listing(form: str) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        print_listing([{"label": f"a{RED}b{C1}c"}], MethodsConfig(**{form: True}), empty="")
    return out.getvalue()


def match(auroc: float | None, precision: float = 0.9) -> ConceptMatch:
    known = auroc is not None
    interval, p_value = ((0.7, 1.0), 1e-5) if known else (None, None)
    return ConceptMatch("law", 0.97, auroc, interval, p_value, 7, 90, precision)


def test_a_feature_page_obeys_no_text(feature: Feature) -> None:
    for hostile in (RED, C1):
        weights = (TokenWeight(1, hostile, 1.0),)
        shown = page(
            replace(
                feature,
                label=hostile,
                concept=replace(match(0.95), concept=hostile),
                concept_scores=((hostile, 0.9, 0.8),),
                contexts=tuple(
                    replace(context, tokens=(hostile,) * len(context.tokens), label=hostile)
                    for context in feature.contexts
                ),
                vocabulary=VocabularyProjection(weights, weights),
            )
        )
        assert "\x1b" not in shown
        assert "\x9b" not in shown
        assert shown.count("31m") > 10


def test_the_firing_token_is_marked_where_nothing_is_in_colour(feature: Feature) -> None:
    first = feature.contexts[0]
    word = first.tokens[first.focus].strip()
    score = f"  {first.code:8.2f}"
    line = next(one for one in page(feature).splitlines() if one.startswith(score))
    assert f"[{word}]" in line
    out = io.StringIO()
    print_feature(Console(file=out, width=400, force_terminal=True), feature, contexts=5)
    assert f"[{word}]" not in out.getvalue()


def test_a_table_obeys_no_text_and_data_stay_data() -> None:
    assert "a␛[31mb⟨U+009B⟩31mc" in listing("as_table")
    as_json = listing("as_json")
    assert not {"\x1b", "\x9b"} & set(as_json)
    assert json.loads(as_json) == [{"label": f"a{RED}b{C1}c"}]
    assert f"a{RED}b{C1}c" in listing("as_csv")


def test_the_page_says_selects_only_with_evidence(feature: Feature) -> None:
    assert "Selects law: held-out AUROC 0.95" in page(replace(feature, concept=match(0.95)))
    assert "fires elsewhere too" in page(replace(feature, concept=match(0.95, precision=0.1)))
    for doubtful in (match(0.7), match(None)):
        shown = page(replace(feature, concept=doubtful))
        assert "Not enough evidence for a concept" in shown
        assert "elects" not in shown
    assert "No concept" in page(replace(feature, concept=None))
