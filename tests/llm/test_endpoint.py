"""The endpoint client against a real server that behaves, and one that does not."""

import logging
import subprocess
import sys
import time
import traceback

import pytest

from chat_serving import KEY, MODEL, Reply, chat_server, error, free_port
from cofire.errors import EndpointError, InputError
from cofire.llm import Answer, ChatModel, EndpointModel
from cofire.llm import endpoint as endpoint_module

pytest.importorskip("openai", reason="needs the extra llm: pip install 'cofire[llm]'")


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    """Waits between tries a tenth as long, so that tests of them end soon."""
    shorter = endpoint_module.wait_before
    monkeypatch.setattr(
        endpoint_module,
        "wait_before",
        lambda retry, asked=None: shorter(retry, chance=lambda: 0.0) / 10 + (asked or 0.0),
    )
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def client(server, **options):
    return EndpointModel(MODEL, **{"base_url": server.base_url, "retries": 2, **options})


def test_answers_come_in_the_order_of_the_prompts():
    with chat_server(lambda prompt, _: Reply(prompt.upper(), wait=0.1 / len(prompt))) as server:
        model = client(server)
        assert isinstance(model, ChatModel)
        seen = []
        answers = model.complete(["a", "bb", "ccc"], on_answer=lambda i, a: seen.append((i, a)))
    assert [answer.text for answer in answers] == ["A", "BB", "CCC"]
    assert sorted(seen, key=lambda item: item[0]) == list(enumerate(answers))
    assert all(a.error is None and a.tries == 1 and a.seconds > 0 for a in answers)


def test_the_temperature_is_0_and_the_length_bounded():
    with chat_server() as server:
        client(server, max_tokens=17).complete(["a"])
    (body,) = server.log.bodies
    assert body["temperature"] == 0
    assert body["max_tokens"] == 17


def test_no_more_requests_at_a_time_than_allowed():
    with chat_server(lambda *_: Reply(wait=0.05)) as server:
        client(server, concurrency=3).complete([str(i) for i in range(12)])
    assert server.log.at_once == 3


def test_half_a_character_does_not_stop_a_prompt():
    with chat_server() as server:
        (found,) = client(server).complete(["caf\ud800é"])
    assert found.tries == 1
    assert server.log.asked == ["caf?é"]


def test_nothing_is_sent_for_no_prompts():
    model = EndpointModel(MODEL, base_url="http://127.0.0.1:1/v1")
    assert model.complete([]) == []


def test_too_many_requests_are_tried_again_after_the_time_asked_for():
    def answer(prompt, count):
        return error(429, "slow down", **{"Retry-After": "0.4"}) if count == 0 else Reply("ok")

    with chat_server(answer) as server:
        (found,) = client(server).complete(["a"])
    assert (found.text, found.tries) == ("ok", 2)
    assert server.log.times[1] - server.log.times[0] >= 0.4


@pytest.mark.parametrize(
    "bad",
    [
        error(500, "broken"),
        error(503, "busy"),
        Reply(cut=True),
        Reply(body=b"<html>gateway</html>", headers={"Content-Type": "text/html"}),
        Reply(body=b'{"choices": [{"mess'),
        Reply(body=b'{"choices": []}'),
        Reply(body=b'{"choices": [{"message": {"role": "assistant", "content": null}}]}'),
        Reply(body=b"[1, 2]"),
        Reply(body=b'"text"'),
        Reply(body=b"\xff\xfe\x00"),
    ],
    ids="500 503 cut html half-json no-choice no-content list string bytes".split(),
)
def test_what_may_pass_is_tried_again_and_what_stays_is_a_failure(bad):
    with chat_server(lambda _, count: bad if count == 0 else Reply("ok")) as server:
        (found,) = client(server).complete(["a"])
        assert (found.text, found.tries, found.error) == ("ok", 2, None)
    with chat_server(lambda prompt, _: bad if prompt == "a" else Reply("ok")) as server:
        failed, good = client(server).complete(["a", "b"])
    assert failed.text is None
    assert failed.error.endswith(".")
    assert failed.tries == 3
    assert good.text == "ok"


def test_a_silent_server_is_given_up_after_the_timeout():
    with chat_server(lambda _, count: Reply("ok", wait=1.0 if count == 0 else 0.0)) as server:
        (found,) = client(server, timeout=0.3).complete(["a"])
        assert (found.text, found.tries) == ("ok", 2)
    with chat_server(lambda *_: Reply(wait=1.0)) as server:
        (found,) = client(server, timeout=0.2, retries=1).complete(["a"])
    assert found == Answer(None, "The endpoint was silent for 0.2 s.", found.seconds, 2)


