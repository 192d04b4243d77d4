"""Labels of a language model and steering results in the report."""

from pathlib import Path

import pytest
from playwright.sync_api import expect
from visiting import Visit

from cofire.evaluation.described import DescribedFeature
from cofire.evaluation.judging import Judgement
from cofire.evaluation.steered import Steered, SteeredCell, SteeredFeature, SteeredText
from cofire.evaluation.steering_records import Promotion, SteeringCell, SteeringSettings
from cofire.interpret.llm_labels import FeatureLabel
from cofire.report import write_report
from cofire.store import Run
from cofire.store.label_table import read_labels, write_labels
from cofire.store.steering_results import read_steering, write_steering
from sample_run import make_run

HOSTILE = "<script>alert(1)</script> rain \x1b[31m"


def cell(feature: int, target: float, shift: float, scores: list[float | None]) -> SteeredCell:
    found = SteeringCell(feature, 1, target, 0, 2.0, target, "found" if scores else "unreachable")
    texts = [
        SteeredText(
            i,
            f"text {i} {HOSTILE}",
            False,
            i,
            -2.0,
            Judgement(score, score, () if score else ("?",)),
        )
        for i, score in enumerate(scores)
    ]
    return SteeredCell(found, Promotion(found, 3, shift, shift / 2, 1.0), tuple(texts))


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = make_run(tmp_path_factory.mktemp("judged") / "run", layers=(2,))
    site = run.sites[0]
    settings = SteeringSettings(targets=(0.1, 0.2), signs=(1,), samples=4)
    features = (
        SteeredFeature(
            DescribedFeature(0, "rain", promoted=(5, 6)),
            (cell(0, 0.1, 1.0, [0.5, 0.5, 0.5, 0.5]), cell(0, 0.2, 3.0, [1.0, 0.5, 1.0, None])),
            (cell(0, 0.2, 0.25, []),),
        ),
        SteeredFeature(
            DescribedFeature(3, "frost", promoted=(7,)),
            (cell(3, 0.1, 0.0, [0.0, 0.0, 0.0, 0.0]), cell(3, 0.2, 0.1, [])),
            (cell(0, 0.2, 0.2, []),),
        ),
    )
    write_steering(run, site, Steered(site.name, settings, "letters", features))
    write_labels(
        run,
        site,
        [
            FeatureLabel(0, "input", f"words of weather {HOSTILE}", None, "?", "!"),
            FeatureLabel(0, "output", None, "The answer holds no label.", "?", ""),
        ],
        model="m",
    )
    return Run.open(run.path)


def test_results_are_read_back_as_they_were(judged: Run) -> None:
    found = read_steering(judged, judged.sites[0])
    assert found is not None
    steered, further = found
    assert further == {}
    first, second = steered.features
    choice = first.choice
    assert choice is not None
    assert (choice.target_kl, choice.chosen_by, choice.score) == (0.2, 1.0, 0.5)
    assert (choice.scored, choice.missing) == (1, 1)
    assert first.best == pytest.approx((1.0 + 0.5 + 1.0) / 3)
    assert first.published_score == pytest.approx((1.0 + 0.5 + 1.0 + 0.0) / 4)
    assert second.published_score == 0.0
    assert steered.effects(5).effects == (3.0, None, None, 0.1, None)
    assert second.unreached == 1
    assert [one.missing for one in read_labels(judged, judged.sites[0])] == [False, True]


def test_a_feature_that_steers_nothing_is_named(judged: Run) -> None:
    page = write_report(judged).read_text(encoding="utf-8")
    assert "Do not steer the model" in page
    assert "1 of 2 features" in page
    assert "22 features were not measured" in page
    assert HOSTILE not in page
    assert "alert(1)</script> rain" not in page


@pytest.mark.browser
def test_the_feature_shows_labels_and_steering(judged: Run, visit: Visit, tmp_path: Path) -> None:
    page = visit.open(write_report(judged, tmp_path / "page.html"), "#layer=2&site=mlp&feature=0")
    detail = page.locator("#detail")
    expect(detail).to_contain_text("words of weather <script>alert(1)</script> rain")
    expect(detail).to_contain_text("Its tokens shift by 3 logits at a KL of 0.2")
    expect(detail).to_contain_text("Score 0.50 of 2 on 1 continuation")
    expect(detail).to_contain_text("best of all cells 0.83")
    expect(detail).to_contain_text("Judge: letters. 1 of 8 continuations without a score.")
    expect(detail.locator(".example")).to_have_count(2)
    page.goto(page.url.replace("feature=0", "feature=1"))
    expect(detail).not_to_contain_text("Steering")
