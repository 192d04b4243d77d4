"""The steering job: cells, halves, nulls, going on, judging."""

import math
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from cofire.corpus import Corpus, Text
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.evaluation.described import DescribedFeature, describe_features, promoted_tokens
from cofire.evaluation.judging import Continuation, Judgement
from cofire.evaluation.steered import SteeredFeature, SteeredText, effect_target
from cofire.evaluation.steering_records import SteeringSettings
from cofire.jobs.judges import offline_judge, unsteered_fluency
from cofire.jobs.steering import judge_steered, permuted_atom, steer_dictionary
from cofire.models import LanguageModel, SamplingSettings
from cofire.site import Site
from cofire.store.steering_tables import steered_features, steering_tables
from tiny_models import tiny_model, train_tokenizer

SETTINGS = SteeringSettings(
    prompts=("I think that", "Rain falls on"),
    targets=(0.05, 0.2, 1e6),
    samples=4,
    new_tokens=5,
    sampling=SamplingSettings(top_k=30, top_p=0.9),
)


class CountingJudge:
    """Rates a text by its letters, which is a judge like any other; blank texts are missing."""

    name = "letters"

    def __init__(self) -> None:
        self.asked: list[Continuation] = []

    def judge(self, continuations: list[Continuation]) -> list[Judgement]:
        self.asked += continuations
        return [
            Judgement(None, None, ("blank",))
            if not one.text.strip()
            else Judgement(2.0 * one.text.count("a") / len(one.text), 2.0)
            for one in continuations
        ]


def texts_of(feature: SteeredFeature) -> list[SteeredText]:
    return [text for cell in feature.cells for text in cell.texts]


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    tokenizer = train_tokenizer(["I think that rain falls on the station at noon.", "Rain."])
    return LanguageModel(tiny_model("llama"), tokenizer, name="tiny")


@pytest.fixture(scope="module")
def dictionary() -> Dictionary:
    atoms = torch.randn(12, 48, generator=torch.Generator().manual_seed(0))
    atoms[5] = 0
    return Dictionary(atoms, Site(1, "mlp"))


@pytest.fixture(scope="module")
def described(model: LanguageModel, dictionary: Dictionary) -> list[DescribedFeature]:
    tokens = promoted_tokens(model, dictionary, n=4)
    return [DescribedFeature(i, f"label {i}", promoted=tokens[i]) for i in range(12)]


@pytest.fixture(scope="module")
def steered(
    model: LanguageModel, dictionary: Dictionary, described: list[DescribedFeature]
) -> tuple[SteeredFeature, ...]:
    found = steer_dictionary(model, dictionary, described, settings=SETTINGS)
    assert found.judge is None
    return found.features


def test_every_cell_is_there(steered: tuple[SteeredFeature, ...]) -> None:
    assert [one.feature for one in steered] == list(range(12))
    for one in steered:
        assert len(one.cells) == 2 * 3 * 2
        for cell in one.cells:
            assert len(cell.texts) == (4 if cell.cell.status == "found" else 0)
            assert all(
                text.log_likelihood is None or text.log_likelihood < 0 for text in cell.texts
            )
        assert all(
            cell.cell.status == "unreachable" for cell in one.cells if cell.cell.target_kl == 1e6
        )
        assert one.unreached >= 4
        assert one.choice is None
        assert one.missing == one.n_texts
    dead = steered[5]
    assert dead.n_texts == 0
    assert dead.unreached == 12


def test_effects_stand_beside_those_of_shuffled_neurons(
    model: LanguageModel, dictionary: Dictionary, described: list[DescribedFeature]
) -> None:
    found = steer_dictionary(
        model, dictionary, described[:3], settings=SETTINGS, controls=3, log_likelihoods=False
    )
    assert effect_target(SETTINGS) == 0.2
    effects = found.effects(12)
    assert len(effects.effects) == 12
    assert len(effects.null) == 9
    assert all(value is not None for value in effects.effects[:3])
    assert set(effects.effects[3:]) == {None}
    cells = [one for one in found.features[1].cells if one.cell.target_kl == 0.2]
    by_hand = [c.cell.sign * c.promotion.logit_shift for c in cells if c.promotion is not None]
    assert effects.effects[1] == pytest.approx(math.fsum(by_hand) / 4)
    assert {text.log_likelihood for c in cells for text in c.texts} == {None}


def test_null_directions_keep_values_and_seed(dictionary: Dictionary) -> None:
    atom = dictionary.atoms[2]
    rows = permuted_atom(atom, count=3, seed=0, feature=2)
    assert torch.equal(rows.sort(dim=1).values, atom.sort().values.expand(3, -1))
    assert torch.equal(rows, permuted_atom(atom, count=3, seed=0, feature=2))
    assert not torch.equal(rows[0], rows[1])
    assert not torch.equal(rows, permuted_atom(atom, count=3, seed=1, feature=2))


