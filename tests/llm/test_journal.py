"""Nothing that was answered is asked again, whatever happened to the process in between."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from chat_serving import KEY, MODEL, Reply, chat_server, error
from cofire.errors import StoreError
from cofire.llm import Answer, ChatModel, JournaledModel
from cofire.llm.journal import question_key


@dataclass
class Echo:
    """Answers with the prompt, or not at all where it is told so; notes what it was asked."""

    name: str = "echo"
    settings: dict = field(default_factory=lambda: {"temperature": 0})
    failing: set = field(default_factory=set)
    asked: list = field(default_factory=list)

    def complete(self, prompts, *, on_answer=None):
        answers = []
        for place, prompt in enumerate(prompts):
            self.asked.append(prompt)
            failed = prompt in self.failing
            answers.append(Answer(None, "Broken.") if failed else Answer(f"{prompt}!"))
            if on_answer is not None:
                on_answer(place, answers[-1])
        return answers


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_was_answered_is_read_from_the_file(tmp_path):
    path = tmp_path / "new" / "journal.jsonl"
    first = JournaledModel(Echo(), path)
    assert isinstance(first, ChatModel)
    first.complete(["a", "b"])
    again = JournaledModel(Echo(), path)
    seen = []
    answers = again.complete(["b", "c", "a"], on_answer=lambda i, a: seen.append((i, a.text)))
    assert [answer.text for answer in answers] == ["b!", "c!", "a!"]
    assert [answer.tries for answer in answers] == [0, 1, 0]
    assert again.model.asked == ["c"]
    assert sorted(seen) == [(0, "b!"), (1, "c!"), (2, "a!")]


def test_a_line_holds_everything(tmp_path):
    path = tmp_path / "journal.jsonl"
    JournaledModel(Echo(failing={"b"}), path).complete(["a ü \u2028", "b"])
    good, failed = records(path)
    assert good["prompt"] == "a ü \u2028"
    assert good["answer"] == "a ü \u2028!"
    assert good["model"] == "echo"
    assert good["settings"] == {"temperature": 0}
    assert good["error"] is None
    assert good["time"].endswith("+00:00")
    assert good["key"] == question_key("echo", {"temperature": 0}, "a ü \u2028")
    assert failed["answer"] is None
    assert failed["error"] == "Broken."
    assert {"seconds", "tries"} <= failed.keys()


def test_failures_are_asked_again_and_both_lines_stay(tmp_path):
    path = tmp_path / "journal.jsonl"
    (failed,) = JournaledModel(Echo(failing={"a"}), path).complete(["a"])
    assert failed.error == "Broken."
    again = JournaledModel(Echo(), path)
    assert again.complete(["a"])[0].text == "a!"
    assert [record["answer"] for record in records(path)] == [None, "a!"]
    assert JournaledModel(Echo(failing={"a"}), path).complete(["a"])[0].text == "a!"


def test_another_model_or_setting_is_another_question(tmp_path):
    path = tmp_path / "journal.jsonl"
    JournaledModel(Echo(), path).complete(["a"])
    for other in (Echo(name="other"), Echo(settings={"temperature": 0, "max_tokens": 9})):
        JournaledModel(other, path).complete(["a"])
        assert other.asked == ["a"]


def test_equal_prompts_are_asked_once(tmp_path):
    model = JournaledModel(Echo(), tmp_path / "journal.jsonl")
    assert [a.text for a in model.complete(["a", "b", "a"])] == ["a!", "b!", "a!"]
    assert model.model.asked == ["a", "b"]


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_half_written_last_line_is_passed_over_and_not_lengthened(tmp_path, kept):
    path = tmp_path / "journal.jsonl"
    JournaledModel(Echo(), path).complete(["a", "b"])
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[: int(len(second) * kept)])
    model = JournaledModel(Echo(), path)
    assert model.damaged_lines == 1
    model.complete(["a", "b", "c"])
    assert model.model.asked == ["b", "c"]
    last = JournaledModel(Echo(), path)
    last.complete(["a", "b", "c"])
    assert last.model.asked == []


def test_a_whole_last_line_without_its_end_counts(tmp_path):
    path = tmp_path / "journal.jsonl"
    JournaledModel(Echo(), path).complete(["a"])
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    model = JournaledModel(Echo(), path)
    model.complete(["a", "b"])
    assert model.model.asked == ["b"]
    assert len(records(path)) == 2


@pytest.mark.parametrize("line", [b"\xff\xfe\n", b"[]\n", b"3\n", b'{"key": 1}\n', b"\n"])
def test_lines_that_are_none_of_ours_do_no_harm(tmp_path, line):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(line)
    assert JournaledModel(Echo(), path).complete(["a"])[0].text == "a!"


def test_a_journal_that_cannot_be_opened_is_said_so(tmp_path):
    with pytest.raises(StoreError, match="Cannot read the journal"):
        JournaledModel(Echo(), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="the journal"):
        JournaledModel(Echo(), tmp_path / "file" / "journal.jsonl").complete(["a"])


LABELLING = textwrap.dedent(
    """
    import sys
    from dataclasses import replace

    import builders
    from cofire.dictionary import Dictionary
    from cofire.interpret.llm_labels import label_features
    from cofire.interpret.reading import read_features
    from cofire.llm import EndpointModel, JournaledModel

    dictionary = Dictionary(builders.atoms(), builders.SITE, penalty=0.1)
    feature = read_features(dictionary, builders.activations())[1]
    context = feature.contexts[0]
    features = [
        replace(feature, index=i, contexts=(replace(context, tokens=(f"word {i}",), focus=0),))
        for i in range(30)
    ]
    model = EndpointModel("tiny", base_url=sys.argv[1], concurrency=3)
    labels = label_features(features, JournaledModel(model, sys.argv[2]))
    assert [label.label for label in labels] == ["Answer."] * 30
    """
)


def test_a_killed_run_goes_on_without_asking_twice(tmp_path):
    pytest.importorskip("openai", reason="needs the extra llm: pip install 'cofire[llm]'")
    journal = tmp_path / "journal.jsonl"
    folders = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "OPENAI_API_KEY": KEY,
        "PYTHONPATH": os.pathsep.join(filter(None, folders)),
    }
    with chat_server(lambda *_: Reply(wait=0.1), key=KEY) as server:
        command = [sys.executable, "-c", LABELLING, server.base_url, str(journal)]
        process = subprocess.Popen(command, env=environment)
        deadline = time.monotonic() + 60
        while not (journal.exists() and journal.read_bytes().count(b"\n") >= 8):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        time.sleep(0.3)  # what was under way ends at the server
        kept = {json.loads(line)["prompt"] for line in journal.read_bytes().splitlines(True)[:-1]}
        assert 7 <= len(kept) < 30
        lines = journal.read_bytes().splitlines(keepends=True)
        journal.write_bytes(b"".join(lines[:-1]) + lines[-1][: len(lines[-1]) // 2])
        before = len(server.log.asked)
        subprocess.run(command, env=environment, check=True)
        second = server.log.asked[before:]
    assert not kept & set(second)
    assert max(Counter(second).values()) == 1
    finished = kept | set(second)
    assert len(finished) == 30
    assert all(any(f"<<word {i}>>" in prompt for prompt in finished) for i in range(30))
    assert KEY not in journal.read_text()


def test_a_refusal_in_the_middle_loses_no_answer(tmp_path):
    pytest.importorskip("openai", reason="needs the extra llm: pip install 'cofire[llm]'")
    from cofire.errors import EndpointError
    from cofire.llm import EndpointModel

    prompts = [str(i) for i in range(6)]
    path = tmp_path / "journal.jsonl"
    closed = [True]

    def answer(prompt, _):
        return error(403, "no more") if closed[0] and prompt == "3" else Reply(prompt)

    with chat_server(answer) as server:
        model = EndpointModel(MODEL, base_url=server.base_url, concurrency=1)
        with pytest.raises(EndpointError):
            JournaledModel(model, path).complete(prompts)
        closed[0] = False
        answers = JournaledModel(model, path).complete(prompts)
    assert [a.text for a in answers] == prompts
    assert [server.log.asked.count(prompt) for prompt in "012"] == [1, 1, 1]
