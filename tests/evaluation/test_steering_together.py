"""Several features steered at once are the sum of each of them."""

import pytest
import torch

from cofire.errors import InputError
from cofire.evaluation.kl_search import kl_divergence
from cofire.evaluation.steering import Steering
from cofire.evaluation.steering_records import SteeringCell, SteeringSettings
from cofire.evaluation.steering_together import Push, SteeringTogether
from cofire.models import Steer, TextGenerator, intervening, load_model
from cofire.site import Site

SITE = Site(1, "mlp")
PROMPT = "I think that"
SETTINGS = SteeringSettings(prompts=(PROMPT,), samples=2, new_tokens=6)


@pytest.fixture(scope="module")
def model(tiny_folder):
    return load_model(str(tiny_folder), device="cpu")


@pytest.fixture(scope="module")
def generator(model):
    return TextGenerator(model)


@pytest.fixture(scope="module")
def atoms(model):
    found = torch.randn(6, model.site_width(SITE), generator=torch.Generator().manual_seed(0))
    found[4] = 0.0
    found[5] = -3 * found[0]
    return found


@pytest.fixture
def together(model, generator, atoms):
    def make(*pushes: Push, kl: float | None = None) -> SteeringTogether:
        return SteeringTogether(model, SITE, atoms, pushes, SETTINGS, kl=kl, generator=generator)

    return make


def logits(model, vector: torch.Tensor) -> torch.Tensor:
    """Next-token logits with a vector added at every position, by the model's own forward."""
    ids = model.tokenizer(PROMPT, add_special_tokens=False)["input_ids"]
    ids = torch.tensor([[model.tokenizer.bos_token_id, *ids]])
    change = Steer(vector[None], torch.ones(1))
    with intervening(model, {SITE: change}):
        return model.model(input_ids=ids).logits[0, -1].float()


def test_the_sum_of_features_is_added(together, model, atoms):
    found = together(Push(feature=0, strength=3.0), Push(feature=2, strength=1.5, sign=-1))
    unit = torch.nn.functional.normalize(atoms, dim=1)
    length = Steering(model, SITE, atoms, SETTINGS).site_length()
    vector = length * (3.0 * unit[0] - 1.5 * unit[2])
    base, steered = logits(model, torch.zeros_like(vector)), logits(model, vector)
    assert found.kl == pytest.approx(float(kl_divergence(base, steered[None])[0]), rel=1e-3)
    assert found.strength == pytest.approx(float(vector.norm()) / length, rel=1e-5)
    before, after = torch.softmax(base, 0), torch.softmax(steered, 0)
    for chance in found.chances(5):
        assert chance.before == pytest.approx(float(before[chance.token_id]), rel=1e-3)
        assert chance.after == pytest.approx(float(after[chance.token_id]), rel=1e-3)
    for pushed, sign, strength in zip(found.pushed, (1, -1), (3.0, 1.5), strict=True):
        alone = logits(model, length * sign * strength * unit[pushed.feature])
        assert pushed.kl == pytest.approx(float(kl_divergence(base, alone[None])[0]), rel=1e-3)
        assert (pushed.strength, pushed.status) == (pytest.approx(strength), "given")


def test_a_target_of_one_feature_is_reached_by_it_alone(together):
    found = together(Push(feature=1, kl=0.02), Push(feature=3, strength=1.0))
    assert found.pushed[0].status == "found"
    assert found.pushed[0].kl == pytest.approx(0.02, rel=0.011)
    assert found.status == "given"


def test_a_target_of_all_together_keeps_their_proportion(together):
    free = together(Push(feature=1, strength=2.0), Push(feature=3, strength=1.0))
    found = together(Push(feature=1, strength=2.0), Push(feature=3, strength=1.0), kl=0.03)
    assert found.status == "found"
    assert found.kl == pytest.approx(0.03, rel=0.011)
    assert found.pushed == free.pushed
    assert found.strength != pytest.approx(free.strength)


def test_a_target_nothing_reaches_is_said_to_be_unreachable(together):
    found = together(Push(feature=1, kl=500.0))
    assert found.pushed[0].status == "unreachable"


def test_texts_stand_beside_those_of_the_model_as_it_is(together, model, generator, atoms):
    seen: list[list[str]] = []
    found = together(Push(feature=2, strength=40.0))
    texts = list(found.texts(lambda now: seen.append([text.text for text in now])))
    assert [text.cell is None for text in texts] == [True, True, False, False]
    plain = Steering(model, SITE, atoms, SETTINGS, generator=generator)
    assert [text.text for text in texts[:2]] == [text.text for text in plain.reference()]
    assert seen[-1] == [text.text for text in texts]
    assert len(seen) == max(len(text.token_ids) for text in texts)
    assert all(later.startswith(now) for now, later in zip(seen[0], seen[1], strict=True))


def test_what_a_watcher_raises_ends_the_texts_and_leaves_the_model_as_it_was(together, model):
    found = together(Push(feature=2, strength=40.0))
    before = logits(model, torch.zeros(model.site_width(SITE)))

    def stop(now: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(found.texts(stop))
    assert torch.equal(logits(model, torch.zeros(model.site_width(SITE))), before)


@pytest.mark.parametrize(
    ("pushes", "said"),
    [
        ([], "each of them once"),
        ([Push(feature=1, strength=1.0), Push(feature=1, strength=2.0)], "each of them once"),
        ([Push(feature=6, strength=1.0)], "Feature 6 does not exist: there are features 0 to 5"),
        ([Push(feature=4, strength=1.0)], "atom of feature 4 is zero"),
        ([Push(feature=0, strength=1.0), Push(feature=5, strength=1.0)], "cancel one another"),
    ],
)
def test_features_that_cannot_be_added_are_refused(together, pushes, said):
    with pytest.raises(InputError, match=said):
        together(*pushes)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "one of them"),
        ({"strength": 1.0, "kl": 1.0}, "one of them"),
        ({"strength": -1.0}, "0 or more"),
        ({"strength": float("nan")}, "0 or more"),
        ({"kl": 0.0}, "above 0"),
        ({"kl": float("inf")}, "above 0"),
    ],
)
def test_a_push_has_a_strength_or_a_target(settings, said):
    with pytest.raises(InputError, match=said):
        Push(feature=1, **settings)


def test_one_prompt_is_needed(model, generator, atoms):
    settings = SteeringSettings(prompts=("a", "b"))
    with pytest.raises(InputError, match="one prompt"):
        SteeringTogether(
            model, SITE, atoms, [Push(feature=1, strength=1.0)], settings, generator=generator
        )


def test_beside_reference_refuses_what_does_not_exist(model, generator, atoms):
    steering = Steering(model, SITE, atoms, SETTINGS, generator=generator)
    with pytest.raises(InputError, match="no cell"):
        list(steering.beside_reference(SteeringCell(9, 1, 0.1, 0, 1.0, 0.1, "found")))
