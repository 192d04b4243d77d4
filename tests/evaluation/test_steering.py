"""Steering a tiny model: matched cells, continuations, and what is left of a broken direction."""

import math
from dataclasses import replace

import pytest
import torch

from cofire.errors import InputError
from cofire.evaluation.kl_search import kl_divergence
from cofire.evaluation.promotion import (
    kl_efficiency,
    log_probability_change,
    logit_shift,
    measure_promotion,
)
from cofire.evaluation.steering import Steering
from cofire.evaluation.steering_records import (
    EXTRA_PROMPTS,
    PUBLISHED_TARGETS,
    CellKey,
    SteeringCell,
    SteeringSettings,
    plan_cells,
    sample_seed,
)
from cofire.models import LanguageModel, SamplingSettings, Steer, intervening, load_model
from cofire.site import Site
from tiny_models import tiny_model, train_tokenizer

SITE = Site(1, "mlp")
SETTINGS = SteeringSettings(
    prompts=("I think that", "Rain falls on"),
    samples=3,
    new_tokens=6,
    sampling=SamplingSettings(top_k=30, top_p=0.9),
)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    tokenizer = train_tokenizer(["I think that rain falls on the station at noon.", "Rain."])
    return LanguageModel(tiny_model("llama"), tokenizer, name="tiny")


