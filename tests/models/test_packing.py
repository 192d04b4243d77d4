"""Packed weights compute the same maps, and leave the model as it was."""

from collections.abc import Callable

import pytest
import torch

from cofire.models import LanguageModel
from cofire.models.packing import PackedLinears
from tiny_models import FAMILIES

Build = Callable[[str], LanguageModel]


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch without oneDNN")
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("rows", [1, 3, 40])
def test_the_stream_is_the_same(build: Build, name: str, rows: int) -> None:
    model = build(name)
    ids = torch.arange(4 * rows).view(rows, 4) % 300
    mask = torch.ones_like(ids)
    plain = model.run(ids, mask)[0]
    seen: list[torch.Tensor] = []
    packed = PackedLinears(model.trunk)
    handle = model.model.get_submodule(FAMILIES[name].blocks)[1].register_forward_hook(
        lambda _module, _args, _output: seen.append(ids)
    )
    with packed.used():
        fast = model.run(ids, mask)[0]
    handle.remove()
    torch.testing.assert_close(fast, plain, rtol=1e-3, atol=1e-3)
    assert len(seen) == 1
    assert all("forward" not in module.__dict__ for module in model.model.modules())
    assert torch.equal(model.run(ids, mask)[0], plain)


def test_only_plain_maps_in_float32_are_packed(build: Build) -> None:
    assert PackedLinears.where_faster(build("gpt2").trunk) is None  # its maps are convolutions
    half = torch.nn.Sequential(torch.nn.Linear(8, 8).bfloat16())
    assert PackedLinears.where_faster(half) is None
