"""Measure what a language model is worth as a judge, and write docs/results/llm-judge.md.

Any OpenAI-compatible server; every answer is kept below --folder, so that the same command goes on
after a stop and asks nothing twice. Needs the extras `llm` and `embed`.

    python benchmarks/llm_judge.py --base-url http://127.0.0.1:8000/v1 --model NAME
    python benchmarks/llm_judge.py --page        # only write the page from the stored figures

Three parts, or those of --parts: `rating` (is a concept told on held-out sentences?), `labels` (do
its labels of SNMF features say where they fire?), `steering` (does it agree with offline judges?).
"""

import argparse
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from cofire import jobs
from cofire.activations import Activations
from cofire.cli.progress import TerminalProgress
from cofire.config import FitConfig, LabelConfig, SteerConfig
from cofire.corpus import Text
from cofire.data import bundled_concepts
from cofire.evaluation.auroc import auroc
from cofire.evaluation.bootstrap import bootstrap_interval, estimate_of
from cofire.evaluation.concept_directions import distinctive_words
from cofire.evaluation.concept_rating import ConceptRater
from cofire.evaluation.detection_windows import context_windows
from cofire.evaluation.encoders import SentenceEncoder, TextEncoder, WordEncoder
from cofire.evaluation.judging import Judge, Judgement, LanguageModelJudge
from cofire.evaluation.measurement import Interval
from cofire.evaluation.steered import Steered
from cofire.jobs.judges import offline_judge
from cofire.jobs.run_model import model_of
from cofire.jobs.run_rows import captured_rows
from cofire.jobs.steering import judge_steered
from cofire.llm import EndpointModel, JournaledModel, load_prompt, read_rating
from cofire.store import Run
from llm_judge_page import write_page
from measuring import machine

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "llm-judge.json"
PAGE = ROOT / "docs" / "results" / "llm-judge.md"
PARTS = ("rating", "labels", "steering")
SEED = 0


def main() -> None:
    """Measure the parts asked for, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base-url", help="of an OpenAI-compatible server")
    parser.add_argument("--model", help="what the server calls the model")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one answer")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "llm-judge")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--concepts", type=int, default=20, help="of the corpus, drawn at random")
    parser.add_argument("--sentences", type=int, default=3, help="with and without each concept")
    parser.add_argument("--known", default="name only,described", help="what it is told of them")
    parser.add_argument("--layer", type=int, default=5)
    parser.add_argument("--features", type=int, default=30, help="that are labelled")
    parser.add_argument("--steered", type=int, default=8, help="features that are steered")
    parser.add_argument("--page", action="store_true", help="write the page only")
    options = parser.parse_args()
    record: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    if not options.page:
        if options.base_url is None or options.model is None:
            parser.error("name the server and its model: --base-url and --model")
        measure(options, record)
    write_page(record, PAGE)
    print(PAGE)


def measure(options: argparse.Namespace, record: dict[str, Any]) -> None:
    """Measure part by part; the figures of each are stored as soon as they are there."""
    options.folder.mkdir(parents=True, exist_ok=True)
    if record.get("model") != options.model:
        record.clear()
    record |= {"model": options.model, "machine": machine()}
    parts = {"rating": rating, "labels": labels, "steering": steering}
    for name in options.parts.split(","):
        record[name] = parts[name](options)
        RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def asked_model(options: argparse.Namespace, journal: Path) -> JournaledModel:
    """The server's model, one question at a time."""
    endpoint = EndpointModel(
        options.model, base_url=options.base_url, concurrency=1, timeout=options.timeout
    )
    return JournaledModel(endpoint, journal)


@dataclass(frozen=True)
class Item:
    """A held-out sentence and a concept that it has or has not."""

    concept: str
    words: tuple[str, ...]
    text: str
    positive: bool

    @property
    def name(self) -> str:
        """The concept's name in words."""
        return self.concept.replace("_", " ")


