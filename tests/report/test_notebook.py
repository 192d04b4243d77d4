"""Features, feature sets and runs show themselves in notebooks."""

import re
from dataclasses import replace
from pathlib import Path

from cofire.interpret.display import concept_text
from cofire.interpret.wording import readable, token_text
from cofire.store import Run
from sample_run import make_run


def test_a_feature_is_a_card_with_what_was_read(run: Run) -> None:
    feature = run.features(run.sites[0])[1]
    card = feature._repr_html_()
    assert feature.label in card
    assert feature.vocabulary is not None
    assert feature.vocabulary.promoted[0].token.strip() in card
    assert f">{feature.neurons[0][0]}<" in card
    assert card.count("text-decoration:underline") == min(5, len(feature.contexts))


def test_a_dead_feature_without_evidence_has_a_card_too(run: Run) -> None:
    dead = run.features(run.sites[0])[-1]
    bare = replace(dead, concept=None, vocabulary=None, neurons=())
    assert "It never fires on the training texts." in bare._repr_html_()
    assert "the texts carry no labels" in bare._repr_html_()


def test_a_feature_set_is_a_table_of_the_first_features(run: Run) -> None:
    features = run.features(run.sites[0])
    table = features._repr_html_()
    assert table.count("<tr>") == 1 + 20
    assert "and 4 more" in table
    assert "24 features at blocks.2.mlp.hook_post" in table


def test_a_run_sums_up_its_sites(run: Run, tmp_path: Path) -> None:
    card = run._repr_html_()
    assert "tiny-model" in card
    for site in run.sites:
        assert site.name in card
    partial = make_run(tmp_path / "run", layers=(), unfinished=(3,))._repr_html_()
    assert "not finished" in partial
    assert "blocks.3.mlp.hook_post" in partial


def test_cards_change_nothing_else_on_the_page(run: Run) -> None:
    for card in (run._repr_html_(), run.features(run.sites[0])._repr_html_()):
        assert not re.search(r"<style|<script|class=|id=", card)


def test_what_cannot_be_seen_is_marked() -> None:
    assert token_text("\t") == "⇥"
    assert token_text("\n\n") == "↵↵"
    assert token_text(" ") == "␣"
    assert token_text("\u200d") == "⟨U+200D⟩"
    assert token_text("é") == "é"
    assert token_text("👩\u200d🚀") == "👩\u200d🚀"
    assert token_text("") == ""
    assert readable("\x1b[31m") == "␛[31m"
    assert readable("\ud800") == "\N{REPLACEMENT CHARACTER}"


def test_thin_evidence_is_called_so(run: Run) -> None:
    match = next(f.concept for f in run.features(run.sites[0]) if f.concept and f.concept.sure)
    assert concept_text(match).startswith("Selects ")
    weak = replace(match, auroc=0.6, p_value=0.2)
    assert "Not enough evidence for a concept" in concept_text(weak)
    unknown = replace(match, auroc=None, interval=None, p_value=None, n_positive=0)
    assert "no held-out text of it" in concept_text(unknown)
    elsewhere = replace(match, precision=0.1)
    assert "fires elsewhere too" in concept_text(elsewhere)
    silent = replace(match, precision=None)
    assert not silent.names_feature
    assert "elsewhere is not known" in concept_text(silent)
