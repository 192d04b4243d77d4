"""Changes at sites, checked against hooks written by hand at literal module names."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.models import (
    Ablate,
    Clamp,
    Intervention,
    LanguageModel,
    Reconstruct,
    Steer,
    intervening,
)
from cofire.site import Site
from tiny_models import FAMILIES, Family, hooks, literal

Build = Callable[[str], LanguageModel]
IDS = torch.tensor([[1, 5, 9, 20, 33]]).repeat(3, 1)


@contextmanager
def by_hand(module: nn.Module, side: str, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Replace what a module reads or returns by the plainest possible hook."""

    def shaped(tensor: Tensor) -> Tensor:
        return change(tensor.reshape(*IDS.shape, -1)).reshape(tensor.shape)

    if side == "input":
        handle = module.register_forward_pre_hook(
            lambda _module, args: (shaped(args[0]), *args[1:])
        )
    else:
        handle = module.register_forward_hook(lambda _module, _args, output: shaped(output))
    try:
        yield
    finally:
        handle.remove()


def place(family: Family, site: Site) -> tuple[str, str]:
    """Name within the block, and side, of a site."""
    match site.kind:
        case "mlp":
            return family.mlp, "input"
        case "attn":
            return family.attn, "input"
        case _:
            return family.added, "output"


def logits(model: LanguageModel) -> Tensor:
    with torch.no_grad():
        return model.model(IDS, use_cache=False).logits


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("kind", ["mlp", "mlp_out", "attn"])
def test_each_row_is_steered_by_its_own_direction(build: Build, name: str, kind: str) -> None:
    model, family, site = build(name), FAMILIES[name], Site(1, kind)
    if kind == "attn" and not family.attn:
        pytest.skip("no attention projection")
    directions = torch.randn(3, model.site_width(site), generator=torch.Generator().manual_seed(0))
    strengths = torch.tensor([0.0, 2.0, -3.0])
    with intervening(model, {site: Steer(directions, strengths)}):
        steered = logits(model)
    factor = family.factor if kind == "mlp_out" else 1.0
    added = (strengths[:, None] * directions / factor)[:, None]
    name_inside, side = place(family, site)
    with by_hand(literal(model.model, family, 1, name_inside), side, lambda x: x + added):
        expected = logits(model)
    torch.testing.assert_close(steered, expected, rtol=1e-4, atol=1e-4)
    plain = logits(model)
    torch.testing.assert_close(steered[0], plain[0], rtol=1e-4, atol=1e-4)
    assert (steered[1] - plain[1]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "opt", "falcon", "bloom"])
def test_the_stream_after_a_layer_is_the_stream_before_the_next(build: Build, name: str) -> None:
    model = build(name)
    steer = Steer(torch.randn(3, 32), torch.tensor([1.0, 2.0, 5.0]))
    with intervening(model, {Site(0, "resid_post"): steer}):
        after = logits(model)
    with intervening(model, {Site(1, "resid_pre"): steer}):
        before = logits(model)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
    assert (after - logits(model)).abs().max() > 1e-3


def seen_after(model: LanguageModel, site: Site, intervention: Intervention) -> Tensor:
    """Activations at the site as the rest of the model reads them."""
    seen: list[Tensor] = []
    with intervening(model, {site: intervention}):
        handle = model.resolve(site).register(lambda tensor: seen.append(tensor.clone()))
        try:
            logits(model)
        finally:
            handle.remove()
    return seen[0].view(*IDS.shape, -1)


def test_what_each_kind_of_intervention_leaves(build: Build) -> None:
    model, site = build("llama"), Site(1, "mlp")
    plain = seen_after(model, site, Steer(torch.zeros(3, 48), torch.zeros(3)))
    directions, values = torch.randn(3, 48), torch.tensor([0.0, 2.0, -1.0])
    clamped = seen_after(model, site, Clamp(directions, values))
    unit = directions / directions.norm(dim=1, keepdim=True)
    component = torch.einsum("bpc,bc->bp", clamped, unit)
    torch.testing.assert_close(component, values[:, None].expand(3, 5), rtol=1e-4, atol=1e-4)
    rest = clamped - component[..., None] * unit[:, None]
    old = torch.einsum("bpc,bc->bp", plain, unit)
    torch.testing.assert_close(rest, plain - old[..., None] * unit[:, None], rtol=1e-4, atol=1e-4)
    assert not seen_after(model, site, Ablate()).any()
    mean = torch.randn(48)
    torch.testing.assert_close(seen_after(model, site, Ablate(mean)), mean.expand(3, 5, 48))
    dictionary = Dictionary(torch.randn(4, 48), site)
    rows = plain.flatten(0, 1)
    expected = dictionary.decode(dictionary.encode(rows)).view_as(plain)
    rebuilt = seen_after(model, site, Reconstruct(dictionary))
    torch.testing.assert_close(rebuilt, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["llama", "opt"])
def test_only_the_positions_asked_for_change(build: Build, name: str) -> None:
    model, site = build(name), Site(1, "mlp")
    where = torch.zeros(3, 5, dtype=torch.bool)
    where[0, 2:] = True
    plain = logits(model)
    with intervening(model, {site: Steer(torch.randn(3, 48), torch.full((3,), 4.0))}, where=where):
        steered = logits(model)
    torch.testing.assert_close(steered[1:], plain[1:], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(steered[0, :2], plain[0, :2], rtol=1e-4, atol=1e-4)
    assert (steered[0, 2] - plain[0, 2]).abs().max() > 1e-3


def test_rows_can_be_taken(build: Build) -> None:
    model, site = build("gpt2"), Site(1, "mlp")
    steer = Steer(torch.randn(2, 48), torch.tensor([3.0, -3.0]))
    with intervening(model, {site: steer.take(torch.tensor([1, 0, 1]))}):
        taken = logits(model)
    torch.testing.assert_close(taken[0], taken[2], rtol=1e-4, atol=1e-4)
    assert (taken[0] - taken[1]).abs().max() > 1e-3
    clamp = Clamp(torch.eye(3, 48), torch.tensor([1.0, 2.0, 3.0]))
    assert clamp.take(torch.tensor([2, 2])).values.tolist() == [3.0, 3.0]


def test_nothing_stays_behind_and_gradients_are_off(build: Build) -> None:
    model, site = build("llama"), Site(1, "mlp")
    before = hooks(model.model)
    with intervening(model, {site: Ablate()}):
        assert not model.model(IDS).logits.requires_grad
    assert model.model(IDS).logits.requires_grad
    assert hooks(model.model) == before


@pytest.mark.parametrize(
    ("intervention", "where", "message"),
    [
        (Steer(torch.ones(2, 48), torch.ones(2)), None, r"this batch needs \(3, 48\)"),
        (Steer(torch.ones(3, 32), torch.ones(3)), None, r"this batch needs \(3, 48\)"),
        (Ablate(torch.ones(32)), None, "has 32 channels; the site has 48"),
        (Ablate(), torch.ones(3, 4, dtype=torch.bool), "3 rows of 5 positions"),
    ],
)
def test_shapes_that_do_not_fit(
    build: Build, intervention: Intervention, where: Tensor | None, message: str
) -> None:
    model = build("llama")
    with (
        pytest.raises(InputError, match=message),
        intervening(model, {Site(1, "mlp"): intervention}, where=where),
    ):
        logits(model)


def test_clamping_along_nothing() -> None:
    with pytest.raises(InputError, match="length zero"):
        Clamp(torch.zeros(1, 4), torch.ones(1))
