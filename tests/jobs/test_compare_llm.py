"""A comparison that asks a language model: it judges, names features, and writes sentences."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pyarrow.parquet as pq
import pytest

from chat_serving import KEY, MODEL, Reply, chat_server, error
from cofire import jobs
from cofire.config import CompareConfig, SteerConfig, SweepConfig
from cofire.errors import EndpointError, InputError, ModelError, StoreError
from cofire.jobs import steering as steering_job
from cofire.jobs.comparing import failures
from cofire.report import write_compare_page
from cofire.store import CompareFolder

pytest.importorskip("openai", reason="needs the extra llm: pip install 'cofire[llm]'")

SMALL = {
    "layers": "2",
    "k": "6",
    "sparsity": "0.1",
    "seeds": 1,
    "methods": "snmf:max_iter=5,random",
    "loss_texts": 0,
    "halves": 0,
    "limit": 300,
    "device": "cpu",
    "steer": 2,
    "targets": "0.05,0.2",
    "samples": 2,
    "new_tokens": 4,
    "judge": "llm",
    "llm_model": MODEL,
    "llm_at_once": 1,
}

WRITTEN = {
    "activating": ["It rained on Monday.", "Rain fell.", "More rain came.", "It rains.", "Rain!"],
    "neutral": ["A cat slept.", "He sold it.", "They sang.", "Two plus two is four."],
}


def answer(prompt, count):
    """Answers as a model would give them; one neutral sentence is lacking."""
    if '"neutral"' in prompt:
        return Reply(json.dumps(WRITTEN))
    if '{"label"' in prompt:
        return Reply('{"label": "words about rain"}')
    return Reply('{"rating": 2}' if "How well" in prompt else '{"rating": 1}')


@pytest.fixture
def small(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return CompareConfig(model=str(tiny_folder), output=tmp_path / "asked", **SMALL)


def changed(config, **update):
    return type(config)(**{**config.model_dump(), **update})


def figures(folder):
    return {
        (row["method"], row["measure"], row["score"]): row
        for row in pq.read_table(folder.path / "results.parquet").to_pylist()
    }


def repeated(log):
    """Prompts that came more than once, without the question by which a model is tried out."""
    asked = Counter(prompt for prompt in log.asked if "It rained all night" not in prompt)
    return {prompt: count for prompt, count in asked.items() if count > 1}


def test_a_model_judges_names_and_writes_and_is_asked_nothing_twice(small):
    with chat_server(answer, key=KEY) as server:
        config = changed(small, llm_base_url=server.base_url, labels="llm", written=3)
        folder = jobs.compare(config)
        assert not failures(folder)
        asked = len(server.log.asked)
        assert not repeated(server.log)
        jobs.compare(config)
        more = jobs.compare(changed(config, methods="snmf:max_iter=5,random,neurons"))
        assert len(server.log.asked) > asked  # another method was judged
        assert not repeated(server.log)
    assert not failures(more)
    own = folder.cell(folder.cells[0])
    (labels, steering) = (own.table(name).to_pylist() for name in ("labels", "steering"))
    assert {row["label"] for row in labels} == {row["label"] for row in steering}
    assert {row["label"] for row in steering} == {"words about rain"}
    assert {row["kind"] for row in labels} == {"input"}
    written = own.table("written").to_pylist()
    assert len(written) == min(3, own.figures("written-3")["alive"])
    assert {len(row["activating"]) for row in written} == {5}
    assert {row["problem"] for row in written} == {"The answer lacks 1 of 10 sentences."}
    found = figures(folder)
    assert found["random", "steering-score", None]["value"] == pytest.approx(4 / 3)
    assert found["random", "steering-gain", None]["value"] == pytest.approx(0)
    assert found["random", "written-auroc", "cosine"]["n"] == 3
    assert 0 <= found["random", "written-auroc", "codes"]["value"] <= 1
    page = write_compare_page(folder).read_text()
    cells = [folder.cell(cell) for cell in folder.cells]
    tested = sum(len(one.figures("written-3")["features"]) for one in cells)
    named = tested + sum(one.figures("steer-2")["labels"] for one in cells)
    for words in (
        "Detection on written sentences",
        f'<dd dir="auto">{MODEL}, ',
        "continuations without a score",
        f"0 of {named} labels missing",
        f"{tested} of {10 * tested} sentences missing",
    ):
        assert words in page
    everything = b"".join(path.read_bytes() for path in folder.path.rglob("*") if path.is_file())
    assert KEY.encode() not in everything
    assert server.base_url.encode() not in everything


def test_as_published_sentences_are_told_by_cosine_and_labels_come_from_tokens(small):
    with chat_server(answer) as server:
        config = changed(
            small,
            llm_base_url=server.base_url,
            protocol="published",
            judge="none",
            steer=0,
            labels="llm",
            written=2,
            methods="random",
        )
        folder = jobs.compare(config)
    assert not failures(folder)
    assert any("makes more likely" in prompt for prompt in server.log.asked)
    assert not any("How well" in prompt for prompt in server.log.asked)
    found = figures(folder)
    assert found["random", "written-detection", "cosine"]["n"] == 2
    assert ("random", "written-detection", "codes") not in found
    assert folder.cell(folder.cells[0]).figures("written-2")["description"] == "output"


def test_a_judge_that_answers_nonsense_is_missing_and_shown(small, caplog):
    with chat_server(lambda prompt, count: Reply("I would rather not say.")) as server:
        config = changed(
            small, llm_base_url=server.base_url, labels="llm", written=1, methods="random"
        )
        folder = jobs.compare(config)
    assert "no rating that can be read" in caplog.text
    assert not failures(folder)
    found = figures(folder)
    score = found["random", "steering-score", None]
    assert (score["value"], score["n"], score["missing"]) == (None, 0, 2)
    assert found["random", "steering-unjudged", None]["value"] == 1
    own = folder.cell(folder.cells[0])
    noted = own.figures("steer-2")
    assert noted["not_judged"] == noted["texts"] > 0
    judged = own.table("continuations").to_pylist()
    assert {row["concept"] for row in judged} == {None}
    assert any("holds no rating" in problem for row in judged for problem in row["problems"])
    # An answer of one line is a label; of sentences there is none.
    written = own.table("written").to_pylist()
    assert [row["problem"] for row in written] == ["The answer lacks 10 of 10 sentences."]
    assert found["random", "written-detection", "cosine"]["missing"] == 1
    page = write_compare_page(folder).read_text()
    assert f"{noted['texts']} of {noted['texts']} continuations without a score" in page


@pytest.mark.parametrize(
    ("key", "update", "problem"),
    [
        (None, {"llm_base_url": "http://127.0.0.1:9/v1"}, "cannot be reached"),
        ("sk-another", {}, "wants another key"),
        (None, {"llm_model": "unknown"}, "does not know the model 'unknown'"),
    ],
)
def test_a_model_that_cannot_be_asked_is_told_before_any_work(small, key, update, problem):
    with chat_server(answer, key=key) as server:
        config = changed(small, **{"llm_base_url": server.base_url, **update})
        with pytest.raises(EndpointError, match=problem):
            jobs.compare(config)
        assert not CompareFolder.present(small.output)
        assert not list(small.output.glob("*"))
    # The folder is free for a comparison of another kind.
    jobs.compare(changed(small, judge="none", methods="random", steer=0, llm_model=None))


def test_a_model_that_is_broken_is_told_before_any_work(small):
    with (
        chat_server(lambda prompt, count: error(400, "too hot")) as server,
        pytest.raises(ModelError, match=r"does not answer a first question: .*too hot"),
    ):
        jobs.compare(changed(small, llm_base_url=server.base_url))
    assert not CompareFolder.present(small.output)


def test_a_judge_that_stops_answering_loses_no_steering(small, monkeypatch):
    def revoked(prompt, count):
        return answer(prompt, count) if "It rained all night" in prompt else error(401, "no")

    config = changed(small, methods="random")
    with chat_server(revoked) as server:
        folder = jobs.compare(changed(config, llm_base_url=server.base_url))
    (sentence,) = failures(folder).values()
    assert "wants another key" in sentence
    own = folder.cell(folder.cells[0])
    kept = own.path / "unfinished.jsonl"
    assert len(kept.read_text().splitlines()) == 2

    def never(self, described):
        raise AssertionError("a feature was steered again")

    monkeypatch.setattr(steering_job._Steerer, "steer", never)
    with pytest.raises(EndpointError, match="cannot be reached"):  # told before any work, again
        jobs.compare(changed(config, llm_base_url="http://127.0.0.1:9/v1"))
    with chat_server(answer) as server:
        folder = jobs.compare(changed(config, llm_base_url=server.base_url))
    assert not failures(folder)
    assert figures(folder)["random", "steering-score", None]["n"] == 2
    assert not kept.exists()
    # What is finished needs no language model any more.
    jobs.compare(changed(config, llm_base_url="http://127.0.0.1:9/v1"))
    with pytest.raises(StoreError, match="begun with llm_model 'tiny', not 'other'"):
        jobs.compare(changed(config, llm_base_url=server.base_url, llm_model="other"))


def test_a_kill_while_judging_asks_nothing_twice(small):
    reached, release = threading.Event(), threading.Event()

    def held(prompt, count):
        judged = sum("contain the concept" in one for one in server.log.finished)
        if judged == 5 and not release.is_set():
            reached.set()
            release.wait(120)
        return answer(prompt, count)

    with chat_server(held) as server:
        config = changed(small, methods="random", llm_base_url=server.base_url)
        fields = {**SMALL, "methods": "random", "llm_base_url": server.base_url}
        words = [f"--{name.replace('_', '-')}={value}" for name, value in fields.items()]
        command = [sys.executable, "-m", "cofire", "compare", "--model", config.model, *words]
        process = subprocess.Popen(
            [*command, "-o", str(config.output)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 300
        while not reached.wait(0.05):
            assert process.poll() is None
            assert time.monotonic() < deadline
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        release.set()
        waiting = server.log.asked[-1]
        folder = jobs.compare(config)
        assert not failures(folder)
        assert set(repeated(server.log)) <= {waiting}  # its answer never came
    lines = (folder.path / "answers.jsonl").read_text().splitlines()
    prompts = [json.loads(line)["prompt"] for line in lines]
    assert len(prompts) == len(set(prompts))


def test_a_local_model_judges_and_a_sweep_takes_the_same_settings(small, patient_folder):
    config = SweepConfig(
        **{
            **changed(
                small, judge="local", local_model=str(patient_folder), methods="random"
            ).model_dump(),
            "llm_model": None,
            "vary": "k",
            "values": "4,6",
            "steer": 1,
        }
    )
    folder = jobs.sweep(config)
    assert not failures(folder)
    assert len(folder.cells) == 2
    for cell in folder.cells:
        noted = folder.cell(cell).figures("steer-1")
        assert noted["judge"].endswith(patient_folder.name)
        assert noted["not_judged"] == noted["texts"]  # a random model gives no rating


def test_folders_from_before_there_was_a_language_model_go_on(small):
    config = changed(small, judge="words", steer=1, methods="random", llm_model=None)
    folder = jobs.compare(config)
    manifest = json.loads((folder.path / "manifest.json").read_text())
    new = {
        *("labels", "written", "llm_model", "llm_at_once", "llm_timeout"),
        *("local_model", "llm_prompts"),
    }
    assert new <= set(manifest["config"])
    assert manifest["config"]["prompts"] == 1
    manifest["config"] = {n: v for n, v in manifest["config"].items() if n not in new}
    (folder.path / "manifest.json").write_text(json.dumps(manifest))
    assert not failures(jobs.compare(config))
    with pytest.raises(StoreError, match="begun with prompts 1, not 2"):
        jobs.compare(changed(config, prompts=2))
    with pytest.raises(StoreError, match="begun with judge 'words', not 'llm'"):
        jobs.compare(changed(config, judge="llm", llm_base_url="http://127.0.0.1:9/v1"))


@pytest.mark.parametrize(
    ("update", "problem"),
    [
        ({"steer": 0}, "--judge llm rates what steered features write; add --steer N"),
        ({"steer": 0, "judge": "none", "labels": "llm"}, "add --steer N or --written N"),
        ({}, "--llm-base-url"),
        ({"judge": "words", "written": 1, "llm_model": None}, "Name the language model"),
        ({"judge": "local", "llm_model": None}, "needs --local-model"),
        ({"local_model": "x", "llm_model": None}, "--local-model goes with --judge local"),
        ({"llm_base_url": "localhost"}, "must look like http://localhost:8000/v1"),
    ],
)
def test_bad_settings_are_one_sentence(small, update, problem):
    with pytest.raises(InputError, match=problem):
        jobs.compare(changed(small, **update))
    assert not CompareFolder.present(small.output)


def test_steer_and_compare_name_the_language_model_alike():
    shared = {name for name in SteerConfig.model_fields if name.startswith(("llm_", "local_"))}
    assert shared <= set(CompareConfig.model_fields)
    assert CompareConfig(prompts=3, llm_prompts="own").llm_prompts is not None
