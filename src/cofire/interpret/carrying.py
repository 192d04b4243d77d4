"""Features of MLP neurons seen in the residual stream, where public SAEs live."""

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.site import Site

if TYPE_CHECKING:  # importing transformers takes seconds
    from cofire.models import LanguageModel


def carry_to_residual(
    dictionary: Dictionary,
    model: "LanguageModel",
    *,
    kind: Literal["mlp_out", "resid_post"] = "resid_post",
) -> Dictionary:
    """The dictionary whose atoms are the images W_out z of MLP features z.

    The image is ``LanguageModel.output_direction``: without the bias, past the norm after the MLP
    where the model has one; it then has a length that says nothing of z's. Directions can be
    compared with those of a dictionary trained in the residual stream, and steered along. Codes are
    another matter: the carried dictionary's are what of a row its images explain (nonnegative least
    squares), not how strongly the features were active, which only the dictionary at its own
    site knows.

    Args:
        dictionary: of any method, at an ``mlp`` site; one loaded with ``load_sae`` too.
        model: the model it was made of.
        kind: site of the same layer that the result is for.

    Returns:
        A dictionary whose provenance says under ``carried`` from where and through what.

    Raises:
        InputError: when the dictionary is not at an ``mlp`` site, or the model's is of another
            width.
    """
    own = dictionary.site
    if own.kind != "mlp":
        raise InputError(
            f"Only features of MLP neurons are carried through W_out; this dictionary is at {own}. "
            "Compare it at its own site."
        )
    atoms = model.output_direction(dictionary.atoms, own.layer).to(dictionary.atoms.device)
    return replace(
        dictionary,
        atoms=atoms,
        site=Site(own.layer, kind),
        encoder="nnls",
        encoder_weight=None,
        encoder_bias=None,
        offset=None,
        top_k=None,
        penalty=0.0,
        threshold=None,
        rectify=False,
        provenance={**dictionary.provenance, "carried": {"from": own.name, "through": "W_out"}},
    )
