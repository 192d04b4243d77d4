"""Features of MLP neurons carried through W_out, and labelled so."""

import pytest
import torch

from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.interpret.carrying import carry_to_residual
from cofire.models import load_model
from cofire.site import Site


@pytest.fixture(scope="module")
def model(tiny_folder):
    return load_model(str(tiny_folder), device="cpu")


def test_atoms_become_their_images_and_the_result_says_so(model):
    neurons = torch.eye(2, model.d_mlp(1))
    sae = Dictionary(
        neurons,
        Site(1, "mlp"),
        encoder="topk",
        encoder_weight=neurons.T.contiguous(),
        encoder_bias=torch.ones(2),
        top_k=1,
        provenance={"method": "sae"},
    )
    carried = carry_to_residual(sae, model)
    assert carried.site == Site(1, "resid_post")
    assert torch.equal(carried.atoms, model.output_direction(neurons, 1))
    said = {"from": "blocks.1.mlp.hook_post", "through": "W_out"}
    assert carried.provenance == {"method": "sae", "carried": said}
    codes = torch.tensor([[1.0, 2.0]])
    assert torch.allclose(carried.encode(codes @ carried.atoms), codes, atol=1e-4)
    assert carry_to_residual(sae, model, kind="mlp_out").site == Site(1, "mlp_out")


def test_only_neurons_are_carried(model):
    with pytest.raises(InputError, match=r"this dictionary is at blocks\.1\.hook_resid_post"):
        carry_to_residual(Dictionary(torch.eye(2), Site(1, "resid_post")), model)
    with pytest.raises(InputError, match="channels"):
        carry_to_residual(Dictionary(torch.eye(2), Site(1, "mlp")), model)