@pytest.fixture(scope="module")
def directions() -> torch.Tensor:
    return torch.randn(4, 48, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def steering(model: LanguageModel, directions: torch.Tensor) -> Steering:
    return Steering(model, SITE, directions, SETTINGS)


@pytest.fixture(scope="module")
def cells(steering: Steering) -> list[SteeringCell]:
    return list(steering.match(plan_cells(range(4), SETTINGS)))


def prompt_ids(model: LanguageModel, prompt: str) -> torch.Tensor:
    tokens = model.tokenizer(prompt, add_special_tokens=False)["input_ids"]
    return torch.tensor([[model.tokenizer.bos_token_id, *tokens]])


def test_cells_reach_their_target(
    model: LanguageModel, directions: torch.Tensor, cells: list[SteeringCell]
) -> None:
    assert len(cells) == 4 * 2 * 7 * 2
    assert {cell.key for cell in cells} == set(plan_cells(range(4), SETTINGS))
    found = [cell for cell in cells if cell.status == "found"]
    assert len(found) > len(cells) // 2
    for cell in found[::9]:
        ids = prompt_ids(model, SETTINGS.prompts[cell.prompt])
        unit = directions[cell.feature] / directions[cell.feature].norm()
        steer = Steer(cell.sign * unit[None], torch.tensor([cell.alpha]))
        with intervening(model, {SITE: steer}):
            steered = model.model(ids, use_cache=False).logits[:, -1]
        base = model.model(ids).logits[0, -1].detach()
        kl = float(kl_divergence(base, steered)[0])
        assert kl == pytest.approx(cell.reached_kl, rel=1e-3, abs=1e-5)
        assert kl == pytest.approx(cell.target_kl, rel=0.02)
    assert all(cell.alpha > 0 for cell in cells)


def test_each_sign_is_matched_on_its_own(cells: list[SteeringCell]) -> None:
    by_key = {cell.key: cell for cell in cells}
    differ = [
        abs(cell.alpha - by_key[replace(cell.key, sign=-1)].alpha) > 0.02 * cell.alpha
        for cell in cells
        if cell.sign == 1
    ]
    assert any(differ)


def test_one_strength_for_both_signs_as_published(
    model: LanguageModel, directions: torch.Tensor, cells: list[SteeringCell]
) -> None:
    settings = replace(SETTINGS, shared_strength=True, targets=(0.05, 0.5))
    steering = Steering(model, SITE, directions, settings)
    found = {cell.key: cell for cell in steering.match(plan_cells(range(2), settings))}
    own = {cell.key: cell for cell in cells}
    assert len(found) == 16
    for key, cell in found.items():
        plus = found[replace(key, sign=1)]
        assert cell.alpha == plus.alpha == pytest.approx(own[plus.key].alpha, rel=1e-3)
        assert cell.status == plus.status
    minus = [cell for cell in found.values() if cell.sign == -1]
    assert any(abs(cell.reached_kl - cell.target_kl) > 0.02 * cell.target_kl for cell in minus)


def test_what_cannot_be_reached_is_recorded(
    model: LanguageModel, directions: torch.Tensor, steering: Steering
) -> None:
    far = [CellKey(0, 1, 0.05), CellKey(0, 1, 1e6)]
    near, beyond = steering.match(far)
    assert near.status == "found"
    assert beyond.status == "unreachable"
    assert near.reached_kl < beyond.reached_kl < 1e6
    dead = directions.clone()
    dead[2] = 0
    found = list(Steering(model, SITE, dead, SETTINGS).match(plan_cells([2], SETTINGS)))
    assert {(cell.status, cell.alpha, cell.reached_kl) for cell in found} == {
        ("unreachable", 0.0, 0.0)
    }


def test_cells_do_not_depend_on_one_another(steering: Steering, cells: list[SteeringCell]) -> None:
    for cell in cells[::13]:
        alone = next(steering.match([cell.key]))
        assert alone.status == cell.status
        assert alone.alpha == pytest.approx(cell.alpha, rel=1e-3)


def test_continuations(steering: Steering, cells: list[SteeringCell], model: LanguageModel) -> None:
    chosen = [cells[3], cells[40], cells[80]]
    found = list(steering.generate(chosen))
    assert [(one.cell, one.sample) for one in found] == [(c, s) for c in chosen for s in range(3)]
    for one in found:
        assert one.cell is not None
        assert one.prompt == one.cell.prompt
        assert len(one.token_ids) == 6 or one.ended
        prompt = SETTINGS.prompts[one.prompt]
        ids = prompt_ids(model, prompt)[0].tolist()
        whole = model.tokenizer.decode([*ids, *one.token_ids], skip_special_tokens=True)
        assert prompt + one.text == whole
        assert one.seed == sample_seed(0, prompt, one.cell.key, one.sample)
    alone = [one for cell in reversed(chosen) for one in steering.generate([cell])]
    assert sorted(alone, key=lambda one: one.seed) == sorted(found, key=lambda one: one.seed)
    small = Steering(model, SITE, steering._unit, replace(SETTINGS, batch_rows=3))
    assert [one.text for one in small.generate(chosen)] == [one.text for one in found]
    other = Steering(model, SITE, steering._unit, replace(SETTINGS, seed=1))
    assert [one.text for one in other.generate(chosen)] != [one.text for one in found]


def test_results_come_as_they_are_made(model: LanguageModel, directions: torch.Tensor) -> None:
    steering = Steering(model, SITE, directions, replace(SETTINGS, batch_rows=3))
    passes: list[int] = []
    handle = model.resolve(SITE).register(lambda tensor: passes.append(tensor.shape[0]))
    try:
        cell = SteeringCell(0, 1, 0.1, 0, 1.0, 0.1, "found")
        texts = steering.generate([cell, replace(cell, feature=1)])
        next(texts)
        first = len(passes)
        list(texts)
    finally:
        handle.remove()
    assert 0 < first <= 6 < len(passes)


def test_unsteered_continuations(steering: Steering, directions: torch.Tensor) -> None:
    found = list(steering.reference(1, samples=5))
    assert [one.cell for one in found] == [None] * 5
    zero = SteeringCell(0, 1, 0.1, 1, 0.0, 0.0, "unreachable")
    assert len(list(steering.generate([zero]))) == 3
    assert found == list(steering.reference(1, samples=5))


def test_the_first_token_can_be_spared(
    model: LanguageModel, directions: torch.Tensor, cells: list[SteeringCell]
) -> None:
    spared = Steering(model, SITE, directions, replace(SETTINGS, steer_bos=False))
    cell = next(spared.match([cells[0].key]))
    assert cell.status == "found"
    assert cell.alpha != pytest.approx(cells[0].alpha, rel=1e-3)
    ids = prompt_ids(model, SETTINGS.prompts[0])
    unit = directions[cell.feature] / directions[cell.feature].norm()
    steer = Steer(cell.sign * unit[None], torch.tensor([cell.alpha]))
    where = torch.arange(ids.shape[1])[None] > 0
    with intervening(model, {SITE: steer}, where=where):
        steered = model.model(ids, use_cache=False).logits[:, -1]
    kl = float(kl_divergence(model.model(ids).logits[0, -1].detach(), steered)[0])
    assert kl == pytest.approx(cell.reached_kl, rel=1e-2)


def test_promotion_is_measured_at_the_cells(
    steering: Steering, cells: list[SteeringCell], model: LanguageModel
) -> None:
    tokens = {feature: [10 + feature, 50, 100] for feature in range(4)}
    measured = list(measure_promotion(steering, cells, tokens))
    assert [one.cell for one in measured] == cells
    for one in measured[::17]:
        logits = next(steering.logits([one.cell]))[1]
        base = steering.base_logits(one.cell.prompt)
        ids = tokens[one.cell.feature]
        assert one.n_tokens == 3
        assert one.logit_shift == pytest.approx(logit_shift(base, logits, ids), abs=1e-3)
        change = log_probability_change(base, logits, ids)
        assert one.log_probability_change == pytest.approx(change, abs=1e-3)
        expected = kl_efficiency(change, one.cell.reached_kl, one.cell.sign)
        assert one.kl_efficiency == pytest.approx(expected, rel=1e-2, abs=0.05)


def test_measures_by_hand() -> None:
    base = torch.tensor([1.0, 2.0, 3.0, 4.0])
    steered = base + torch.tensor([4.0, 2.0, 0.0, -2.0])
    assert logit_shift(base, steered, [0, 1]) == pytest.approx(3 - 1)
    assert logit_shift(base, steered + 7, [0, 1]) == pytest.approx(3 - 1)
    half, most = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.75, 0.25]).log()
    assert log_probability_change(half, most, [0, 1]) == pytest.approx(
        (math.log(1.5) + math.log(0.5)) / 2
    )
    assert kl_efficiency(0.3, 0.1) == pytest.approx(3.0)
    assert kl_efficiency(0.3, 0.0) is None
    with pytest.raises(InputError, match="at least one, from 0 to 3"):
        logit_shift(base, steered, [4])
    with pytest.raises(InputError, match="at least one"):
        logit_shift(base, steered, [])


