"""Sparse autoencoders in the folder format of SAELens: cfg.json and sae_weights.safetensors.

Read and written without SAELens. Codes are those of SAELens' ``encode``, in float32:

    standard  max(0, x' W_enc + b_enc)
    topk      the k largest of those; with ``rescale_acts_by_decoder_norm`` each is multiplied by
              the norm of its decoder row before, which is folded into the weights here
    jumprelu  those above ``threshold``
    cofire-nnls  exact nonnegative least squares against W_dec, no W_enc; SAELens knows it
              after ``import cofire.exports.nnls_sae``

with x' = x - b_dec, or x where ``apply_b_dec_to_input`` is false.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cofire.dictionary import Dictionary, EncoderKind
from cofire.errors import CofireError, DataError, InputError
from cofire.site import Site
from cofire.types import Tensor

CONFIG_FILE = "cfg.json"
WEIGHTS_FILE = "sae_weights.safetensors"

NNLS_ARCHITECTURE = "cofire-nnls"
"""What nonnegative least squares is called among SAELens' architectures."""

_ENCODERS: dict[str, EncoderKind] = {
    "standard": "relu",
    "topk": "topk",
    "jumprelu": "jumprelu",
    NNLS_ARCHITECTURE: "nnls",
}
_ARCHITECTURES = {encoder: name for name, encoder in _ENCODERS.items()}
_FORMAT_VERSION = "6.0.0"  # first SAELens version with these files; readers branch on it
_UNFOLDED = {
    "expected_average_only_in": "a factor",
    "covariance_whitening": "a whitening matrix",
}


def load_sae(folder: Path | str, *, site: Site | None = None) -> Dictionary:
    """Read a folder in SAELens format as a dictionary.

    Args:
        folder: holds ``cfg.json`` and ``sae_weights.safetensors``, of any SAELens version.
        site: where it is wanted; refused when that is not where it was trained. Needed when the
            folder does not say where that was.

    Raises:
        DataError: when a file is missing, damaged, or lacks what an SAE has.
        InputError: when it was trained elsewhere, or computes something that ``Dictionary`` does
            not: another architecture, or a normalisation of its input.
    """
    path = Path(folder)
    try:
        config = json.loads((path / CONFIG_FILE).read_text(encoding="utf-8"))
        weights = load_file(path / WEIGHTS_FILE)
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is no SAE in SAELens format: it needs {CONFIG_FILE} and {WEIGHTS_FILE}."
        ) from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, SafetensorError) as error:
        raise DataError(f"The SAE in {path} cannot be read: {error}.") from error
    if not isinstance(config, dict):
        raise DataError(f"{path / CONFIG_FILE} should hold an object with the SAE's settings.")
    try:
        return sae_dictionary(config, weights, site=site)
    except CofireError as error:
        raise type(error)(f"{path}: {error}") from error


