"""Runs made of an SAE that was trained elsewhere: read, placed, carried, or refused."""

import json
from pathlib import Path

import pytest
import torch

from cofire import jobs
from cofire.baselines import save_sae
from cofire.config import CaptureConfig, FitConfig
from cofire.dictionary import Dictionary
from cofire.errors import DataError, InputError
from cofire.report import write_report
from cofire.site import Site
from cofire.store import ActivationStore

SITE = Site(1, "mlp")


def write(folder: Path, *, channels: int = 48, site: Site = SITE, features: int = 9) -> Path:
    generator = torch.Generator().manual_seed(0)
    atoms = torch.nn.functional.normalize(torch.randn(features, channels, generator=generator))
    sae = Dictionary(
        atoms,
        site,
        "jumprelu",
        encoder_weight=atoms.T.contiguous(),
        threshold=torch.full((features,), 0.05),
    )
    save_sae(sae, folder)
    return folder


@pytest.fixture(scope="module")
def store(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ActivationStore:
    path = tmp_path_factory.mktemp("store") / "acts"
    return jobs.capture(
        CaptureConfig(model=str(tiny_folder), layers="0,1", output=path, device="cpu", limit=120)
    )


@pytest.fixture
def config(tiny_folder: Path, tmp_path: Path) -> FitConfig:
    return FitConfig(
        model=str(tiny_folder),
        method="sae",
        sae=str(write(tmp_path / "sae")),
        limit=120,
        device="cpu",
        output=tmp_path / "run",
    )


def test_an_sae_is_read_at_its_own_site(config: FitConfig, store: ActivationStore) -> None:
    run = jobs.fit(config)
    assert run.sites == [SITE]
    found = run.dictionary(SITE)
    assert found.encoder == "jumprelu"
    assert run.config["n_components"] == 9
    assert found.provenance["method"] == "sae"
    rows = store.activations(SITE)
    assert torch.equal(run.codes(SITE) > 0, found.encode(rows) > 0)
    assert any(feature.vocabulary for feature in run.features(SITE))
    assert jobs.fit(config).sites == [SITE]  # the same command finds it done
    page = write_report(run).read_text(encoding="utf-8")
    assert "sparse autoencoder that was trained elsewhere" in page


def test_an_sae_takes_the_layer_of_a_store_that_is_its_own(
    config: FitConfig, store: ActivationStore, tmp_path: Path
) -> None:
    update = {"activations": store.path, "model": FitConfig().model, "limit": None}
    run = jobs.fit(config.model_copy(update=update))
    assert run.sites == [SITE]


def test_an_sae_of_neurons_is_carried_and_labelled_so(config: FitConfig) -> None:
    run = jobs.fit(config.model_copy(update={"site": "resid_post", "layers": "1"}))
    site = Site(1, "resid_post")
    found = run.dictionary(site)
    assert found.provenance["carried"] == {"from": SITE.name, "through": "W_out"}
    assert found.n_channels == 32
    page = write_report(run).read_text(encoding="utf-8")
    assert f"from {SITE.name} through W_out" in page


def test_what_does_not_fit_is_refused(
    config: FitConfig, store: ActivationStore, tmp_path: Path
) -> None:
    def fit(**update: object) -> None:
        jobs.fit(config.model_copy(update=update))

    with pytest.raises(InputError, match=r"trained at blocks.1.mlp.hook_post, not at blocks.0"):
        fit(layers="0")
    with pytest.raises(InputError, match="not at blocks.1.hook_resid_pre"):
        fit(layers="1", site="resid_pre")
    with pytest.raises(InputError, match="reads 47 channels .* have 48"):
        fit(sae=str(write(tmp_path / "narrow", channels=47)))
    with pytest.raises(InputError, match="reads 47 channels .* have 48"):
        fit(
            sae=str(tmp_path / "narrow"),
            activations=store.path,
            model=FitConfig().model,
            limit=None,
        )
    with pytest.raises(InputError, match="no finished layer|does not exist|holds no layer 7"):
        fit(
            sae=str(write(tmp_path / "deep", site=Site(7, "mlp"))),
            activations=store.path,
            model=FitConfig().model,
            limit=None,
        )
    with pytest.raises(InputError, match="has 9 features; leave n_components"):
        fit(n_components=12)
    with pytest.raises(InputError, match="has no setting 'sparsity'"):
        fit(sparsity=0.5)
    with pytest.raises(InputError, match="both --method sae and --sae"):
        fit(sae=None)
    with pytest.raises(InputError, match="both --method sae and --sae"):
        fit(method="snmf")
    with pytest.raises(InputError, match="There is no folder /nowhere/sae"):
        fit(sae="/nowhere/sae")
    (tmp_path / "sae" / "cfg.json").write_text(json.dumps([]))
    with pytest.raises(DataError, match="should hold an object"):
        fit()
