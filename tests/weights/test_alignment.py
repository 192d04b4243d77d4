"""Components match features when they are among them, and not when they only share their span."""

import pytest
import torch

from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.low_rank import LowRankMatrix
from cofire.site import Site
from cofire.weights.alignment import ResidualFeatures, align
from cofire.weights.examination import Settings, examine
from cofire.weights.nulls import random_frame
from cofire.weights.planted import plant_weights

SETTINGS = Settings(n_components=6, restarts=8, draws=4, methods=("svd", "ica", "nmf"))


def features(directions: torch.Tensor) -> ResidualFeatures:
    names = tuple(f"feature {i}" for i in range(len(directions)))
    return ResidualFeatures(Dictionary(directions, Site(2, "resid_post")), names, "planted")


@pytest.fixture(scope="module")
def examined():
    planted = plant_weights(
        "independent", seed=4, rows=120, channels=120, n_components=6, rank=24, noise=0.01
    )
    return planted, examine(planted.matrix, SETTINGS)


def test_stable_components_match_the_features_they_are(examined):
    planted, found = examined
    others = torch.randn(30, 120, generator=torch.Generator().manual_seed(0))
    known = features(torch.cat([planted.components, others]))
    alignment, best = align(found, known, "writing")
    assert alignment.matched["ica"] == 1.0
    assert alignment.components["ica"] == 6
    assert alignment.cosine["ica"] > 0.9 > alignment.null_cosine["ica"]
    assert sorted(match.index for match in best["ica"]) == [0, 1, 2, 3, 4, 5]
    assert best["ica"][0].name.startswith("feature")
    assert alignment.matched["svd"] < 1.0


def test_features_that_only_span_the_same_space_match_nothing(examined):
    planted, found = examined
    generator = torch.Generator().manual_seed(1)
    unit = planted.components / planted.components.norm(dim=1, keepdim=True)
    mixed = random_frame(6, 6, generator) @ unit
    alignment, _ = align(found, features(mixed), "writing")
    assert alignment.matched["ica"] <= 0.5


def test_features_elsewhere_are_refused(examined):
    _, found = examined
    wide = features(torch.randn(5, 40, generator=torch.Generator().manual_seed(2)))
    with pytest.raises(InputError, match="40"):
        align(found, wide, "writing")
    with pytest.raises(InputError, match="give one"):
        ResidualFeatures(Dictionary(torch.eye(3), Site(0, "resid_post")), ("one",), "planted")


def test_random_weights_match_nothing():
    generator = torch.Generator().manual_seed(3)
    matrix = LowRankMatrix(
        torch.randn(60, 12, generator=generator), torch.randn(12, 60, generator=generator)
    )
    known = features(torch.randn(40, 60, generator=generator))
    alignment, _ = align(examine(matrix, SETTINGS), known, "reading")
    assert (alignment.matched["svd"] or 0.0) <= 0.2
    assert alignment.matched["ica"] in (None, 0.0)
