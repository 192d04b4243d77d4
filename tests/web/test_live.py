"""What is computed on request: labels, codes of texts, steering."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from asking import Server, serving

from cofire.corpus import Corpus, Text
from cofire.models import capture_activations, load_model
from cofire.store import Run

SENTENCE = "On Monday we walked to the market and bought bread."


def steer(server: Server, **changes):
    request = {
        "run": "tiny",
        "layer": 2,
        "features": [{"feature": 1, "strength": 2.0}],
        "prompt": "I think that",
        "samples": 2,
        "new_tokens": 8,
        **changes,
    }
    return server.ask("/steer.json", request)


@pytest.fixture(scope="module")
def codes(stored: Run, tiny_folder):
    """Codes of the sentence, from the library."""
    model = load_model(str(tiny_folder), device="cpu")
    site = stored.sites[1]
    found = capture_activations(model, Corpus([Text(SENTENCE)]), [site])[site]
    return stored.dictionary(site).encode(found)


def test_a_sentence_fires_the_features_that_the_library_says(server: Server, codes):
    answer = server.ask("/runs/tiny/2/firing.json", {"text": SENTENCE}).json
    assert "".join(answer["tokens"]).replace("␣", " ") == SENTENCE
    peak = codes.amax(dim=0)
    assert answer["found"] == int((peak > 0).sum())
    for feature in answer["features"]:
        assert feature["code"] == pytest.approx(float(peak[feature["feature"]]), rel=1e-4)
        assert feature["codes"][feature["focus"]] == pytest.approx(feature["code"])
    strengths = [feature["code"] for feature in answer["features"]]
    assert strengths == sorted(strengths, reverse=True)
    by_share = server.ask("/runs/tiny/2/firing.json", {"text": SENTENCE, "by": "share"}).json
    shares = [feature["share"] for feature in by_share["features"]]
    assert shares == sorted(shares, reverse=True)


def test_codes_come_token_by_token(server: Server, codes):
    wanted = {"run": "tiny", "layer": 2, "features": [5, 0], "texts": [SENTENCE, "Red."]}
    answer = server.ask("/test.json", wanted).json
    assert [feature["feature"] for feature in answer["features"]] == [5, 0]
    first, second = answer["texts"]
    assert torch.tensor(first["codes"]) == pytest.approx(codes[:, [5, 0]].T, rel=1e-4, abs=1e-5)
    assert len(second["codes"][0]) == len(second["tokens"])


def test_a_long_text_is_cut_and_says_so(server: Server):
    answer = server.ask("/runs/tiny/2/firing.json", {"text": "word " * 500}).json
    assert answer["truncated"]  # the model reads 64 tokens
    assert len(answer["tokens"]) < 64


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"text": ""}, "text"),
        ({"text": "  \n"}, "only spaces"),
        ({"text": "a" * 5001}, "5000"),
        ({"text": SENTENCE, "more": 1}, "more"),
        ({}, "text"),
        ([], "dictionary"),
        (b"{", "JSON"),
        (b'{"text": "\\ud800"}', "text"),
    ],
)
def test_texts_that_cannot_be_read_are_refused_in_one_sentence(server: Server, body, said):
    answer = server.ask("/runs/tiny/2/firing.json", body, method="POST")
    assert answer.status == 422
    assert said in answer.json["error"]
    assert "\n" not in answer.json["error"]


def test_a_label_is_kept_found_and_taken_back(copied: Run):
    place = "/runs/tiny/0/features/3/label.json"
    with serving([copied.path]) as server:
        offline = server.ask("/runs/tiny/0/features/3.json").json["label"]
        row = server.ask(place, {"label": "  my own words "}, method="PUT").json
        assert (row["label"], row["edited"]) == ("my own words", True)
        page = server.ask("/runs/tiny/0/features/3.json").json
        assert (page["label"], page["offline_label"]) == ("my own words", offline)
        found = server.ask("/runs/tiny/0/features.json?search=MY+OWN").json["features"]
        assert [row["feature"] for row in found] == [3]
        assert Run.open(copied.path).features(copied.sites[0])[3].label == "my own words"
        assert server.ask("/runs/tiny/2/features/3.json").json["label"] != "my own words"
    with serving([copied.path]) as server:  # it outlives the server
        assert server.ask("/runs/tiny/0/features/3.json").json["edited"]
        assert server.ask(place, {"label": None}, method="PUT").json["label"] == offline
    Run.open(copied.path).features(copied.sites[0])  # no checksum is touched


@pytest.mark.parametrize("label", ["", "   ", "two\nlines", "tab\there", "bell\x07", "x" * 201,
                                   "\u202etxt", 7])  # fmt: skip
def test_labels_that_are_no_line_of_text_are_refused(server: Server, label):
    answer = server.ask("/runs/tiny/0/features/3/label.json", {"label": label}, method="PUT")
    assert answer.status == 422
    assert not server.ask("/runs/tiny/0/features/3.json").json["edited"]


def test_labels_that_many_people_write_at_once_are_all_kept(copied: Run):
    with serving([copied.path]) as server, ThreadPoolExecutor(8) as people:
        answers = people.map(
            lambda i: server.ask(
                f"/runs/tiny/0/features/{i}/label.json", {"label": f"label {i}"}, method="PUT"
            ),
            range(8),
        )
        assert [answer.status for answer in answers] == [200] * 8
    assert copied.given_labels(copied.sites[0]) == {i: f"label {i}" for i in range(8)}


def test_steering_goes_through_its_states_and_streams_texts(server: Server):
    answer = steer(server, features=[{"feature": 1, "strength": 2.0}, {"feature": 4, "kl": 0.05}])
    assert answer.status == 202
    job = answer.json["job"]
    seen = list(server.events(f"/steer/{job}/events"))
    assert seen[-1][0] == "end"
    records = [data for name, data in seen if name == "job"]
    versions = [record["version"] for record in records]
    assert versions == sorted(versions)
    last = records[-1]
    assert last["state"] == "done"
    assert last == server.ask(f"/steer/{job}.json").json
    given, found = last["features"]
    assert (given["status"], given["strength"]) == ("given", pytest.approx(2.0))
    assert found["status"] in ("found", "unreachable", "inexact")
    if found["status"] == "found":
        assert found["kl"] == pytest.approx(0.05, rel=0.02)
    assert last["together"]["kl"] > 0
    assert [len(last["base"]), len(last["steered"])] == [2, 2]
    assert all(text["tokens"] <= 8 for text in last["base"] + last["steered"])
    chances = last["probabilities"]
    assert all(0 <= chance["before"] <= 1 and 0 <= chance["after"] <= 1 for chance in chances)
    changes = [abs(chance["after"] - chance["before"]) for chance in chances]
    assert changes == sorted(changes, reverse=True)


def test_strength_zero_changes_nothing(server: Server):
    job = steer(server, features=[{"feature": 2, "strength": 0}]).json["job"]
    record = server.wait_for_job(job)
    assert record["state"] == "done"
    assert record["together"]["kl"] == pytest.approx(0, abs=1e-6)
    assert [t["text"] for t in record["base"]] == [t["text"] for t in record["steered"]]


def test_all_together_reach_a_target(server: Server):
    two = [{"feature": 1, "strength": 1.0}, {"feature": 4, "strength": 1.0, "sign": -1}]
    record = server.wait_for_job(steer(server, features=two, kl=0.1).json["job"])
    assert record["state"] == "done"
    if record["together"]["status"] == "found":
        assert record["together"]["kl"] == pytest.approx(0.1, rel=0.02)
    assert record["together"]["status"] != "given"


def test_the_same_request_gives_the_same_texts(server: Server):
    records = [server.wait_for_job(steer(server, seed=5).json["job"]) for _ in range(2)]
    assert records[0]["steered"] == records[1]["steered"]
    assert records[0]["base"] == records[1]["base"]


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"features": []}, 422, "features"),
        ({"features": [{"feature": 1}]}, 422, "a strength or a KL target"),
        ({"features": [{"feature": 1, "strength": 1, "kl": 1}]}, 422, "one of them"),
        ({"features": [{"feature": 8, "strength": 1}]}, 404, "Feature 8 does not exist"),
        ({"features": [{"feature": 1, "strength": -1}]}, 422, "strength"),
        ({"features": [{"feature": i, "strength": 1} for i in range(9)]}, 422, "features"),
        ({"prompt": " "}, 422, "spaces"),
        ({"prompt": "a" * 2001}, 422, "2000"),
        ({"samples": 5}, 422, "samples"),
        ({"new_tokens": 201}, 422, "new_tokens"),
        ({"temperature": -1}, 422, "temperature"),
        ({"run": "nothing"}, 404, "no run"),
        ({"layer": 1}, 404, "no finished layer 1"),
    ],
)
def test_steering_that_makes_no_sense_is_refused_at_once(server: Server, changes, status, said):
    answer = steer(server, **changes)
    assert answer.status == status
    assert said in answer.json["error"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompt": "word " * 100}, "at most 64"),
        ({"features": [{"feature": 1, "strength": 1}, {"feature": 1, "kl": 1}]}, "once"),
    ],
)
def test_steering_that_the_model_refuses_fails_with_its_sentence(server: Server, changes, said):
    record = server.wait_for_job(steer(server, **changes).json["job"])
    assert record["state"] == "failed"
    assert said in record["problem"]
    assert server.wait_for_job(steer(server).json["job"])["state"] == "done"


def test_jobs_wait_in_order_are_limited_and_can_be_cancelled(server: Server):
    long = {"new_tokens": 50, "samples": 4}
    first = steer(server, **long).json["job"]
    queue = [steer(server, **long) for _ in range(12)]
    refused = [answer for answer in queue if answer.status == 429]
    assert refused
    assert "waiting already" in refused[0].json["error"]
    waiting = [answer.json["job"] for answer in queue if answer.status == 202]
    listed = server.ask("/steer.json").json
    assert [line["job"] for line in listed["jobs"][: len(waiting)]] == waiting[::-1]
    last = server.ask(f"/steer/{waiting[-1]}.json", method="DELETE").json
    assert last["state"] == "cancelled"
    # A text is read while jobs wait.
    assert server.ask("/runs/tiny/2/firing.json", {"text": SENTENCE}).status == 200
    for job in [first, *waiting]:
        server.ask(f"/steer/{job}.json", method="DELETE")
    for job in [first, *waiting]:
        assert server.wait_for_job(job)["state"] in ("cancelled", "done")
    assert list(server.events(f"/steer/{waiting[-1]}/events"))[-1][0] == "end"


def test_a_running_job_ends_when_it_is_cancelled(server: Server):
    job = steer(server, new_tokens=50, samples=4).json["job"]
    server.wait_for_job(job, "writing")
    server.ask(f"/steer/{job}.json", method="DELETE")
    started = time.monotonic()
    record = server.wait_for_job(job)
    assert record["state"] in ("cancelled", "done")
    assert time.monotonic() - started < 30


def test_unknown_jobs_are_said_to_be_unknown(server: Server):
    for method in ("GET", "DELETE"):
        answer = server.ask("/steer/nothing.json", method=method)
        assert answer.status == 404
        assert "no such steering job" in answer.json["error"]
    assert server.ask("/steer/nothing/events").status == 404


def test_without_a_model_reading_works_and_the_rest_says_why(copied: Run):
    with serving([copied.path], model=False) as server:
        assert server.ask("/runs/tiny/0/features/1.json").status == 200
        assert server.ask("/steer.json").json["models"][0]["state"] == "off"
        for answer in (
            server.ask("/runs/tiny/2/firing.json", {"text": SENTENCE}),
            steer(server),
            server.ask("/test.json", {"run": "tiny", "layer": 0, "features": [1], "texts": ["a"]}),
        ):
            assert answer.status == 503
            assert "--no-model" in answer.json["error"]


def test_a_model_that_is_gone_or_another_is_said_once_and_reading_goes_on(copied: Run):
    manifest = json.loads((copied.path / "manifest.json").read_text())
    for change, said in (
        ({"name": str(copied.path / "gone")}, "cannot be loaded: There is no file or folder"),
        ({"fingerprint": "0" * 64}, "is another model now"),
    ):
        changed = {**manifest, "model": {**manifest["model"], **change}}
        (copied.path / "manifest.json").write_text(json.dumps(changed))
        with serving([copied.path], device="cpu") as server:
            assert server.ask("/test.json").json["models"][0]["state"] == "not loaded"
            job = steer(server).json["job"]
            record = server.wait_for_job(job)
            assert record["state"] == "failed"
            assert said in record["problem"]
            answer = steer(server)  # known by now
            assert answer.status == 503
            assert said in answer.json["error"]
            assert server.ask("/runs/tiny/2/firing.json", {"text": SENTENCE}).status == 503
            status = server.ask("/test.json").json["models"][0]
            assert (status["state"], said in status["problem"]) == ("failed", True)
            assert server.ask("/runs/tiny/0/features/1.json").status == 200
