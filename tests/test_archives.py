"""Stored runs and activations of every format version still open and still mean the same."""

import re
from pathlib import Path

import pytest
import torch

import builders
from cofire.store import (
    ActivationStore,
    PathFolder,
    Run,
)

ARCHIVES = Path(__file__).parent / "archives"


def versions(kind: str) -> list[int]:
    found = [re.fullmatch(rf"{kind}-v(\d+)", path.name) for path in ARCHIVES.iterdir()]
    return sorted(int(match[1]) for match in found if match)


def test_every_format_version_has_an_example():
    assert versions("run") == list(range(1, Run.format_version + 1))
    assert versions("activations") == list(range(1, ActivationStore.format_version + 1))
    assert versions("path") == list(range(1, PathFolder.format_version + 1))


@pytest.mark.parametrize("version", versions("run"))
def test_a_stored_run_opens(version):
    stored = Run.open(ARCHIVES / f"run-v{version}")
    assert stored.unfinished == []
    (site,) = stored.sites
    data = builders.activations()
    codes = stored.codes(site)
    assert torch.allclose(stored.dictionary(site).encode(data.X), codes, atol=1e-4)
    assert stored.tokens(site).surface(1) == " cat"
    assert list(stored.corpus) == list(data.corpus)
    features = stored.features(site)
    assert features[1].concept.concept == "colour"
    assert features[1].label.startswith("colour: ")
    assert features[4].dead
    assert stored.objective(site)[0]["relative_loss"] == 0.5


@pytest.mark.parametrize("version", versions("activations"))
def test_a_stored_activation_store_opens(version):
    store = ActivationStore.open(ARCHIVES / f"activations-v{version}")
    data = builders.activations()
    found = store.activations(builders.SITE)
    assert torch.allclose(found.X, data.X, atol=1e-6)
    assert found.tokens.surface(1) == " cat"
    assert list(found.corpus) == list(data.corpus)


@pytest.mark.parametrize("version", versions("path"))
def test_a_stored_path_opens(version):
    folder = PathFolder.open(ARCHIVES / f"path-v{version}")
    assert folder.site == builders.SITE
    assert folder.varies == "n_components"
    assert [point.n_components for point in folder.points] == [2, 3]
    assert [len(solution.atoms) for solution in folder.solutions()] == [2, 2]
    assert folder.solutions()[1].atoms[0].shape == (3, 12)
    assert folder.points[0].agreement is None