def sae_dictionary(
    config: Mapping[str, Any], weights: Mapping[str, Tensor], *, site: Site | None = None
) -> Dictionary:
    """The dictionary of an SAE, from what SAELens keeps of it.

    Of a SAELens object in memory: ``sae_dictionary(sae.cfg.to_dict(), sae.state_dict())``.

    Args:
        config: as in ``cfg.json``.
        weights: as in ``sae_weights.safetensors``.
        site: as for ``load_sae``.

    Raises:
        DataError, InputError: as for ``load_sae``.
    """
    config = _with_current_names(config)
    architecture = str(config.get("architecture", "standard"))
    _refuse_what_is_not_computed(architecture, config)
    site = _own_site(config, site)
    exact_codes = architecture == NNLS_ARCHITECTURE
    names = ["W_dec", "b_dec"] if exact_codes else ["W_enc", "W_dec", "b_enc", "b_dec"]
    names += ["threshold"] if architecture == "jumprelu" else []
    part = {name: _weight(weights, name) for name in names}
    if part["W_dec"].ndim != 2:
        raise DataError(f"W_dec should be a matrix; it has shape {tuple(part['W_dec'].shape)}.")
    features, channels = part["W_dec"].shape
    expected = {"W_enc": (channels, features), "b_enc": (features,), "b_dec": (channels,)}
    expected |= {"threshold": (features,)} if architecture == "jumprelu" else {}
    for name, shape in expected.items():
        if name in part and part[name].shape != shape:
            raise DataError(
                f"W_dec is {features} features × {channels} channels, which asks for {name} of "
                f"shape {shape}; it has {tuple(part[name].shape)}."
            )
    if config.get("rescale_acts_by_decoder_norm") and not exact_codes:
        norms = part["W_dec"].norm(dim=1).clamp_min(1e-8)  # as SAELens does when it folds them
        part |= {"W_dec": part["W_dec"] / norms[:, None], "W_enc": part["W_enc"] * norms}
        part["b_enc"] = part["b_enc"] * norms
    if not config.get("apply_b_dec_to_input", True) and not exact_codes:
        part["b_enc"] = part["b_enc"] + part["b_dec"] @ part["W_enc"]
    exact = {name: tensor.float().contiguous() for name, tensor in part.items()}
    metadata = config["metadata"]
    return Dictionary(
        atoms=exact["W_dec"],
        site=site,
        encoder=_ENCODERS[architecture],
        encoder_weight=exact.get("W_enc"),
        encoder_bias=exact.get("b_enc"),
        offset=exact["b_dec"],
        top_k=_most_active(architecture, config, features),
        penalty=float(config.get("penalty", 0.0)) if exact_codes else 0.0,
        threshold=exact.get("threshold"),
        rectify=exact_codes and bool(config.get("rectify", False)),
        provenance={
            "method": "sae",
            "architecture": architecture,
            "model": metadata.get("model_name"),
            "hook_name": metadata.get("hook_name"),
            "sae_lens": metadata.get("sae_lens_training_version")
            or metadata.get("sae_lens_version"),
        },
    )


