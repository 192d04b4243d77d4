"""SAELens opens what is exported for it, and gives cofire's codes."""

import json
import subprocess
import sys
import warnings

import pytest
import torch

from cofire.baselines import load_sae, save_sae
from cofire.config import ExportConfig
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.exports import export_run
from cofire.exports.sae_lens import error_in_words
from cofire.site import Site

SITE = Site(1, "mlp")


def imported_sae_lens():
    pytest.importorskip("sae_lens", reason="needs the extra sae")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import sae_lens

        import cofire.exports.nnls_sae  # noqa: F401  (tells SAELens of the architecture)
    return sae_lens


def opened(folder):
    lens = imported_sae_lens()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lens.SAE.load_from_disk(folder)


def nnls(**settings) -> Dictionary:
    generator = torch.Generator().manual_seed(0)
    return Dictionary(torch.randn(6, 10, generator=generator), SITE, **settings)


@pytest.fixture(scope="module")
def amortised(run, acts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sae") / "amortised"
    config = ExportConfig(run=run.path, to="saelens", activations=acts.path, output=folder)
    (note,) = export_run(config).notes
    return folder, note


@pytest.fixture(scope="module")
def exact(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sae") / "exact"
    export_run(ExportConfig(run=run.path, to="saelens-exact", output=folder))
    return folder


def test_the_amortised_encoder_opens_with_the_codes_cofire_gives(amortised, acts):
    sae = opened(amortised[0])
    X = acts.activations(SITE).X
    with torch.no_grad():
        codes = sae.encode(X)
    torch.testing.assert_close(codes, load_sae(amortised[0]).encode(X), rtol=1e-4, atol=1e-5)
    assert type(sae).__name__ == "JumpReLUSAE"
    assert sae.cfg.metadata.hook_name == SITE.name


def test_its_error_is_kept_and_is_that_of_the_codes_that_saelens_gives(amortised, acts, run):
    folder, note = amortised
    sae = opened(folder)
    kept = sae.cfg.metadata.cofire["encoder_error"]
    rows = acts.activations(SITE)
    heldout = torch.tensor([text.split == "heldout" for text in rows.corpus])[
        torch.from_numpy(rows.tokens.text_id).long()
    ]
    assert bool(heldout.any())
    for name, chosen in (("heldout", heldout), ("training", ~heldout)):
        X, exact = rows.X[chosen], run.codes(SITE)[chosen]
        with torch.no_grad():
            guessed = sae.encode(X)
            loss = float((X - sae.decode(guessed)).square().sum() / X.square().sum())
        on = (guessed > 0) & (exact > 0), (guessed > 0) | (exact > 0)
        assert kept[name]["rows"] == int(chosen.sum())
        assert kept[name]["relative_loss_amortised"] == pytest.approx(loss, rel=1e-3)
        assert kept[name]["active_agreeing"] == pytest.approx(
            float(on[0].sum() / on[1].sum()), abs=2e-3
        )
    measured = run.figures(SITE)["heldout"]["relative_loss"]
    assert kept["heldout"]["relative_loss_exact"] == pytest.approx(measured, rel=1e-5)
    assert f"{kept['heldout']['relative_loss_amortised']:.4f}" in note


def test_the_exact_architecture_gives_the_stored_codes(exact, acts, run):
    sae = opened(exact)
    X = acts.activations(SITE).X
    batches = X[:40].reshape(4, 10, -1)
    codes = sae.encode(batches)
    assert codes.shape == (4, 10, 8)
    torch.testing.assert_close(codes.reshape(40, -1), run.codes(SITE)[:40], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        sae(batches).reshape(40, -1), run.dictionary(SITE).decode(run.codes(SITE)[:40])
    )
    assert sae.cfg.metadata.cofire_run["space"] == "MLP neurons"


@pytest.mark.parametrize(
    "order", ["cofire.exports.nnls_sae, sae_lens", "sae_lens, cofire.exports.nnls_sae"]
)
def test_one_import_makes_the_architecture_known(order, exact):
    pytest.importorskip("sae_lens", reason="needs the extra sae")
    code = f"import {order}; print(sae_lens.SAE.load_from_disk({str(exact)!r}).cfg.architecture())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "cofire-nnls", done.stderr[-500:]


@pytest.mark.parametrize(
    "settings",
    [
        {"penalty": 0.3},
        {"top_k": 2},
        {"offset": torch.full((10,), 0.7)},
        {"rectify": True, "offset": torch.full((10,), 0.2)},
    ],
    ids=["penalty", "max active", "offset", "rectified"],
)
def test_every_setting_of_exact_codes_survives(settings, tmp_path):
    dictionary = nnls(**settings)
    X = torch.randn(30, 10, generator=torch.Generator().manual_seed(1))
    save_sae(dictionary, tmp_path / "sae")
    expected = dictionary.encode(X)
    assert torch.equal(load_sae(tmp_path / "sae").encode(X), expected)
    sae = opened(tmp_path / "sae")
    torch.testing.assert_close(sae.encode(X), expected)
    torch.testing.assert_close(sae.decode(expected), dictionary.decode(expected))


def test_the_hook_is_where_a_model_of_saelens_has_its_mlp_neurons(exact, acts):
    lens = imported_sae_lens()
    from transformer_lens import HookedTransformerConfig

    sae = opened(exact)
    torch.manual_seed(0)
    shape = {"n_layers": 2, "d_model": 8, "n_ctx": 16, "d_head": 4, "n_heads": 2, "d_vocab": 20}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it will be made otherwise in version 4
        model = lens.HookedSAETransformer(
            HookedTransformerConfig(**shape, d_mlp=sae.cfg.d_in, act_fn="gelu", device="cpu")
        )
    tokens = torch.randint(0, 20, (3, 7))
    _, plain = model.run_with_cache(tokens)
    with torch.no_grad():
        _, cache = model.run_with_cache_with_saes(tokens, saes=[sae])
    codes = cache[f"{SITE.name}.hook_sae_acts_post"]
    torch.testing.assert_close(codes, sae.encode(plain[SITE.name]))


def test_images_in_the_residual_stream_say_so(run, acts, tmp_path):
    config = ExportConfig(
        run=run.path, to="saelens", image="resid_post", output=tmp_path / "image", device="cpu"
    )
    export_run(config)
    settings = json.loads((tmp_path / "image" / "cfg.json").read_text())
    assert settings["d_in"] == 32
    assert settings["metadata"]["hook_name"] == "blocks.1.hook_resid_post"
    assert settings["metadata"]["cofire"]["carried"]["through"] == "W_out"
    space = settings["metadata"]["cofire_run"]["space"]
    assert space == "image of blocks.1.mlp.hook_post in the residual stream through W_out"
    assert opened(tmp_path / "image").cfg.metadata.hook_name == "blocks.1.hook_resid_post"


def test_rows_captured_again_give_the_same_encoder(amortised, run, tmp_path):
    export_run(ExportConfig(run=run.path, to="saelens", output=tmp_path / "sae", device="cpu"))
    stored, again = load_sae(amortised[0]), load_sae(tmp_path / "sae")
    torch.testing.assert_close(again.encoder_weight, stored.encoder_weight, rtol=1e-3, atol=1e-4)


def test_what_saelens_cannot_do_is_refused(exact, tmp_path):
    with pytest.raises(InputError, match="norms cannot be folded"):
        opened(exact).fold_W_dec_norm()
    with pytest.raises(InputError, match="measured on no row"):
        error_in_words({"training": None, "heldout": None})
    settings = json.loads((exact / "cfg.json").read_text())
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sae_weights.safetensors").write_bytes(
        (exact / "sae_weights.safetensors").read_bytes()
    )
    (broken / "cfg.json").write_text(json.dumps(settings | {"max_active": 99}))
    with pytest.raises(ValueError, match="needs k from 1 to that; it has 99"):
        load_sae(broken)
