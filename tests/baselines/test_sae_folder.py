"""SAEs in SAELens' folders give the codes that SAELens gives; what is not read is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cofire.baselines import load_public_sae, load_sae, sae_dictionary, save_sae
from cofire.dictionary import Dictionary
from cofire.errors import DataError, InputError
from cofire.site import Site

FOLDERS = Path(__file__).parent / "saes"  # made by make_sae_folders.py with SAELens
NAMES = sorted(path.name for path in FOLDERS.iterdir() if path.is_dir())
SITE = Site(2, "mlp")


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(FOLDERS / "topk", tmp_path / "sae"))


def change(folder: Path, **settings) -> None:
    path = folder / "cfg.json"
    config = json.loads(path.read_text())
    metadata = settings.pop("metadata", {})
    config["metadata"] |= metadata
    path.write_text(json.dumps(config | settings))


@pytest.mark.parametrize("name", NAMES)
def test_codes_and_reconstruction_are_those_stored_from_saelens(name):
    dictionary = load_sae(FOLDERS / name)
    expected = load_file(FOLDERS / name / "expected.safetensors")
    assert dictionary.site == SITE
    codes = dictionary.encode(expected["X"])
    assert torch.equal(codes > 0, expected["codes"] > 0)
    torch.testing.assert_close(codes, expected["codes"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(dictionary.decode(codes), expected["decoded"], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_written_folder_reads_the_same_here_and_in_saelens(name, tmp_path):
    dictionary = load_sae(FOLDERS / name)
    X = load_file(FOLDERS / name / "expected.safetensors")["X"]
    save_sae(dictionary, tmp_path / "again", model="some model")
    again = load_sae(tmp_path / "again", site=SITE)
    assert torch.equal(again.encode(X), dictionary.encode(X))
    assert again.provenance["model"] == "some model"
    sae_lens = imported_sae_lens()
    sae = sae_lens.SAE.load_from_disk(tmp_path / "again")
    assert sae.cfg.metadata.hook_name == SITE.name
    with torch.no_grad():
        codes = sae.encode(X)
    torch.testing.assert_close(dictionary.encode(X), codes, rtol=1e-5, atol=1e-5)
    assert torch.equal(
        sae_dictionary(sae.cfg.to_dict(), sae.state_dict()).encode(X), again.encode(X)
    )


def imported_sae_lens():
    pytest.importorskip("sae_lens", reason="needs the extra sae")
    from cofire.baselines.lens import sae_lens

    return sae_lens()


def test_a_public_sae_that_cannot_be_had_is_one_sentence():
    imported_sae_lens()
    with pytest.raises(DataError, match="cannot load no-such-name/layer_3: .* Check both names"):
        load_public_sae("no-such-name", "layer_3")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "gated"}, "architecture 'gated' is not read; those of standard, topk"),
        ({"normalize_activations": "layer_norm"}, "scales each row by itself"),
        ({"normalize_activations": "expected_average_only_in"}, "a factor that is not in the fol"),
        ({"normalize_activations": "covariance_whitening"}, "a whitening matrix that is not in"),
        ({"metadata": {"hook_name": "blocks.2.hook_resid_mid"}}, "is not a site"),
        ({"metadata": {"hook_name": None}}, "name its site"),
        ({"metadata": {"hook_head_index": 3}}, "one attention head"),
    ],
)
def test_what_a_dictionary_does_not_compute_is_refused(folder, settings, message):
    change(folder, **settings)
    with pytest.raises(InputError, match=message) as refused:
        load_sae(folder)
    assert str(folder) in str(refused.value)


def test_another_site_is_refused_and_the_way_out_named(folder):
    with pytest.raises(InputError, match=r"trained at blocks\.2\.mlp.* carry_to_residual"):
        load_sae(folder, site=Site(2, "resid_post"))
    change(folder, metadata={"hook_name": None})
    assert load_sae(folder, site=SITE).site == SITE


@pytest.mark.parametrize("k", [0, 10, None, True, 2.5])
def test_a_number_of_active_features_that_cannot_be_is_refused(folder, k):
    change(folder, k=k)
    with pytest.raises(DataError, match="needs k from 1"):
        load_sae(folder)


def test_damaged_and_missing_files_are_told_apart(folder):
    weights = load_file(folder / "sae_weights.safetensors")
    save_file({**weights, "W_enc": torch.zeros(5, 9)}, folder / "sae_weights.safetensors")
    with pytest.raises(DataError, match=r"asks for W_enc of shape \(6, 9\); it has \(5, 9\)"):
        load_sae(folder)
    save_file({**weights, "W_dec": torch.zeros(9)}, folder / "sae_weights.safetensors")
    with pytest.raises(DataError, match="W_dec should be a matrix"):
        load_sae(folder)
    del weights["b_dec"]
    save_file(weights, folder / "sae_weights.safetensors")
    with pytest.raises(DataError, match="lack b_dec; they hold W_dec, W_enc, b_enc"):
        load_sae(folder)
    (folder / "sae_weights.safetensors").write_bytes(b"no tensors")
    with pytest.raises(DataError, match="cannot be read"):
        load_sae(folder)
    (folder / "sae_weights.safetensors").unlink()
    with pytest.raises(DataError, match="no SAE in SAELens format"):
        load_sae(folder)


def test_an_sae_for_rows_of_another_width_is_refused_when_it_encodes():
    with pytest.raises(InputError, match="6 channels .*got 7"):
        load_sae(FOLDERS / "topk").encode(torch.zeros(1, 7))


def test_only_what_saelens_computes_is_written(tmp_path):
    linear = Dictionary(torch.eye(3), SITE, encoder="linear", encoder_weight=torch.eye(3))
    with pytest.raises(InputError, match="no dictionary with the encoder 'linear'"):
        save_sae(linear, tmp_path)
    assert not any(tmp_path.iterdir())