def test_one_half_chooses_and_the_other_scores(
    model: LanguageModel,
    dictionary: Dictionary,
    described: list[DescribedFeature],
    steered: tuple[SteeredFeature, ...],
) -> None:
    judge = CountingJudge()
    found = steer_dictionary(model, dictionary, described, judge, settings=SETTINGS, done=steered)
    assert found.judge == "letters"
    assert len(judge.asked) == sum(one.n_texts for one in steered)
    assert not any(one.text.startswith(SETTINGS.prompts) for one in judge.asked)
    assert found.features[5].score is None
    judged = [one for one in found.features if one.choice is not None]
    assert len(judged) >= 10
    for one in judged:
        halves: dict[tuple[int, float], tuple[list[float], list[float]]] = {}
        for cell in one.cells:
            for text in cell.texts:
                place = halves.setdefault((cell.cell.sign, cell.cell.target_kl), ([], []))
                if text.score is not None:
                    place[text.sample % 2].append(text.score)
        means = {key: sum(even) / len(even) for key, (even, _) in halves.items() if even}
        choice = one.choice
        assert choice is not None
        assert choice.chosen_by == pytest.approx(max(means.values()))
        other = halves[choice.sign, choice.target_kl][1]
        assert choice.scored + choice.missing == 4
        assert choice.scored == len(other)
        assert choice.score == pytest.approx(sum(other) / len(other))
        whole = [even + odd for even, odd in halves.values() if even + odd]
        assert one.best == pytest.approx(max(sum(w) / len(w) for w in whole))
    mean = sum(one.best - one.score for one in judged if one.score is not None) / len(judged)
    assert mean > 0


def test_going_on_gives_the_same(
    model: LanguageModel,
    dictionary: Dictionary,
    described: list[DescribedFeature],
    steered: tuple[SteeredFeature, ...],
) -> None:
    kept: list[SteeredFeature] = []

    def stop(one: SteeredFeature) -> None:
        kept.append(one)
        if len(kept) == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        steer_dictionary(model, dictionary, described, settings=SETTINGS, on_feature=stop)
    again: list[SteeredFeature] = []
    found = steer_dictionary(
        model, dictionary, described, settings=SETTINGS, done=kept, on_feature=again.append
    )
    assert [one.feature for one in again] == [8, 9, 10, 11]
    for one, other in zip(found.features, steered, strict=True):
        pairs = zip(texts_of(one), texts_of(other), strict=True)
        for mine, theirs in pairs:
            assert (mine.text, mine.seed) == (theirs.text, theirs.seed)
            if theirs.log_likelihood is None:  # no token to predict
                assert mine.log_likelihood is None
            else:
                assert mine.log_likelihood == pytest.approx(theirs.log_likelihood, rel=1e-5)
        assert one.shift(0.2) == pytest.approx(other.shift(0.2), rel=1e-5, abs=1e-6)


def test_judging_again_replaces_judgements(
    model: LanguageModel, dictionary: Dictionary, described: list[DescribedFeature]
) -> None:
    found = steer_dictionary(
        model, dictionary, described[:1], CountingJudge(), settings=SETTINGS, controls=0
    )
    assert found.features[0].controls == ()
    assert judge_steered(found, CountingJudge()) == found


def test_tables_lose_nothing(
    model: LanguageModel,
    dictionary: Dictionary,
    described: list[DescribedFeature],
    steered: tuple[SteeredFeature, ...],
    tmp_path: Path,
) -> None:
    judged = steer_dictionary(
        model, dictionary, described, CountingJudge(), settings=SETTINGS, done=steered
    ).features
    unlabelled = SteeredFeature(DescribedFeature(11, "no tokens"), judged[11].cells[:1])
    for features in (steered, judged, (unlabelled,), ()):
        tables = steering_tables(features)
        for name, table in tables.items():
            pq.write_table(table, tmp_path / name)
        assert (
            steered_features({name: pq.read_table(tmp_path / name) for name in tables}) == features
        )


def test_bad_input(
    model: LanguageModel, dictionary: Dictionary, described: list[DescribedFeature]
) -> None:
    with pytest.raises(InputError, match="from 0 to 11, each once; 12 does not exist"):
        steer_dictionary(model, dictionary, [DescribedFeature(12, "x")], settings=SETTINGS)
    with pytest.raises(InputError, match="one is given twice"):
        steer_dictionary(model, dictionary, described[:1] * 2, settings=SETTINGS)
    with pytest.raises(InputError, match="at least 2 samples"):
        steer_dictionary(
            model, dictionary, described, CountingJudge(), settings=replace(SETTINGS, samples=1)
        )
    with pytest.raises(InputError, match="input or output"):
        describe_features([], kind="both")
    with pytest.raises(InputError, match="one label a feature"):
        describe_features([], labels=["a"])


def test_the_offline_judge_falls_back_on_the_bundled_sentences(
    model: LanguageModel, caplog: pytest.LogCaptureFixture
) -> None:
    corpus = Corpus([Text("rain falls on the station", None)] * 4)
    settings = replace(SETTINGS, sampling=SamplingSettings(top_k=None, top_p=None))
    with caplog.at_level("WARNING"):
        judge = offline_judge(model, Site(1, "mlp"), settings, corpus)
    assert "judged by the bundled sentences" in caplog.text
    assert judge.concepts.concept_of("weekday: monday") == "weekday"
    assert judge.fluency is not None
    assert judge.fluency.generations >= 40  # those that are not blank


def test_continuations_that_are_alike_give_no_scale(model: LanguageModel) -> None:
    settings = replace(SETTINGS, sampling=SamplingSettings(temperature=0.0))
    with pytest.raises(InputError, match="sample them with a temperature"):
        unsteered_fluency(model, Site(1, "mlp"), replace(settings, prompts=("I think that",)))
