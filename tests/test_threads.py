"""Tiles side by side: the same results as one after the other, errors passed on."""

import pytest
import torch

import cofire.threads
from cofire.nnls import nonnegative_codes
from cofire.threads import side_by_side, workers_for


@pytest.fixture
def two_threads(monkeypatch):
    monkeypatch.setattr(cofire.threads, "SMALL_WORK", 0.0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_codes_do_not_hang_on_the_number_of_threads(two_threads):
    random = torch.Generator().manual_seed(0)
    atoms = torch.randn(12, 40, generator=random)
    rows = torch.rand(900, 12, generator=random) @ atoms
    assert workers_for(torch.device("cpu")) == 2
    found = nonnegative_codes(rows, atoms, batch_rows=64)
    torch.set_num_threads(1)
    torch.testing.assert_close(found, nonnegative_codes(rows, atoms, batch_rows=64))


def test_every_tile_is_done_by_the_worker_of_its_number(two_threads):
    seen: dict[int, int] = {}
    side_by_side(lambda worker, tile: seen.update({tile: worker}), range(7), workers=2)
    assert seen == {tile: tile % 2 for tile in range(7)}
    assert torch.get_num_threads() == 2


def test_an_error_in_a_tile_is_raised(two_threads):
    def fail(worker: int, tile: int) -> None:
        if tile == 3:
            raise ValueError("tile 3")

    with pytest.raises(ValueError, match="tile 3"):
        side_by_side(fail, range(5), workers=2)
    assert torch.get_num_threads() == 2
