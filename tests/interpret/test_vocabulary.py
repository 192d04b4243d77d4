"""Promoted and demoted tokens are tokens that a text can hold."""

import torch

from cofire.interpret.vocabulary import project_on_vocabulary
from cofire.models import load_model


def test_padded_rows_of_the_vocabulary_are_no_tokens(tiny_folder, tmp_path):
    model = load_model(str(tiny_folder), device="cpu")
    known = len(model.tokenizer)
    model.model.resize_token_embeddings(known + 64)
    with torch.no_grad():  # padding that would come first at one end or the other
        weight = model.model.get_output_embeddings().weight
        weight[known:] = 100 * weight[:64].sign()
    atoms = torch.randn(3, model.d_mlp(0))
    for found in project_on_vocabulary(model, atoms, 0, n=known):
        ids = {token.token_id for token in (*found.promoted, *found.demoted)}
        assert max(ids) < known
        assert not ids & set(model.tokenizer.all_special_ids)
        assert len(found.promoted) == len(found.demoted) == len(ids)
