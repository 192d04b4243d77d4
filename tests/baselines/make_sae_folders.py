"""Make the stored SAE folders with SAELens: python make_sae_folders.py, with the extra sae.

Each folder is what SAELens writes itself, with random weights, and expected.safetensors beside it:
rows, and what SAELens' own ``encode`` and ``decode`` make of them.
"""

import json
import shutil
import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

FOLDERS = Path(__file__).parent / "saes"
CHANNELS, FEATURES = 6, 9
HOOK = "blocks.2.mlp.hook_post"

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import sae_lens


def configurations():
    size = {"d_in": CHANNELS, "d_sae": FEATURES}
    bare = {**size, "apply_b_dec_to_input": False}
    yield "standard", sae_lens.StandardSAE(sae_lens.StandardSAEConfig(**size))
    yield "standard-b-dec-kept", sae_lens.StandardSAE(sae_lens.StandardSAEConfig(**bare))
    yield "topk", sae_lens.TopKSAE(sae_lens.TopKSAEConfig(k=3, **size))
    rescaled = sae_lens.TopKSAEConfig(k=3, rescale_acts_by_decoder_norm=True, **size)
    yield "topk-rescaled", sae_lens.TopKSAE(rescaled)
    yield "jumprelu", sae_lens.JumpReLUSAE(sae_lens.JumpReLUSAEConfig(**bare))


def make():
    shutil.rmtree(FOLDERS, ignore_errors=True)
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(20, CHANNELS, generator=generator)
    for name, sae in configurations():
        for parameter in sae.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        sae.cfg.metadata.hook_name = HOOK
        sae.cfg.metadata.model_name = "random weights"
        sae.save_model(FOLDERS / name)
        keep(FOLDERS / name, sae, X)
    older()
    versions = {"sae-lens": sae_lens.__version__, "torch": torch.__version__}
    (FOLDERS / "versions.json").write_text(json.dumps(versions) + "\n")


def keep(folder, sae, X):
    with torch.no_grad():
        codes = sae.encode(X)
        expected = {"X": X, "codes": codes, "decoded": sae.decode(codes)}
    save_file(
        {key: part.contiguous() for key, part in expected.items()}, folder / "expected.safetensors"
    )


def older():
    """The topk SAE with its settings spelled as before SAELens 6; codes by SAELens of today."""
    folder = FOLDERS / "topk-version-5"
    shutil.copytree(FOLDERS / "topk", folder)
    config = {
        "architecture": "standard",
        "d_in": CHANNELS,
        "d_sae": FEATURES,
        "activation_fn_str": "topk",
        "activation_fn_kwargs": {"k": 3},
        "apply_b_dec_to_input": True,
        "finetuning_scaling_factor": False,
        "normalize_activations": "none",
        "model_name": "random weights",
        "hook_name": HOOK,
        "hook_head_index": None,
        "dtype": "torch.float32",
        "sae_lens_training_version": "5.10.7",
    }
    (folder / "cfg.json").write_text(json.dumps(config))
    X = load_file(folder / "expected.safetensors")["X"]
    keep(folder, sae_lens.SAE.load_from_disk(folder), X)


if __name__ == "__main__":
    make()
