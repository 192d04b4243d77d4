"""Models from a folder, a GGUF file and memory; and what cannot be loaded."""

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_gguf import write_qwen2_gguf
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from cofire.corpus import Corpus
from cofire.errors import InputError, ModelError
from cofire.models import LanguageModel, capture_activations, load_model
from cofire.site import Site
from tiny_models import tiny_model

SITE = Site(1, "mlp")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny"
    tiny_model("qwen2").save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def rows(tokenizer: PreTrainedTokenizerBase, corpus: Corpus) -> torch.Tensor:
    model = LanguageModel(tiny_model("qwen2"), tokenizer)
    return capture_activations(model, corpus, [SITE])[SITE].X


def test_folder(
    folder: Path, rows: torch.Tensor, corpus: Corpus, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    model = load_model(folder, device="cpu")
    printed = capfd.readouterr()
    assert printed.out == printed.err == ""
    torch.testing.assert_close(capture_activations(model, corpus, [SITE])[SITE].X, rows)
    assert model.name == str(folder)
    assert model.dtype == torch.float32
    assert model.device.type == "cpu"
    assert load_model(model) is model


def test_number_type(folder: Path) -> None:
    half = load_model(str(folder), device="cpu", dtype="bfloat16")
    assert half.dtype == torch.bfloat16
    assert half.describe()["dtype"] == "bfloat16"


def test_gguf_file(
    tmp_path: Path,
    tokenizer: PreTrainedTokenizerBase,
    rows: torch.Tensor,
    corpus: Corpus,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "tiny.gguf"
    write_qwen2_gguf(path, tiny_model("qwen2"), tokenizer)
    capfd.readouterr()
    model = load_model(path, device="cpu")
    printed = capfd.readouterr()
    assert printed.out == printed.err == ""
    assert model.model.config.architectures == ["Qwen2ForCausalLM"]
    captured = capture_activations(model, corpus, [SITE])[SITE]
    torch.testing.assert_close(captured.X, rows, rtol=1e-3, atol=1e-3)


def test_loaded_model(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    model = tiny_model("qwen2")
    with pytest.raises(InputError, match=r"pass its tokenizer: load_model\(model, tokenizer="):
        load_model(model)
    assert load_model(model, tokenizer=tokenizer).tokenizer is tokenizer
    model.config._name_or_path = str(folder)
    reread = load_model(model).tokenizer
    assert reread("Rain at noon")["input_ids"] == tokenizer("Rain at noon")["input_ids"]


def test_transformers_speaks_again_afterwards(folder: Path) -> None:
    before = transformers_logging.get_verbosity()
    load_model(folder, device="cpu")
    assert transformers_logging.get_verbosity() == before
    assert transformers_logging.is_progress_bar_enabled()


def test_fingerprint_follows_the_weights(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    first = load_model(folder, device="cpu").fingerprint
    assert first == LanguageModel(tiny_model("qwen2"), tokenizer).fingerprint
    other = tiny_model("qwen2")
    with torch.no_grad():
        other.model.layers[0].mlp.down_proj.weight[0, 0] += 1
    assert LanguageModel(other, tokenizer).fingerprint != first


def test_missing_folder_and_wrong_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no file or folder .*missing; check the path"):
        load_model(tmp_path / "missing")
    with pytest.raises(ModelError, match="no file or folder .*missing.gguf"):
        load_model("missing.gguf")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ModelError, match=r"notes\.txt is a file but no GGUF file"):
        load_model(tmp_path / "notes.txt")
    (tmp_path / "cut.gguf").write_bytes(b"GGUF\x03\x00")
    with pytest.raises(ModelError, match=r"cut\.gguf: the file is damaged"):
        load_model(tmp_path / "cut.gguf")
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        load_model(tmp_path)
    with pytest.raises(ModelError, match="name is empty"):
        load_model("")


@pytest.mark.parametrize("name", ["qwen2", "gpt2", "gemma3_text", "llama"])
def test_folder_without_tokenizer_or_weights(tmp_path: Path, name: str) -> None:
    tiny_model(name).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="tokenizer files .*pass tokenizer="):
        load_model(tmp_path, device="cpu")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="Cannot load the model .*incomplete"):
        load_model(tmp_path, device="cpu")


def test_checkpoint_that_lacks_weights(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"lack 1 of the weights .*layers\.1\.mlp\.up_proj"):
        load_model(tmp_path, device="cpu")


def test_checkpoint_without_a_head_warns(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, caplog: pytest.LogCaptureFixture
) -> None:
    tiny_model("qwen2").model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING, logger="cofire"):
        load_model(tmp_path, device="cpu")
    assert "without lm_head.weight" in caplog.text


def test_model_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(ModelError, match="no language model that writes from left to right"):
        load_model(tmp_path, device="cpu")


def test_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        ModelError, match="neither a local folder nor found on the Hugging Face hub"
    ):
        load_model("nobody/nothing", device="cpu")


def test_unknown_device_and_number_type(folder: Path) -> None:
    with pytest.raises(InputError, match="Unknown number type"):
        load_model(folder, dtype="float8")
    with pytest.raises(InputError, match="Unknown device"):
        load_model(folder, device="gpu")
