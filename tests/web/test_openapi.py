"""Whatever the OpenAPI document allows, and much that it does not, gets an answer it describes."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import Server, serving
from hypothesis import HealthCheck, given, settings

from cofire.store import Run
from cofire.web import create_app

schemathesis = pytest.importorskip("schemathesis", reason="needs the extra dev")
GenerationMode = schemathesis.GenerationMode

OPERATIONS = [
    found.ok()
    for found in schemathesis.openapi.from_dict(
        create_app([Path(__file__).parent]).openapi()
    ).get_all_operations()
]
# The first request that computes waits for the model, on a busy computer longer than the usual 10.
SECONDS = 120
MISTAKABLE = [found for found in OPERATIONS if found.body or list(found.iter_parameters())]
# A text of spaces, or a job whose features cancel out, fits the document and is still refused.
EXCLUDED = schemathesis.checks.CHECKS.get_by_names(["positive_data_acceptance"])
by_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda found: found.label)
by_mistakable = pytest.mark.parametrize("operation", MISTAKABLE, ids=lambda found: found.label)


@pytest.fixture(scope="module")
def server(stored: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A copy of its own: some of the requests give labels, which other tests would find."""
    copy = shutil.copytree(stored.path, tmp_path_factory.mktemp("asked") / "tiny")
    with serving([copy], device="cpu") as found:
        yield found


def examples(n: int) -> Any:
    return settings(
        max_examples=n,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


def send(case: Any, server: Server) -> None:
    case.call_and_validate(
        base_url=f"http://127.0.0.1:{server.port}",
        headers={"X-Cofire-Token": server.token},
        excluded_checks=EXCLUDED if case.operation.body else [],
        timeout=SECONDS,
    )


@by_operation
def test_any_request_of_the_document_gets_an_answer_of_it(operation, server: Server):
    @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
    @examples(25)
    def ask(case: Any) -> None:
        send(case, server)

    ask()


@by_mistakable
def test_any_other_request_gets_an_answer_of_the_document(operation, server: Server):
    @given(case=operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
    @examples(25)
    def ask(case: Any) -> None:
        send(case, server)

    ask()


@by_operation
def test_requests_to_what_exists_get_an_answer_of_the_document(operation, server: Server):
    known = {"run": "tiny", "layer": 0, "feature": 3, "row": 17, "kind": "tree"}

    @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
    @examples(25)
    def ask(case: Any) -> None:
        for name in set(known) & set(case.path_parameters or {}):
            case.path_parameters[name] = known[name]
        if isinstance(case.body, dict):
            case.body = {**case.body, **{n: known[n] for n in ("run", "layer") if n in case.body}}
        send(case, server)

    ask()


@by_operation
def test_without_the_token_nothing_is_changed_or_computed(operation, server: Server):
    @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
    @examples(3)
    def ask(case: Any) -> None:
        answer = case.call(
            base_url=f"http://127.0.0.1:{server.port}",
            headers={"X-Cofire-Token": "wrong"},
            timeout=SECONDS,
        )
        assert (answer.status_code == 403) == (case.method.upper() not in ("GET", "HEAD"))

    ask()


def test_the_server_still_reads_and_steers(server: Server):
    assert server.ask("/runs/tiny/0/features/1.json").status == 200
    for line in server.ask("/steer.json").json["jobs"]:
        server.ask(f"/steer/{line['job']}.json", method="DELETE")
    request = {"run": "tiny", "layer": 0, "features": [{"feature": 1, "strength": 1}],
               "prompt": "On", "new_tokens": 2}  # fmt: skip
    assert server.wait_for_job(server.ask("/steer.json", request).json["job"])["state"] == "done"
