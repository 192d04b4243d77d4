"""Figures of a layer: what is chosen on training texts is judged on others."""

from dataclasses import replace

import pytest

import builders
from cofire.dictionary import Dictionary
from cofire.interpret.concepts import ConceptMatch
from cofire.interpret.reading import FeatureSet, read_features
from cofire.interpret.wording import figure
from cofire.report.figures import concept_grid, sure_counts
from cofire.report.writing import write_report
from cofire.store import Run


def layer(*matches: ConceptMatch | None) -> FeatureSet:
    read = read_features(Dictionary(builders.atoms(), builders.SITE), builders.activations())
    features = [replace(read[0], index=i, concept=match) for i, match in enumerate(matches)]
    return replace(read, features=tuple(features))


def match(train: float, heldout: float | None, p_value: float | None = 1e-6) -> ConceptMatch:
    interval = None if heldout is None else (0.6, 1.0)
    return ConceptMatch("law", train, heldout, interval, p_value, 7, 90, 0.9)


def test_the_grid_shows_the_best_feature_of_training_texts() -> None:
    found = layer(match(0.85, 0.99), match(0.95, 0.82), None)
    ((name, (cell,)),) = concept_grid([replace_scores(found)])
    assert (name, cell.feature, cell.auroc, cell.count) == ("law", 1, 0.82, 2)
    unknown = layer(match(0.85, 0.99), match(0.95, None, None))
    assert concept_grid([replace_scores(unknown)]) == [("law", [None])]


def replace_scores(found: FeatureSet) -> FeatureSet:
    scores = (("law", 0.9, 0.9),)
    return replace(found, features=tuple(replace(f, concept_scores=scores) for f in found))


def test_coverage_is_corrected_for_the_number_of_features() -> None:
    lucky = match(0.9, 0.85, p_value=0.005)
    assert lucky.sure
    assert sure_counts(layer(lucky)) == {"law": 1}
    chance = [match(0.7, 0.5, p_value=0.5)] * 9
    assert sure_counts(layer(lucky, *chance)) == {}
    assert sure_counts(layer(match(0.9, 0.95, p_value=1e-4), *chance)) == {"law": 1}


@pytest.mark.parametrize(
    ("value", "shown"), [(999.7, "1,000"), (-999.7, "-1,000"), (999.4, "999"), (0.9996, "1")]
)
def test_figures_are_never_rounded_into_powers_of_ten(value: float, shown: str) -> None:
    assert figure(value) == shown


def test_signed_codes_are_said_to_be_read_on_one_side(run: Run, report, tmp_path) -> None:
    words = "read on its positive side only"
    assert words not in report.read_text(encoding="utf-8")
    linear = tmp_path / "linear"
    signed = Run.create(linear, config={"method": "pca"}, sites=[builders.SITE])
    data = builders.activations()
    atoms = builders.atoms()
    dictionary = Dictionary(atoms, builders.SITE, "linear", encoder_weight=atoms.T.contiguous())
    codes = dictionary.encode(data.X)
    features = read_features(dictionary, data, codes=codes)
    figures = {"seconds": 1.0, "sweeps": None, "stop_reason": None, "rows": len(data)}
    signed.write_site(dictionary, codes, data.tokens, features, objective=[], figures=figures)
    assert words in write_report(Run.open(linear)).read_text(encoding="utf-8")