def rating(options: argparse.Namespace) -> dict[str, Any]:
    """Ratings of held-out sentences by every judge, each question put to all of them."""
    corpus = bundled_concepts()
    train = [text for text in corpus if text.split == "train" and text.label is not None]
    items = drawn_items(options, train)
    positive = np.array([item.positive for item in items])
    groups = np.unique([item.concept for item in items], return_inverse=True)[1]
    model = asked_model(options, options.folder / "answers.jsonl")
    found: dict[str, np.ndarray] = {}
    for encoder in encoders([text.text for text in train]):
        rater = ConceptRater(encoder, corpus)
        for kind, label in (
            ("learned", lambda item: item.concept),
            # Worded so that no concept is looked up.
            ("described", lambda item: f"{item.name} {' '.join(item.words)}"),
            ("name only", lambda item: f"a {item.name}"),
        ):
            found[f"{encoder.name}, {kind}"] = np.array(
                [rater.rate(label(item), [item.text])[0] for item in items]
            )
    seconds: dict[str, float | None] = {}
    template = load_prompt("judge_concept")
    for kind, label in (
        ("name only", lambda item: item.name),
        ("described", lambda item: f"{item.name}: {', '.join(item.words)}"),
    ):
        if kind not in options.known.split(","):
            continue
        questions = [template.fill(label=label(item), text=item.text) for item in items]
        ratings = [read_rating(answer.text) for answer in model.complete(questions)]
        name = f"{options.model}, {kind}"
        found[name] = np.array([np.nan if one is None else one for one in ratings], dtype=float)
        seconds[name] = middle_seconds(model.path, questions)
    asked = [name for name in found if name.startswith(options.model)]
    others = [name for name in found if name not in asked and "name only" not in name]
    return {
        "concepts": options.concepts,
        "items": len(items),
        "sentences": options.sentences,
        "judges": {
            name: judged(ratings, positive, groups) | {"seconds": seconds.get(name)}
            for name, ratings in found.items()
        },
        "differences": {
            f"{one} against {other}": auroc_difference(found[one], found[other], positive, groups)
            for one in asked
            for other in others
        },
    }


def drawn_items(options: argparse.Namespace, train: Sequence[Text]) -> list[Item]:
    """Some concepts, and of each some held-out sentences with it and as many without."""
    corpus = bundled_concepts()
    texts = [text.text for text in train]
    of_train = np.array([text.label for text in train], dtype=object)
    heldout = [text for text in corpus if text.split == "heldout" and text.label is not None]
    rng = np.random.default_rng(SEED)
    names = rng.choice(list(corpus.concepts), options.concepts, replace=False).tolist()
    items: list[Item] = []
    for concept in sorted(names):
        words = distinctive_words(texts, of_train, concept)
        for positive in (True, False):
            fit = [text.text for text in heldout if (text.label == concept) == positive]
            drawn = rng.choice(fit, options.sentences, replace=False).tolist()
            items += [Item(concept, words, text, positive) for text in drawn]
    return items


def encoders(texts: Sequence[str]) -> list[TextEncoder]:
    """What the offline judges read by."""
    return [WordEncoder(list(texts)), SentenceEncoder()]


