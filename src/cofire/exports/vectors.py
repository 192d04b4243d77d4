"""Directions of features in the residual stream, and vector files of SAEDashboard.

SAEDashboard's ``VectorSet`` is one JSON file of vectors with their hook point; its dashboards take
them for directions of the residual stream. What they show is the inner product of a row with a
vector, not a feature's code, which the other features take part in.
"""

from dataclasses import dataclass
from pathlib import Path

from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.exports.folder import write_about, write_json
from cofire.exports.source import RunSite
from cofire.site import Site
from cofire.types import Float, Tensor

_CONTEXT_SIZE = 128  # tokens of a prompt of SAEDashboard; its own default


@dataclass(frozen=True)
class Directions:
    """Where features stand in the residual stream.

    Attributes:
        site: ``resid_pre`` or ``resid_post`` of a layer.
        vectors: [features d_model], of unit length, or zero where a feature has none.
        image: whether they are images of MLP features through W_out.
    """

    site: Site
    vectors: Float[Tensor, "features d_model"]
    image: bool


def residual_directions(dictionary: Dictionary, image: Dictionary | None) -> Directions:
    """Directions of unit length along which features act in the residual stream.

    What an MLP adds to the stream reaches it at the end of its block, so features of its neurons
    (through W_out) and of its output are directions at ``resid_post`` of their layer.

    Args:
        dictionary: the features at their own site.
        image: their image at ``resid_post``, for those of MLP neurons.

    Raises:
        InputError: for features that have no direction in the stream.
    """
    site = dictionary.site
    if image is None and site.kind == "mlp":
        raise InputError("Features of MLP neurons need their image in the residual stream.")
    if site.kind == "attn":
        raise InputError(
            f"Features of attention heads ({site}) have no direction in the residual stream yet; "
            "only those at mlp, mlp_out, resid_pre and resid_post do."
        )
    place = Site(site.layer, "resid_pre" if site.kind == "resid_pre" else "resid_post")
    atoms = (dictionary if image is None else image).atoms.float().cpu()
    lengths = atoms.norm(dim=1, keepdim=True)
    return Directions(place, atoms / lengths.where(lengths > 0, 1.0), image is not None)


def write_vector_set(source: RunSite, directions: Directions, folder: Path) -> None:
    """Write ``vectors.json``, which ``sae_dashboard.neuronpedia.vector_set.VectorSet.load`` reads.

    Args:
        source: what is exported.
        directions: of its features.
        folder: where, already there.

    Raises:
        InputError: when the model has no name.
        StoreError: when the file cannot be written.
    """
    vectors = directions.vectors
    config = {
        "d_in": vectors.shape[1],
        "d_vectors": len(vectors),
        "vector_names": source.names,
        "model_name": source.named_model(),
        "hook_name": directions.site.name,
        "hook_layer": directions.site.layer,
        "hook_head_index": None,
        "prepend_bos": source.bos,
        "context_size": _CONTEXT_SIZE,
        "dataset_path": source.data_name,
        "dtype": "float32",
        "device": "cpu",
        "model_from_pretrained_kwargs": {},
    }
    write_json(folder / "vectors.json", {"vectors": vectors.tolist(), "config": config})
    write_about(folder, {**source.facts(), **about_directions(directions)})


def about_directions(directions: Directions) -> dict[str, object]:
    """What ``cofire.json`` says of them."""
    return {
        "hook_name": directions.site.name,
        "unit_length": True,
        "image_of_mlp_neurons": directions.image,
    }
