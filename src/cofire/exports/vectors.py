"""Directions of features in the residual stream, and vector files of SAEDashboard.

SAEDashboard's ``VectorSet`` is one JSON file of vectors with their hook point. Its activations are
inner products of a row with a vector: for a feature that is its correlation with the atom, not its
code, which the other features take part in.
"""

from pathlib import Path

from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.exports.folder import write_json
from cofire.exports.source import RunSite
from cofire.site import Site
from cofire.types import Float, Tensor

_CONTEXT_SIZE = 128  # tokens of a prompt of SAEDashboard; its own default


def steering_directions(
    dictionary: Dictionary, image: Dictionary | None
) -> tuple[Site, Float[Tensor, "features d_model"]]:
    """Where in the residual stream the features are added, and their directions of unit length.

    What an MLP adds to the stream reaches it at the end of its block, so features of its neurons
    (through W_out) and of its output are directions at ``resid_post`` of their layer.

    Args:
        dictionary: the features at their own site.
        image: their image at ``resid_post``, for those of MLP neurons.

    Returns:
        The site, and directions; a direction without length stays zero.

    Raises:
        InputError: for features that have no direction in the stream.
    """
    site = dictionary.site
    if image is not None:
        dictionary = image
    elif site.kind == "mlp":
        raise InputError("Features of MLP neurons need their image in the residual stream.")
    elif site.kind == "attn":
        raise InputError(
            f"Features of attention heads ({site}) have no direction in the residual stream yet; "
            "only those at mlp, mlp_out, resid_pre and resid_post do."
        )
    place = Site(site.layer, "resid_pre" if site.kind == "resid_pre" else "resid_post")
    atoms = dictionary.atoms.float().cpu()
    lengths = atoms.norm(dim=1, keepdim=True)
    return place, atoms / lengths.where(lengths > 0, 1.0)


def write_vector_set(source: RunSite, dictionary: Dictionary, folder: Path) -> None:
    """Write ``vectors.json``, which ``sae_dashboard.neuronpedia.vector_set.VectorSet.load`` reads.

    Args:
        source: what is exported.
        dictionary: whose atoms become vectors: the run's, or their image.
        folder: where, already there.

    Raises:
        InputError: when the model has no name.
        StoreError: when the file cannot be written.
    """
    atoms = dictionary.atoms.float().cpu()
    config = {
        "d_in": atoms.shape[1],
        "d_vectors": len(atoms),
        "vector_names": [f"{f.index} {f.label}".strip() for f in source.features],
        "model_name": source.named_model(),
        "hook_name": dictionary.site.name,
        "hook_layer": dictionary.site.layer,
        "hook_head_index": None,
        "prepend_bos": bool(source.run.config.get("bos", True)),
        "context_size": _CONTEXT_SIZE,
        "dataset_path": source.data_name,
        "dtype": "float32",
        "device": "cpu",
        "model_from_pretrained_kwargs": {},
    }
    write_json(folder / "vectors.json", {"vectors": atoms.tolist(), "config": config})