def test_bad_input(model: LanguageModel, directions: torch.Tensor, steering: Steering) -> None:
    with pytest.raises(InputError, match="finite numbers of 48 channels"):
        Steering(model, SITE, torch.ones(2, 32))
    with pytest.raises(InputError, match="finite"):
        Steering(model, SITE, torch.full((2, 48), torch.nan))
    with pytest.raises(InputError, match="at most 64"):
        Steering(model, SITE, directions, SteeringSettings(new_tokens=64))
    with pytest.raises(InputError, match="There is no cell"):
        list(steering.match([CellKey(9, 1, 0.1)]))
    with pytest.raises(InputError, match="There is no cell"):
        list(steering.match([CellKey(0, 1, 0.1, prompt=2)]))
    cell = SteeringCell(0, 1, 0.1, 0, 1.0, 0.1, "found")
    with pytest.raises(InputError, match="No promoted tokens were given for feature 0"):
        list(measure_promotion(steering, [cell], {0: []}))
    with pytest.raises(InputError, match="samples must be at least 1"):
        SteeringSettings(samples=0)
    with pytest.raises(InputError, match="at least one prompt"):
        SteeringSettings(prompts=())
    for target in (0.0, -0.1, math.inf, math.nan):
        with pytest.raises(InputError, match="finite KL divergences above 0"):
            SteeringSettings(targets=(0.1, target))


def test_what_is_named_twice_does_not_count_twice() -> None:
    for repeated in ({"targets": (0.1, 0.1)}, {"prompts": ("a", "a")}, {"signs": (1, 1)}):
        with pytest.raises(InputError, match="twice; give every value once"):
            SteeringSettings(**repeated)


def test_published_defaults() -> None:
    settings = SteeringSettings()
    assert settings.prompts == ("I think that",)
    assert settings.targets == PUBLISHED_TARGETS
    assert (settings.samples, settings.new_tokens) == (8, 50)
    assert (settings.sampling.top_k, settings.sampling.top_p) == (30, 0.3)
    assert len(plan_cells([0], settings)) == 14
    assert len(plan_cells([0], SteeringSettings(prompts=EXTRA_PROMPTS))) == 14 * len(EXTRA_PROMPTS)


@pytest.mark.model
def test_real_model() -> None:
    gemma = load_model("gemma-3-270m", device="cpu")
    directions = torch.randn(1, 2048, generator=torch.Generator().manual_seed(0))
    settings = SteeringSettings(targets=(0.05, 0.5), samples=2, new_tokens=4)
    steering = Steering(gemma, Site(11, "mlp"), directions, settings)
    assert steering.resumed
    assert steering.cached
    cells = list(steering.match(plan_cells([0], settings)))
    assert [cell.status for cell in cells] == ["found"] * 4
    texts = list(steering.generate(cells))
    assert len(texts) == 8
    assert all(not one.text.startswith("I think that") for one in texts)
