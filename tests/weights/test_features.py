"""Features that components read and write, planted among random ones."""

import pytest
import torch

from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.low_rank import LowRankMatrix
from cofire.site import Site
from cofire.weights.features import match_features

WIDTH, COMPONENTS = 64, 6


def head(seed: int = 77) -> LowRankMatrix:
    generator = torch.Generator().manual_seed(seed)
    return LowRankMatrix(
        torch.randn(WIDTH, COMPONENTS, generator=generator),
        torch.randn(COMPONENTS, WIDTH, generator=generator),
    )


def dictionary(atoms: torch.Tensor, kind: str = "resid_post") -> Dictionary:
    return Dictionary(atoms, Site(3, kind))


def atoms(*planted: torch.Tensor, n: int = 80) -> torch.Tensor:
    noise = torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(9))
    return torch.cat([noise, *[direction[None] for direction in planted]])


def test_planted_features_are_found_on_their_side_only() -> None:
    parts = head()
    noise = 0.3 * torch.randn(WIDTH, generator=torch.Generator().manual_seed(1))
    planted = dictionary(atoms(parts.left[:, 2] + noise, -parts.right[4]))
    reading = match_features(parts, planted, "reading")
    writing = match_features(parts, planted, "writing")
    assert reading.matches[2].feature == 80
    assert reading.matches[2].cosine > 0.9
    assert writing.matches[4].feature == 81
    assert writing.matches[4].cosine == pytest.approx(-1, abs=1e-5)
    for found, place in ((reading, 2), (writing, 4)):
        significant = [match.corrected_p < 0.05 for match in found.matches]
        assert significant == [j == place for j in range(COMPONENTS)]
        assert all(m.p == max(m.p_stream, m.p_subspace) for m in found.matches)
        assert found.features == 82
        assert 0 < found.typical < 0.6


def test_components_that_are_features_stand_out_together() -> None:
    parts = head()
    found = match_features(parts, dictionary(atoms(*parts.left.T)), "reading")
    assert found.together.beyond
    assert found.together.value == pytest.approx(1, abs=1e-5)
    assert not match_features(parts, dictionary(atoms()), "reading").together.beyond


def test_false_findings_are_as_rare_as_they_should_be() -> None:
    """With random features, Holm at 5% may name a component in about one head of twenty."""
    named = 0
    for seed in range(40):
        generator = torch.Generator().manual_seed(1000 + seed)
        random = dictionary(torch.randn(50, WIDTH, generator=generator))
        found = match_features(head(seed), random, "reading", draws=400, seed=seed)
        named += any(match.corrected_p < 0.05 for match in found.matches)
    assert named <= 6  # binomial(40, 0.05) is above 6 in 0.3% of cases


def test_a_subspace_full_of_features_is_no_finding_for_its_components() -> None:
    """Features anywhere in the head's subspace: near to it, but to no basis of it."""
    parts = head()
    generator = torch.Generator().manual_seed(4)
    inside = torch.randn(60, COMPONENTS, generator=generator) @ parts.left.T
    found = match_features(parts, dictionary(inside), "reading")
    assert all(match.p_stream < 0.01 for match in found.matches)
    assert not any(match.corrected_p < 0.05 for match in found.matches)


def test_a_component_of_zeros_matches_nothing() -> None:
    parts = head()
    parts.left[:, 1] = 0
    found = match_features(parts, dictionary(atoms()), "reading")
    assert found.matches[1].feature is None
    assert found.matches[1].corrected_p is None
    assert found.matches[0].feature is not None


def test_bad_input() -> None:
    with pytest.raises(InputError, match="not in the residual stream; carry"):
        match_features(head(), dictionary(atoms(), "mlp"), "reading")
    with pytest.raises(InputError, match="64 channels and features 32"):
        match_features(head(), dictionary(torch.ones(3, 32)), "reading")
    with pytest.raises(InputError, match="at least 100 draws"):
        match_features(head(), dictionary(atoms()), "reading", draws=3)
