"""SAEs trained on given rows by SAELens find what is planted and load in SAELens."""

import json
import warnings

import numpy as np
import pytest
import torch

import builders
from cofire.baselines import RandomDirections, save_sae
from cofire.baselines.lens import sae_lens
from cofire.baselines.matched_sae import MatchedSAE, matched_sae
from cofire.dictionary import Dictionary
from cofire.errors import ConvergenceWarning, InputError
from cofire.factorization.planted import plant, recovery
from cofire.site import Site

pytest.importorskip("sae_lens", reason="needs the extra sae")
SITE = Site(2, "mlp")
ENCODERS = {"topk": "topk", "standard": "relu"}


@pytest.fixture(scope="module")
def planted():
    return plant(3000, 40, 8, sparsity=0.15, code_density=0.12, noise=0.02)


@pytest.fixture(scope="module", params=list(ENCODERS))
def trained(request, planted):
    sae = MatchedSAE(8, architecture=request.param, max_active=2, max_iter=1500, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        sae.fit(planted.X.numpy())
    return sae, Dictionary.from_estimator(sae, SITE, encoder=ENCODERS[request.param])


def test_a_planted_dictionary_is_recovered_and_not_by_chance(trained, planted):
    sae, _ = trained
    found = recovery(torch.from_numpy(sae.components_), planted.atoms)
    chance = RandomDirections(8).fit(planted.X.numpy()).components_
    assert found.mean() > 0.8
    assert recovery(torch.from_numpy(chance), planted.atoms).mean() < 0.5


def test_the_folder_gives_the_same_codes_in_saelens(trained, planted, tmp_path):
    _, dictionary = trained
    save_sae(dictionary, tmp_path / "sae")
    sae = sae_lens().SAE.load_from_disk(tmp_path / "sae")
    with torch.no_grad():
        codes = sae.encode(planted.X)
        decoded = sae.decode(codes)
    ours = dictionary.encode(planted.X)
    torch.testing.assert_close(ours, codes, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(dictionary.decode(ours), decoded, rtol=1e-4, atol=1e-4)


def test_every_try_is_recorded_and_the_best_within_the_bound_is_taken(trained):
    sae, _ = trained
    record = json.loads(json.dumps(sae.record_))
    assert len(record["tries"]) == {"topk": 2, "standard": 8}[sae.architecture]
    assert len({(cell["learning_rate"], cell["l1"]) for cell in record["tries"]}) >= 2
    within = [cell for cell in record["tries"] if cell["active"] <= 2 + 1e-5]
    if within:
        assert record["chosen"] == min(within, key=lambda cell: cell["loss"])
    assert all(0 < cell["loss"] < 1 for cell in record["tries"])
    assert np.allclose(np.linalg.norm(sae.components_, axis=1), 1, atol=1e-5)


def test_texts_are_held_back_whole_and_another_seed_trains_another_sae():
    data = builders.activations()
    fits = [
        MatchedSAE(3, max_iter=30, random_state=seed, device="cpu").fit(data) for seed in (0, 0, 1)
    ]
    assert np.array_equal(fits[0].components_, fits[1].components_)
    assert not np.array_equal(fits[0].components_, fits[2].components_)


def test_training_does_not_disturb_the_callers_random_numbers(planted):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    MatchedSAE(3, max_iter=5, device="cpu").fit(planted.X[:50].numpy())
    assert torch.equal(torch.rand(2), expected)


def test_settings_that_cannot_be_are_refused(planted):
    with pytest.raises(InputError, match="training steps; got 0"):
        MatchedSAE(3, max_iter=0).fit(planted.X.numpy())
    with pytest.raises(InputError, match="max_active must be at least 1; got 0"):
        MatchedSAE(3, max_active=0).fit(planted.X.numpy())
    assert (
        matched_sae(3, architecture="topk", max_active=9).fit(planted.X[:40].numpy()).max_active_
        == 3
    )


def test_every_training_step_is_told(planted):
    for architecture, trainings in (("topk", 3), ("standard", 9)):
        told = []
        sae = MatchedSAE(8, architecture=architecture, max_active=2, max_iter=20, device="cpu")
        sae.callback = lambda n, told=told: told.append(n)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            sae.fit(planted.X.numpy())
        assert sum(told) == sae.training_steps(len(planted.X)) == 20 * trainings
