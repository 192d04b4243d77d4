"""doctor, steer and label as a user types them, on a run of a tiny model."""

import io
import json
import shutil
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from chat_serving import KEY, MODEL, Reply, chat_server, error
from cofire.cli import main
from cofire.interpret.llm_labels import FeatureLabel
from cofire.jobs import steering as steering_job
from cofire.store import Run
from cofire.store.label_table import read_labels, write_labels
from cofire.store.steering_results import UnfinishedSteering, read_steering

QUICK = "--targets 0.02,0.05 --samples 2 --new-tokens 4 --top-p 1 --device cpu".split()


@dataclass
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


def cofire(*words: object, cwd: Path | str = ".") -> Done:
    out, err = io.StringIO(), io.StringIO()
    with chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def fitted(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("judging")
    fit = "fit --layers 1 -k 6 --sparsity 0.1 --max-iter 9 --tol 0.1 --device cpu -o run --model"
    done = cofire(*fit.split(), tiny_folder, "--limit", 250, cwd=path)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture
def folder(fitted: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    shutil.copytree(fitted / "run", tmp_path / "run")
    return tmp_path


def answer(prompt: str, count: int) -> Reply:
    """Answers as a model would give them; nonsense to some."""
    if '{"label"' in prompt:
        return Reply(
            '{"label": "words about rain"}'
            if "likely" not in prompt
            else "First I thought.\nThen I stopped."
        )
    return Reply('{"rating": 2}' if "How well" in prompt else '{"rating": 1}')


def test_doctor_names_problems_and_what_was_not_measured(folder: Path) -> None:
    done = cofire("doctor", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "non-causal" in done.stdout
    assert "cofire steer run --layer 1 --sample 30" in done.stdout
    (record,) = json.loads(cofire("doctor", "run", "--json", cwd=folder).stdout)
    assert record["layer"] == 1
    problems = {one["problem"]: one for one in record["findings"]}
    assert list(problems) == ["dead", "collapsed", "non-causal", "negative-detection"]
    assert problems["dead"]["looked_at"] == 6
    assert problems["non-causal"]["looked_at"] == 0
    assert problems["non-causal"]["limit"] is None
    other = cofire("doctor", "run", "--layer", 0, cwd=folder)
    assert other.returncode == 2
    assert "no finished layer 0" in other.stderr


def test_steering_is_kept_added_to_and_diagnosed(folder: Path) -> None:
    done = cofire("steer", "run", "--features", "0,3", *QUICK, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    records = json.loads(done.stdout)
    assert [one["feature"] for one in records] == [0, 3]
    assert all(one["shift"] is not None and one["null shift"] is not None for one in records)
    run = Run.open(folder / "run")
    assert run.sites  # results beside the fit leave it as it is
    stored = read_steering(run, run.sites[0])
    assert stored is not None
    steered, _ = stored
    assert [one.feature for one in steered.features] == [0, 3]
    assert (steered.judge or "").startswith("offline")
    assert all(t.judgement is not None for o in steered.features for c in o.cells for t in c.texts)
    assert not UnfinishedSteering.of(run, run.sites[0]).path.exists()
    shown = cofire("show", "run", 3, cwd=folder).stdout
    assert "Steering" in shown
    assert "its tokens shift by" in shown
    assert "Steering" not in cofire("show", "run", 4, cwd=folder).stdout
    more = cofire("steer", "run", "--features", "4", *QUICK, "--judge", "none", cwd=folder)
    assert more.returncode == 0, more.stderr
    after = read_steering(Run.open(folder / "run"), run.sites[0])
    assert after is not None
    assert [one.feature for one in after[0].features] == [0, 3, 4]
    assert after[0].features[:2] == steered.features
    doctor = cofire("doctor", "run", "--json", cwd=folder)
    finding = json.loads(doctor.stdout)[0]["findings"][2]
    assert (finding["looked_at"], finding["missing"]) == (3, 3)
    assert "3 features were not measured" in finding["note"]
    other = cofire("steer", "run", "--features", "4", *QUICK, "--seed", 1, cwd=folder)
    assert other.returncode == 1
    assert "was steered with seed 0, but 1 is asked for" in other.stderr
    again = cofire(
        *("steer", "run", "--features", "4", *QUICK, "--seed", 1, "--judge", "none", "--again"),
        cwd=folder,
    )
    assert again.returncode == 0, again.stderr
    last = read_steering(Run.open(folder / "run"), run.sites[0])
    assert last is not None
    assert [one.feature for one in last[0].features] == [4]


def test_an_interrupt_keeps_what_was_steered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("steer", "run", "--all", *QUICK, "--judge", "none", "--json")
    whole = json.loads(cofire(*words, cwd=folder).stdout)
    shutil.rmtree(folder / "run" / "steering")
    manifest = json.loads((folder / "run" / "manifest.json").read_text())
    del manifest["added"]
    manifest["parts"] = {k: v for k, v in manifest["parts"].items() if "steering" not in k}
    (folder / "run" / "manifest.json").write_text(json.dumps(manifest))
    run = Run.open(folder / "run")
    unfinished = UnfinishedSteering.of(run, run.sites[0])
    add, kept = UnfinishedSteering.add, []

    def stop(self: UnfinishedSteering, feature: object, settings: object) -> None:
        add(self, feature, settings)  # type: ignore[arg-type]
        kept.append(feature)
        if len(kept) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(UnfinishedSteering, "add", stop)
    assert cofire(*words, cwd=folder).returncode == 130
    monkeypatch.setattr(UnfinishedSteering, "add", add)
    with unfinished.path.open("a") as file:
        file.write('{"settings": {}, "tab')  # as a kill leaves it
    steered: list[int] = []
    steer = steering_job._Steerer.steer

    def counted(self: object, described: list[object]) -> object:
        steered.extend(one.feature for one in described)  # type: ignore[attr-defined]
        return steer(self, described)  # type: ignore[arg-type]

    monkeypatch.setattr(steering_job._Steerer, "steer", counted)
    done = cofire(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "1 lines cannot be read" in " ".join(done.stderr.split())
    assert steered == [4, 5]
    found = json.loads(done.stdout)
    assert [one["feature"] for one in found] == [one["feature"] for one in whole]
    for one, other in zip(found, whole, strict=True):
        assert one["shift"] == pytest.approx(other["shift"], rel=1e-4, abs=1e-6)


def test_a_language_model_judges_and_labels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openai", reason="needs the extra llm: pip install 'cofire[llm]'")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with chat_server(answer, key=KEY) as server:
        llm = ["--llm-base-url", server.base_url, "--llm-model", MODEL]
        done = cofire("label", "run", *llm, "--json", cwd=folder)
        assert done.returncode == 0, done.stderr
        records = json.loads(done.stdout)
        assert {one["from contexts"] for one in records} == {"words about rain"}
        assert {one["from tokens"] for one in records} == {None}
        assert all("no label that can be read" in one["problem"] for one in records)
        run = Run.open(folder / "run")
        labels = read_labels(run, run.sites[0])
        assert len(labels) == 2 * len(records)
        assert [one["offline"] for one in records] == [
            run.features(run.sites[0])[one["feature"]].label for one in records
        ]
        asked = len(server.log.asked)
        again = cofire("label", "run", *llm, cwd=folder)
        assert f"{len(records)} labels, {len(records)} missing" in again.stdout
        assert len(server.log.asked) == asked  # nothing is asked twice
        words = ["steer", "run", "--features", "0", *QUICK, "--judge", "llm", *llm]
        done = cofire(*words, "--describe", "input", "--json", cwd=folder)
        assert done.returncode == 0, done.stderr
        (record,) = json.loads(done.stdout)
        assert record["label"] == "words about rain"
        assert record["score"] == pytest.approx(2 * 1 * 2 / 3)
        missing = cofire(*words, "--describe", "output", "--again", cwd=folder)
        assert missing.returncode == 2
        assert "has no output labels" in missing.stderr
    everything = b"".join(p.read_bytes() for p in (folder / "run").rglob("*") if p.is_file())
    assert KEY.encode() not in everything


def test_missing_labels_are_counted_when_features_are_steered(folder: Path) -> None:
    run = Run.open(folder / "run")
    labels = [
        FeatureLabel(feature, "input", label, None if label else "No answer.", "asked", label)
        for feature, label in ((0, "words about rain"), (3, None))
    ]
    write_labels(run, run.sites[0], labels, model="by hand")
    words = ["steer", "run", "--features", "0,3,4", *QUICK, "--judge", "none"]
    done = cofire(*words, "--describe", "input", cwd=folder)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stderr.split())
    assert "2 of 3 features have no input label" in said
    assert "offline description: 3, 4." in said
    offline = cofire(*words, "--again", cwd=folder)
    assert "have no" not in offline.stderr


def test_a_judge_that_stops_answering_loses_no_steering(folder: Path) -> None:
    pytest.importorskip("openai", reason="needs the extra llm: pip install 'cofire[llm]'")
    words = ["steer", "run", "--features", "0-1", *QUICK]
    gone = ["--judge", "llm", "--llm-base-url", "http://127.0.0.1:9/v1", "--llm-model", MODEL]
    run = Run.open(folder / "run")
    unfinished = UnfinishedSteering.of(run, run.sites[0])
    done = cofire(*words, *gone, cwd=folder)
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr
    assert not unfinished.path.exists()  # it was tried before anything was steered

    def revoked(prompt: str, count: int) -> Reply:
        return answer(prompt, count) if "It rained all night" in prompt else error(401, "no")

    with chat_server(revoked) as server:
        gone[3] = server.base_url
        done = cofire(*words, *gone, cwd=folder)
    assert done.returncode == 1
    assert "key" in done.stderr
    assert len(unfinished.path.read_text().splitlines()) == 2
    assert cofire(*words, cwd=folder).returncode == 0  # the offline judge takes them over
    assert not unfinished.path.exists()


def test_a_local_model_judges(folder: Path, patient_folder: Path) -> None:
    words = ["steer", "run", "--features", "0", *QUICK, "--judge", "local", "--local-model"]
    done = cofire(*words, patient_folder, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)
    assert record["not judged"] == record["texts"]  # a random model gives no rating
    assert record["score"] is None


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["steer", "run"], "--features 3,17 or --all or --sample N"),
        (["steer", "run", "--all", "--sample", "2"], "one of them"),
        (["steer", "run", "--features", "6"], "Feature 6 does not exist"),
        (["steer", "run", "--features", "x"], "Cannot read features 'x'"),
        (["steer", "run", "--sample", "100"], "a sample of 100 is more"),
        (["steer", "run", "--all", "--samples", "1"], "at least 2 samples"),
        (["steer", "run", "--all", "--targets", "a"], "Cannot read KL targets 'a'"),
        (["steer", "run", "--all", "--top-p", "2"], "top_p must be above 0"),
        (["steer", "run", "--all", "--targets", "0.1,0.1"], "targets has 0.1 twice"),
        (["steer", "run", "--sample", "2", "--seed", "-1"], "'seed' is -1"),
        (["weights", "gemma-3-270m", "--seed", "-1"], "'seed' is -1"),
        (["steer", "run", "--all", "--judge", "llm"], "--llm-base-url"),
        (["steer", "run", "--all", "--judge", "local"], "needs --local-model"),
        (["steer", "run", "--all", "--describe", "input"], "has no input labels"),
        (["label", "run"], "--llm-base-url"),
        (["label", "run", "--llm-base-url", "x", "--llm-model", "a"], "address"),
        (["label", "run", "--llm-model", "a", "--local-model", "b"], "not both"),
    ],
)
def test_bad_input_is_one_sentence(fitted: Path, words: list[str], problem: str) -> None:
    done = cofire(*words, cwd=fitted)
    assert done.returncode == 2, done.stderr
    assert problem in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
