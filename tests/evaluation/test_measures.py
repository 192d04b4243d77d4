"""Every registered measure says what it is; fidelity and loss recovered against plain formulas."""

import inspect
import json

import numpy as np
import pytest
import torch

import builders
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.evaluation import measures as registry
from cofire.evaluation.fidelity import fidelity
from cofire.evaluation.health import collapsed_groups, health
from cofire.evaluation.loss_recovered import ReplacementLosses, loss_recovered
from cofire.evaluation.measurement import Estimate, Measure
from cofire.evaluation.measures import measure_named, measures
from cofire.evaluation.reconstruction import duplicate_share, row_errors, unexplained_variance


@pytest.mark.parametrize("measure", list(measures().values()), ids=list(measures()))
def test_every_measure_has_unit_direction_formula_source_and_example(measure):
    assert measure.unit
    assert measure.direction in ("higher", "lower", "neither")
    assert measure.formula
    assert measure.source
    function = inspect.unwrap(getattr(measure.function, "func", measure.function))
    assert "Example:" in function.__doc__
    assert ">>>" in function.__doc__


def test_a_measurement_is_plain_values_with_all_that_is_needed():
    data = builders.activations()
    dictionary = Dictionary(builders.atoms(), builders.SITE)
    found = measure_named("unexplained-variance")(row_errors(dictionary, data), seed=3)
    record = json.loads(json.dumps(found.record()))
    assert record["name"] == "unexplained-variance"
    assert (record["unit"], record["direction"], record["seed"]) == ("share", "lower", 3)
    assert record["n"] == len(data)
    assert record["interval"]["low"] < record["value"] < record["interval"]["high"]
    assert record["interval"]["units"] == 36  # texts


def test_unknown_measures_are_named_with_the_known_ones():
    with pytest.raises(InputError, match="'loss'; choose one of concept-detection"):
        measure_named("loss")


class PlugIn:
    """As an installed package offers it."""

    value = "elsewhere:measure"

    def __init__(self, name):
        self._name = name

    def load(self):
        return Measure(self._name, lambda x: Estimate(x, 1), "one", "higher", "x", "here")


def test_installed_packages_add_measures_but_take_no_name(monkeypatch):
    measures.cache_clear()
    monkeypatch.setattr(registry, "entry_points", lambda group: [PlugIn("depth")])
    assert measure_named("depth")(2.0).value == 2.0
    measures.cache_clear()
    monkeypatch.setattr(registry, "entry_points", lambda group: [PlugIn("stability")])
    with pytest.raises(InputError, match="'stability', but that name is taken"):
        measures()
    measures.cache_clear()


def test_row_errors_add_up_to_fidelity():
    data = builders.activations(noise=0.3)
    dictionary = Dictionary(builders.atoms(), builders.SITE, offset=torch.full((12,), 0.01))
    codes = dictionary.encode(data)
    errors = row_errors(dictionary, data)
    whole = fidelity(data, codes, dictionary.atoms, dictionary.offset)
    assert unexplained_variance(errors).value == pytest.approx(1 - whole.explained_variance)
    assert errors.active.mean() / 5 == pytest.approx(whole.code_density)
    known = row_errors(dictionary, data, codes=codes)
    np.testing.assert_allclose(known.unexplained, errors.unexplained, atol=1e-6)


def test_rows_that_do_not_vary_leave_it_missing():
    data = builders.activations()
    same = data.take(np.zeros(3, dtype=np.int64))
    found = unexplained_variance(row_errors(Dictionary(builders.atoms(), builders.SITE), same))
    assert found.value is None
    assert "do not vary" in found.note
    with pytest.raises(InputError, match="at least one row"):
        row_errors(
            Dictionary(builders.atoms(), builders.SITE), data.take(np.zeros(0, dtype=np.int64))
        )


def test_duplicates_are_drawn_with_what_they_duplicate():
    atoms = torch.eye(20, 30)
    atoms[1], atoms[3] = atoms[0], atoms[2]
    found = duplicate_share(health(atoms, torch.ones(1, 20)))
    assert found.value == 0.2
    assert found.interval.units == 18
    distinct = duplicate_share(health(torch.eye(20), torch.ones(1, 20)))
    assert (distinct.value, distinct.interval.method) == (0.0, "wilson")
    chain = collapsed_groups(np.array([1, 2, 1, 2]), np.array([True, True, False, False]))
    assert chain.tolist() == [0, 0, 0, 1]


def losses(recovered, *, texts=40, tokens=20, seed=0):
    """Tokens of one text share much of what they lose."""
    rng = np.random.default_rng(seed)
    text_id = np.repeat(np.arange(texts), tokens)
    clean = rng.exponential(2.0, texts * tokens)
    harm = rng.exponential(1.0, texts)[text_id] + rng.normal(0, 0.3, len(text_id))
    share = recovered + rng.normal(0, 0.2, texts)[text_id]
    ablated = clean + harm
    return ReplacementLosses(clean, ablated - share * harm, ablated, clean + 2 * harm, text_id)


def test_loss_recovered_is_the_ratio_of_sums_and_its_interval_draws_texts():
    data = losses(0.8)
    found = loss_recovered(data)
    clean, rebuilt = data.clean.mean(), data.reconstructed.mean()
    ablated = data.mean_ablated.mean()
    assert found.value == pytest.approx((ablated - rebuilt) / (ablated - clean))
    assert found.interval.units == 40
    held = []
    for seed in range(60):
        one = loss_recovered(losses(0.8, seed=seed), resamples=300, seed=seed)
        held.append(one.interval.low <= 0.8 <= one.interval.high)
    assert np.mean(held) >= 0.85
    assert loss_recovered(data, against="zero").value > found.value


def test_tokens_without_a_loss_are_counted_not_filled():
    data = losses(0.8)
    data.reconstructed[:20] = np.nan
    found = loss_recovered(data)
    assert (found.n, found.missing) == (780, 20)
    data.clean[:] = np.nan
    assert loss_recovered(data).value is None


def test_an_ablation_that_does_no_harm_leaves_nothing_to_recover():
    one = np.ones(4)
    harmless = ReplacementLosses(one, one, one, one, np.arange(4))
    found = loss_recovered(harmless)
    assert found.value is None
    assert "mean ablation does not raise the loss" in found.note
    ablated = np.array([3.0, 1.0, 0.2, 0.2])
    hardly = ReplacementLosses(one, one, ablated, ablated, np.arange(4))
    assert loss_recovered(hardly).value == 1.0
    assert loss_recovered(hardly).interval is None


def test_divergences_are_measured_from_the_clean_run():
    text_id = np.repeat(np.arange(5), 2)
    rng = np.random.default_rng(0)
    rebuilt, mean, zero = rng.exponential(0.1, 10), rng.exponential(1, 10), rng.exponential(3, 10)
    data = ReplacementLosses.of_divergences(rebuilt, mean, zero, text_id)
    found = measure_named("divergence-recovered-zero")(data)
    assert found.value == pytest.approx(1 - rebuilt.sum() / zero.sum())
    assert found.formula.startswith("1 - Σ KL")