def test_a_request_the_server_calls_wrong_is_not_repeated():
    with chat_server(lambda *_: error(400, "the prompt is too long")) as server:
        (found,) = client(server).complete(["a"])
    assert found.error == "The endpoint answered 400: the prompt is too long."
    assert len(server.log.asked) == 1


@pytest.mark.parametrize("given", [None, "sk-another"])
def test_a_wrong_key_ends_everything_at_once_without_being_shown(given, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    if given:
        monkeypatch.setenv("OPENAI_API_KEY", given)
    with chat_server(key=KEY) as server:
        model = client(server, concurrency=1)
        with pytest.raises(EndpointError, match="OPENAI_API_KEY") as caught:
            model.complete(["a", "b", "c", "d", "e", "f"])
    assert len(server.log.asked) <= 2
    assert "\n" not in str(caught.value)
    shown = str(caught.value) + caplog.text + repr(model) + str(vars(model))
    assert "sk-another" not in shown


def test_the_key_of_the_named_variable_opens_the_door_and_is_shown_nowhere(monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", KEY)
    echo = error(400, f"what is {KEY}?")
    with chat_server(lambda prompt, _: echo if prompt == "b" else Reply("ok"), key=KEY) as server:
        model = client(server, key_variable="MY_KEY")
        good, echoed = model.complete(["a", "b"])
    assert good.text == "ok"
    assert "[key]" in echoed.error
    assert KEY not in caplog.text + repr(model) + str(vars(model)) + repr([good, echoed])


def test_a_key_is_not_in_the_traceback_of_an_unknown_model(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with chat_server(key=KEY) as server:
        model = EndpointModel("huge", base_url=server.base_url)
        with pytest.raises(EndpointError, match="does not know the model 'huge'") as caught:
            model.complete(["a"])
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_an_unreachable_endpoint_is_said_so_soon():
    model = EndpointModel(MODEL, base_url=f"http://127.0.0.1:{free_port()}/v1")
    begun = time.monotonic()
    with pytest.raises(EndpointError, match="cannot be reached; check the address"):
        model.complete(["a", "b"])
    assert time.monotonic() - begun < 5


def test_an_unknown_host_is_unreachable():
    model = EndpointModel(MODEL, base_url="http://no-such-host.invalid/v1")
    with pytest.raises(EndpointError, match="cannot be reached"):
        model.complete(["a"])


def test_an_endpoint_that_goes_away_keeps_the_answers_that_came():
    with chat_server() as server:
        model = client(server, retries=1)
        model.complete(["a"])
    with pytest.raises(EndpointError, match="cannot be reached"):
        model.complete(["b"])


def test_answers_before_a_refusal_are_handed_over():
    def answer(prompt, _):
        return error(403, "quota used up") if prompt == "3" else Reply(prompt)

    seen = []
    with chat_server(answer) as server, pytest.raises(EndpointError, match="403"):
        client(server, concurrency=1).complete(
            [str(i) for i in range(9)], on_answer=lambda i, a: seen.append(a.text)
        )
    assert seen[:3] == ["0", "1", "2"]
    assert "8" not in server.log.asked


@pytest.mark.parametrize(
    "address", ["", "localhost:8000", "ftp://host/v1", "http:///v1", "http://u:secret@host/v1"]
)
def test_an_address_that_is_none_is_refused_without_showing_a_password(address):
    with pytest.raises(InputError, match="address") as caught:
        EndpointModel(MODEL, base_url=address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"max_tokens": 0}, {"concurrency": 0}, {"timeout": 0.0}, {"retries": -1}]
)
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options))):
        EndpointModel(MODEL, base_url="http://localhost/v1", **options)


def test_an_empty_model_name_is_refused():
    with pytest.raises(InputError, match="name is empty"):
        EndpointModel(" ", base_url="http://localhost/v1")


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(EndpointError, match=r"pip install 'cofire\[llm\]'"):
        EndpointModel(MODEL, base_url="http://localhost/v1").complete(["a"])


def test_asking_an_endpoint_loads_no_torch():
    code = "import sys, cofire.llm, cofire.evaluation.judging; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
