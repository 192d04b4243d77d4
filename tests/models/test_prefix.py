"""Running from the middle gives the numbers of a whole pass, and says so when it cannot."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from cofire.errors import InputError
from cofire.models import Head, LanguageModel, Prefix, Steer, intervening
from cofire.site import Site
from tiny_models import FAMILIES, tiny_model

Build = Callable[[str], LanguageModel]
IDS = [1, 5, 9, 20]


def whole(model: LanguageModel, site: Site, steer: Steer, where: Tensor | None = None) -> Tensor:
    """Last logits of the model's own forward with a hook."""
    ids = torch.tensor([IDS]).repeat(len(steer.strengths), 1)
    with intervening(model, {site: steer}, where=where):
        return model.model(ids, use_cache=False).logits[:, -1]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("kind", ["mlp", "resid_pre", "resid_post"])
def test_logits_are_those_of_a_whole_pass(build: Build, name: str, kind: str) -> None:
    model = build(name)
    head = Head(model)
    for layer in range(model.n_layers):
        site = Site(layer, kind)
        prefix = Prefix(model, IDS, site)
        assert prefix.resumed
        assert prefix.reason is None
        steer = Steer(torch.randn(3, model.site_width(site)), torch.tensor([0.0, 1.0, 9.0]))
        logits = head.logits(prefix.run(steer, n_rows=3))
        torch.testing.assert_close(logits, whole(model, site, steer), rtol=1e-3, atol=1e-3)
        again = head.logits(prefix.run(n_rows=1))
        plain = model.model(torch.tensor([IDS]), use_cache=False).logits[:, -1]
        torch.testing.assert_close(again, plain.detach(), rtol=1e-3, atol=1e-3)


def test_layers_below_the_site_do_not_run_again(build: Build) -> None:
    model = build("llama")
    prefix = Prefix(model, IDS, Site(2, "mlp"))
    ran: list[str] = []
    hooks = [
        module.register_forward_hook(lambda _m, _a, _o, name=name: ran.append(name))
        for name, module in model.model.named_modules()
    ]
    try:
        prefix.run(n_rows=2)
    finally:
        for hook in hooks:
            hook.remove()
    assert "model.layers.2.mlp.down_proj" in ran
    assert not any(name.startswith(("model.layers.0.", "model.layers.1.")) for name in ran)
    assert all("forward" not in module.__dict__ for module in model.model.modules())


def test_the_first_position_can_be_left_out(build: Build) -> None:
    model, site = build("gemma3_text"), Site(1, "mlp")
    prefix = Prefix(model, IDS, site)
    steer = Steer(torch.randn(2, 48), torch.tensor([3.0, 6.0]))
    where = prefix.positions(2, 1)
    assert where is not None
    logits = Head(model).logits(prefix.run(steer, n_rows=2, where=where))
    torch.testing.assert_close(logits, whole(model, site, steer, where), rtol=1e-3, atol=1e-3)
    assert (logits - whole(model, site, steer)).abs().max() > 1e-3
    assert prefix.positions(2, 0) is None


def test_an_architecture_that_cannot_start_in_the_middle(
    tokenizer: PreTrainedTokenizerBase, caplog: pytest.LogCaptureFixture
) -> None:
    """The last layer also reads what the first one left beside the stream."""
    tiny = tiny_model("llama")
    left: list[Tensor] = []
    first, last = tiny.model.layers[0].mlp, tiny.model.layers[2].mlp
    first.register_forward_hook(lambda _m, _a, output: left.append(output))
    last.register_forward_hook(lambda _m, _a, output: output + left.pop())
    model, site = LanguageModel(tiny, tokenizer), Site(1, "mlp")
    left.clear()
    prefix = Prefix(model, IDS, site)
    assert not prefix.resumed
    assert "cannot start at layer 1" in str(prefix.reason)
    assert "runs whole for every change" in caplog.text
    steer = Steer(torch.randn(2, 48), torch.tensor([1.0, 9.0]))
    found = Head(model).logits(prefix.run(steer, n_rows=2))
    torch.testing.assert_close(found, whole(model, site, steer), rtol=1e-3, atol=1e-3)


def test_a_prompt_without_tokens(build: Build) -> None:
    with pytest.raises(InputError, match="at least one token"):
        Prefix(build("llama"), [], Site(1))


def test_length_of_the_activations(build: Build) -> None:
    model, site = build("llama"), Site(1, "mlp")
    seen: list[Tensor] = []
    handle = model.resolve(site).register(lambda tensor: seen.append(tensor))
    model.run(torch.tensor([IDS]), torch.ones(1, 4, dtype=torch.long))
    handle.remove()
    expected = seen[0][0].norm(dim=1).median()
    assert Prefix(model, IDS, site).site_length == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.model
def test_real_model(gemma: LanguageModel) -> None:
    site = Site(11, "mlp")
    ids = gemma.tokenizer("I think that")["input_ids"]
    prefix = Prefix(gemma, ids, site)
    assert prefix.resumed
    unit = torch.nn.functional.normalize(torch.randn(3, 2048), dim=1)
    steer = Steer(unit, torch.tensor([0.5, 5.0, 50.0]))
    found = Head(gemma).logits(prefix.run(steer, n_rows=3))
    with intervening(gemma, {site: steer}):
        expected = gemma.model(torch.tensor([ids]).repeat(3, 1)).logits[:, -1]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=2e-3)
