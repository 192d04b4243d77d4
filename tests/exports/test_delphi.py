"""Latents as delphi caches them; opened by delphi itself where it is installed."""

import json

import numpy as np
import pytest
import torch
from other_python import found_by
from safetensors.numpy import load_file

from cofire.config import ExportConfig
from cofire.errors import InputError
from cofire.exports import export_run
from cofire.exports.delphi import write_delphi
from cofire.exports.source import RunSite
from sample_run import make_run

WINDOW = 8


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("delphi") / "latents"
    config = ExportConfig(run=run.path, to="delphi", output=path, window=WINDOW, shards=3)
    return export_run(config).path


def expected(run):
    """Codes and tokens of the rows in whole windows."""
    site = run.sites[0]
    rows = len(run.tokens(site)) // WINDOW * WINDOW
    return run.codes(site)[:rows], run.tokens(site).token_id[:rows]


def test_the_files_are_those_that_delphi_writes(folder, run):
    place = folder / "blocks.1.mlp.hook_post"
    assert [path.name for path in folder.iterdir()] == [place.name]  # else delphi sees two sites
    shards = sorted(path.name for path in place.glob("*.safetensors"))
    assert shards == ["0_1.safetensors", "2_4.safetensors", "5_7.safetensors"]
    codes, tokens = expected(run)
    for shard in shards:
        first, last = map(int, shard.removesuffix(".safetensors").split("_"))
        tensors = load_file(place / shard)
        assert {name: t.dtype.name for name, t in tensors.items()} == {
            "locations": "uint16",
            "activations": "float16",
            "tokens": "int64",
        }
        assert np.array_equal(tensors["tokens"].ravel(), tokens)
        window, within, feature = tensors["locations"].astype(int).T
        again = torch.zeros(len(codes), last - first + 1)
        again[window * WINDOW + within, feature] = torch.from_numpy(tensors["activations"]).float()
        torch.testing.assert_close(again, codes[:, first : last + 1], rtol=1e-3, atol=1e-4)


def test_the_config_has_the_names_of_delphi(folder, run):
    config = json.loads((folder / "blocks.1.mlp.hook_post" / "config.json").read_text())
    assert set(config) == {
        "dataset_repo",
        "dataset_split",
        "dataset_name",
        "dataset_column",
        "batch_size",
        "cache_ctx_len",
        "n_tokens",
        "n_splits",
        "model_name",
    }
    codes, _ = expected(run)
    assert (config["cache_ctx_len"], config["n_splits"], config["n_tokens"]) == (8, 3, len(codes))
    about = json.loads((folder / "blocks.1.mlp.hook_post" / "cofire.json").read_text())
    assert about["rows_left_out"] == len(run.tokens(run.sites[0])) - len(codes) < WINDOW


def test_delphi_opens_it(folder, run):
    found = found_by("delphi", "open_delphi.py", folder, WINDOW)
    codes, tokens = expected(run)
    assert found["modules"] == ["blocks.1.mlp.hook_post"]
    assert found["shape"] == [len(codes) // WINDOW, WINDOW]
    assert found["tokens"] == tokens.tolist()
    again = torch.zeros_like(codes)
    for window, place, feature, value in found["latents"]:
        again[window * WINDOW + place, feature] = value
    torch.testing.assert_close(again, codes, rtol=1e-3, atol=1e-4)
    for feature, (largest, frequency, _) in found["records"].items():
        column = codes[:, int(feature)]
        assert largest == pytest.approx(float(column.max()), rel=1e-3)
        assert frequency == pytest.approx(float((column > 1e-5).float().mean()), abs=1e-6)
    assert len(found["records"]) == int((codes.amax(dim=0) > 0).sum())


def test_large_codes_do_not_overflow(tmp_path):
    run = make_run(tmp_path / "run", layers=(2,), n_features=4)
    source = RunSite(run, run.sites[0])
    source.codes = source.codes * 1e6
    write_delphi(source, tmp_path)
    tensors = load_file(tmp_path / run.sites[0].name / "0_3.safetensors")
    assert np.isfinite(tensors["activations"]).all()
    assert tensors["activations"].max() == pytest.approx(float(source.codes.max()))


def test_too_few_rows_and_wrong_numbers_are_refused(run, tmp_path):
    source = RunSite(run, run.sites[0])
    with pytest.raises(InputError, match="too few for a window of 100000"):
        write_delphi(source, tmp_path, window=100000)
    with pytest.raises(InputError, match="1 shard to 8; got 8 and 9"):
        write_delphi(source, tmp_path, window=8, shards=9)
    assert not any(tmp_path.iterdir())