def save_sae(
    dictionary: Dictionary,
    folder: Path | str,
    *,
    model: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a dictionary as a folder that SAELens loads (``SAE.load_from_disk``).

    Args:
        dictionary: with encoder ``relu``, ``topk`` or ``jumprelu``; one with ``nnls`` is loaded
            after ``import cofire.exports.nnls_sae``.
        folder: made when it is not there; files of the two names are replaced.
        model: name of the model, as TransformerLens knows it.
        metadata: what else to say of it, as plain JSON values.

    Raises:
        InputError: when its codes do not come from an SAE's encoder.
    """
    if dictionary.encoder not in _ARCHITECTURES:
        raise InputError(
            f"SAELens knows no dictionary with the encoder {dictionary.encoder!r}; only "
            f"{', '.join(_ARCHITECTURES)} can be written as an SAE."
        )
    if dictionary.rectify and dictionary.encoder != "nnls":
        raise InputError("SAELens knows no SAE that sets negative activations to 0 first.")
    features, channels = dictionary.atoms.shape
    zero = dictionary.atoms.new_zeros
    offset = zero(channels) if dictionary.offset is None else dictionary.offset
    bias = zero(features) if dictionary.encoder_bias is None else dictionary.encoder_bias
    weights = {"W_dec": dictionary.atoms, "b_dec": offset}
    if dictionary.encoder_weight is not None:
        weights |= {"W_enc": dictionary.encoder_weight, "b_enc": bias}
    if dictionary.threshold is not None:
        weights["threshold"] = dictionary.threshold
    config: dict[str, Any] = {
        "architecture": _ARCHITECTURES[dictionary.encoder],
        "d_in": channels,
        "d_sae": features,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "hook_z" if dictionary.site.kind == "attn" else "none",
        "metadata": {
            "sae_lens_version": _FORMAT_VERSION,
            "model_name": model,
            "hook_name": dictionary.site.name,
            "cofire": dict(dictionary.provenance),
            **(metadata or {}),
        },
    }
    if dictionary.encoder == "nnls":
        config |= {
            "penalty": dictionary.penalty,
            "max_active": dictionary.top_k,
            "rectify": dictionary.rectify,
        }
    elif dictionary.top_k is not None:
        config |= {
            "k": min(dictionary.top_k, features),
            "rescale_acts_by_decoder_norm": False,
        }
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    exact = {name: tensor.detach().cpu().float().contiguous() for name, tensor in weights.items()}
    save_file(exact, path / WEIGHTS_FILE)
    text = json.dumps(config, indent=2, ensure_ascii=False)
    (path / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")


def _with_current_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as SAELens 6 spells them; older versions kept them all on one level."""
    found = dict(config)
    if "metadata" in found:
        found["metadata"] = dict(found["metadata"])
        return found
    hook = found.get("hook_name", found.get("hook_point"))
    kept = ("model_name", "hook_head_index", "sae_lens_version", "sae_lens_training_version")
    found["metadata"] = {"hook_name": hook, **{name: found.get(name) for name in kept}}
    activation = found.get("activation_fn", found.get("activation_fn_str", "relu"))
    options = found.get("activation_fn_kwargs") or {}
    if activation == "topk" and options.get("k") is not None:
        found |= {"architecture": "topk", "k": options["k"]}
    elif activation != "relu":
        raise InputError(f"An SAE with the activation function {activation!r} is not read.")
    normalised = found.get("normalize_activations")
    if isinstance(normalised, bool):
        found["normalize_activations"] = "expected_average_only_in" if normalised else "none"
    return found


def _refuse_what_is_not_computed(architecture: str, config: Mapping[str, Any]) -> None:
    if architecture not in _ENCODERS:
        raise InputError(
            f"An SAE of the architecture {architecture!r} is not read; those of "
            f"{', '.join(_ENCODERS)} are. Its codes are not a linear map and a threshold of each."
        )
    normalised = config.get("normalize_activations") or "none"
    if normalised in _UNFOLDED:
        raise InputError(
            f"This SAE was trained on scaled activations ({normalised}), and "
            f"{_UNFOLDED[normalised]} that is not in the folder scales them. Fold it into the "
            "weights with SAELens and save the SAE again."
        )
    if normalised != "none":
        raise InputError(
            f"This SAE scales each row by itself ({normalised}), which no Dictionary does; use an "
            "SAE that does not."
        )
    if config.get("finetuning_scaling_factor"):
        raise InputError(
            "This SAE scales its codes after fine-tuning (finetuning_scaling_factor), which is not "
            "read; use one without."
        )


def _own_site(config: Mapping[str, Any], wanted: Site | None) -> Site:
    name = config["metadata"].get("hook_name")
    if name is None:
        if wanted is None:
            raise InputError("This SAE does not say where it was trained; name its site.")
        return wanted
    if config["metadata"].get("hook_head_index") is not None:
        raise InputError("This SAE reads one attention head, not a whole site; it is not read.")
    own = Site.parse(name)
    if wanted is not None and own != wanted:
        raise InputError(
            f"This SAE was trained at {own}, not at {wanted}, and means nothing there; capture its "
            "own site. Features of MLP neurons can be carried to the residual stream with "
            "carry_to_residual."
        )
    return own


def _weight(weights: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in weights:
        raise DataError(f"The weights lack {name}; they hold {', '.join(sorted(weights))}.")
    return weights[name].detach().double()  # rounded once, after folding


def _most_active(architecture: str, config: Mapping[str, Any], features: int) -> int | None:
    if architecture == NNLS_ARCHITECTURE and config.get("max_active") is None:
        return None
    if architecture not in ("topk", NNLS_ARCHITECTURE):
        return None
    k = config.get("k" if architecture == "topk" else "max_active")
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= features:
        raise DataError(
            f"A {architecture} SAE of {features} features needs k from 1 to that; it has {k!r}."
        )
    return k