def judged(ratings: np.ndarray, positive: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """What is told of one judge; the interval draws concepts."""
    known = ~np.isnan(ratings)
    return {
        "auroc": pooled_auroc(ratings, positive),
        "interval": ends(drawn_interval(lambda p: pooled_auroc(ratings[p], positive[p]), groups)),
        "missing": int((~known).sum()),
        "with": mean(ratings[known & positive]),
        "without": mean(ratings[known & ~positive]),
        "shares": {
            f"{value:g}": [
                float((ratings[known & side] == value).mean()) for side in (positive, ~positive)
            ]
            for value in (0, 1, 2)
        },
    }


def auroc_difference(
    one: np.ndarray, other: np.ndarray, positive: np.ndarray, groups: np.ndarray
) -> dict[str, Any]:
    """AUROC of one judge minus that of another on the items that both rated."""
    both = ~np.isnan(one) & ~np.isnan(other)

    def difference(places: np.ndarray) -> float:
        places = places[both[places]]
        return pooled_auroc(one[places], positive[places]) - pooled_auroc(
            other[places], positive[places]
        )

    everything = np.arange(len(one))
    return {
        "value": difference(everything),
        "interval": ends(drawn_interval(difference, groups)),
        "items": int(both.sum()),
    }


def pooled_auroc(ratings: np.ndarray, positive: np.ndarray) -> float:
    """Chance that an item with its concept is rated above one without, over all concepts."""
    known = ~np.isnan(ratings)
    return float(auroc(ratings[known][:, None], positive[known][:, None])[0, 0])


def drawn_interval(statistic: Any, groups: np.ndarray) -> Interval | None:
    """Percentile interval of a figure of places, whole groups drawn together."""
    members = [np.flatnonzero(groups == group) for group in range(int(groups.max()) + 1)]

    def of_groups(chosen: np.ndarray, axis: int = -1) -> np.ndarray:
        rows = np.atleast_2d(chosen)
        return np.array([statistic(np.concatenate([members[i] for i in row])) for row in rows])

    return bootstrap_interval(len(members), of_groups, method="percentile", seed=SEED)


def labels(options: argparse.Namespace) -> dict[str, Any]:
    """Labels by the language model beside offline ones, by how well they tell held-out windows."""
    run, site = fitted(options)
    alive = [one.index for one in run.features(site) if not one.dead]
    rng = np.random.default_rng(SEED)
    chosen = np.sort(rng.choice(alive, min(options.features, len(alive)), replace=False)).tolist()
    config = LabelConfig(
        run=run.path,
        layer=options.layer,
        features=",".join(map(str, chosen)),
        kind="input",
        llm_base_url=options.base_url,
        llm_model=options.model,
        llm_at_once=1,
        llm_timeout=options.timeout,
    )
    written = {one.feature: one for one in jobs.label(config, TerminalProgress())[site]}
    model = model_of(run, "cpu", TerminalProgress())
    rows = captured_rows(run, model, site, TerminalProgress())
    windows = context_windows(rows, run.dictionary(site).encode(rows).cpu(), n=5, seed=SEED)
    corpus = bundled_concepts()
    texts = [window_text(rows, a, b) for a, b in zip(windows.start, windows.stop, strict=True)]
    offline = {i: run.features(site)[i].label for i in chosen}
    llm = {i: written[i].label for i in chosen}
    others = dict(zip(chosen, [*chosen[1:], chosen[0]], strict=True))
    sources: dict[str, Mapping[int, str | None]] = {
        "offline": offline,
        "language model": llm,
        "offline, of another feature": {i: offline[others[i]] for i in chosen},
        "language model, of another feature": {i: llm[others[i]] for i in chosen},
    }
    raters = [
        ConceptRater(encoder, corpus)
        for encoder in encoders([text.text for text in corpus if text.split == "train"])
    ]
    figures: dict[str, Any] = {}
    for rater in raters:
        values = {
            source: np.array([told(rater, names[i], i, windows, texts) for i in chosen])
            for source, names in sources.items()
        }
        figures[rater.encoder.name] = {
            source: stated(estimate_of(found, seed=SEED)) for source, found in values.items()
        } | {
            "difference": stated(
                estimate_of(values["language model"] - values["offline"], seed=SEED)
            )
        }
    prompts = [one.prompt for one in written.values() if one.feature in chosen and one.prompt]
    return {
        "layer": options.layer,
        "features": chosen,
        "windows": 5,
        "missing": sum(written[i].missing for i in chosen),
        "distinct": len({name for name in llm.values() if name}),
        "seconds": middle_seconds(run.path / "answers.jsonl", prompts),
        "auroc": figures,
        "examples": [
            {"feature": i, "offline": offline[i], "language model": llm[i]} for i in chosen
        ],
    }


def told(
    rater: ConceptRater, label: str | None, feature: int, windows: Any, texts: Sequence[str]
) -> float:
    """AUROC of a label's rating: the feature's top held-out windows against random ones.

    All labels are read as descriptions: one that begins with a concept's name is not looked up.
    """
    if label is None:
        return float("nan")
    places = np.flatnonzero(windows.activating[:, feature] | windows.neutral[:, feature])
    found = rater.rate("like " + label.replace(":", " "), [texts[place] for place in places])
    known = ~np.isnan(found)
    top = windows.activating[places, feature]
    return float(auroc(found[known][:, None], top[known][:, None])[0, 0])


def window_text(rows: Activations, start: int, stop: int) -> str:
    """The text of a range of rows."""
    return "".join(rows.tokens.surface(row) for row in range(start, stop)).strip()


def steering(options: argparse.Namespace) -> dict[str, Any]:
    """The same continuations judged by the language model and offline."""
    run, site = fitted(options)
    config = SteerConfig(
        run=run.path,
        layer=options.layer,
        sample=options.steered,
        targets="0.15,0.5",
        samples=2,
        new_tokens=16,
        judge="none",
        device="cpu",
        seed=SEED,
    )
    steered = jobs.steer(config, TerminalProgress())
    model = model_of(run, "cpu", TerminalProgress())
    texts = [text.text for text in run.corpus if text.split == "train"]
    judges: list[Judge] = [
        offline_judge(model, site, steered.settings, run.corpus, encoder=encoder)
        for encoder in encoders(texts)
    ]
    asked = asked_model(options, options.folder / "answers.jsonl")
    judges.append(LanguageModelJudge(asked))
    found = {judge.name: judgements(judge_steered(steered, judge)) for judge in judges}
    numbers = np.repeat(np.arange(len(steered.features)), [one.n_texts for one in steered.features])
    pairs = [(options.model, judge.name) for judge in judges[:-1]]
    pairs.append((judges[0].name, judges[1].name))
    return {
        "layer": options.layer,
        "features": [one.feature for one in steered.features],
        "texts": len(numbers),
        "not_judged": sum(one is None or one.missing for one in found[options.model]),
        "means": {
            name: {what: mean(values_of(own, what)) for what in ("concept", "fluency", "score")}
            for name, own in found.items()
        },
        "ratings": {
            what: {
                f"{value:g}": int((values_of(found[options.model], what) == value).sum())
                for value in (0, 1, 2)
            }
            for what in ("concept", "fluency")
        },
        "correlations": [
            {
                "judges": list(pair),
                "of": what,
                **rank_correlation(*(values_of(found[name], what) for name in pair), numbers),
            }
            for pair in pairs
            for what in ("concept", "fluency", "score")
        ],
    }


def judgements(steered: Steered) -> list[Judgement | None]:
    """Judgements of all continuations, feature by feature."""
    return [t.judgement for one in steered.features for cell in one.cells for t in cell.texts]


def values_of(found: Sequence[Judgement | None], what: str) -> np.ndarray:
    """Concept, fluency or score; NaN where missing."""
    values = [None if one is None else getattr(one, what) for one in found]
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def rank_correlation(one: np.ndarray, other: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """Spearman's correlation, with an interval over features; None where a judge never differs."""
    known = ~np.isnan(one) & ~np.isnan(other)

    def correlation(places: np.ndarray) -> float:
        places = places[known[places]]
        if len(np.unique(one[places])) < 2 or len(np.unique(other[places])) < 2:
            return 0.0  # a judge that says the same of everything orders nothing
        return float(spearmanr(one[places], other[places]).statistic)

    return {
        "value": correlation(np.arange(len(one))),
        "interval": ends(drawn_interval(correlation, groups)),
        "n": int(known.sum()),
    }


def fitted(options: argparse.Namespace) -> tuple[Run, Any]:
    """The run whose features are labelled and steered, fitted when it is not there."""
    config = FitConfig(layers=str(options.layer), device="cpu", output=options.folder / "run")
    run = jobs.fit(config, TerminalProgress())
    return run, run.site_at(options.layer)


def middle_seconds(journal: Path, prompts: Iterable[str]) -> float | None:
    """Median seconds of the journal's answers to some prompts."""
    wanted = set(prompts)
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    found = [one["seconds"] for one in records if one["prompt"] in wanted]
    return statistics.median(found) if found else None


def mean(values: np.ndarray) -> float | None:
    """Mean of what is known."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def ends(interval: Interval | None) -> list[float] | None:
    """The ends of an interval."""
    return None if interval is None else [interval.low, interval.high]


def stated(found: Any) -> dict[str, Any]:
    """An estimate as plain values."""
    return {
        "value": found.value,
        "interval": ends(found.interval),
        "n": found.n,
        "missing": found.missing,
    }


if __name__ == "__main__":
    main()
