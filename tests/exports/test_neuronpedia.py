"""Dashboards, uploads and steering vectors, in the published forms.

SAEDashboard's classes read the dashboards and the vectors, and its dashboards are drawn from the
vectors (in an environment of its own); the package ``neuronpedia`` sends to a local server what the
uploads hold.
"""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from other_python import found_by, python_with

from cofire.config import ExportConfig
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.exports import export_run
from cofire.exports.neuronpedia import write_neuronpedia
from cofire.exports.source import RunSite
from cofire.exports.vectors import residual_directions
from cofire.jobs.run_model import model_of
from cofire.progress import SILENT
from cofire.site import Site
from sample_run import make_run

NAMES = """feature_index neuron_alignment_indices neuron_alignment_values neuron_alignment_l1
    correlated_neurons_indices correlated_neurons_l1 correlated_neurons_pearson
    correlated_features_indices correlated_features_l1 correlated_features_pearson
    neg_str neg_values pos_str pos_values frac_nonzero
    freq_hist_data_bar_values freq_hist_data_bar_heights
    logits_hist_data_bar_heights logits_hist_data_bar_values n_prompts_total n_tokens_in_prompt
    dataset activations decoder_weights_dist vector""".split()


def read(path: Path):
    def refuse(text: str):
        raise ValueError(f"{text} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("neuronpedia") / "set"
    config = ExportConfig(
        run=run.path, to="neuronpedia", output=path, model_name="tiny-llama", device="cpu"
    )
    return export_run(config).path


@pytest.fixture(scope="module")
def vectors(run, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("dashboard") / "vectors"
    config = ExportConfig(
        run=run.path, to="saedashboard", output=path, model_name="tiny-llama", device="cpu"
    )
    return export_run(config).path


def test_a_dashboard_says_what_the_run_says(folder, run):
    batch = read(folder / "batch-0.json")
    assert (batch["model_id"], batch["layer"]) == ("tiny-llama", 1)
    assert batch["sae_set"] == "cofire-snmf-mlp-8"
    site = run.sites[0]
    codes = run.codes(site)
    training = np.array([text.split == "train" for text in run.corpus])[run.tokens(site).text_id]
    for feature, shown in zip(run.features(site), batch["features"], strict=True):
        assert sorted(shown) == sorted(NAMES)
        assert shown["frac_nonzero"] == feature.density
        assert shown["pos_str"] == [token.token for token in feature.vocabulary.promoted]
        assert shown["neuron_alignment_indices"] == [n for n, _ in feature.neurons[:10]]
        column = codes[:, feature.index][torch.from_numpy(training)]
        assert sum(shown["freq_hist_data_bar_heights"]) == int((column > 0).sum())
        assert len(shown["activations"]) == len(feature.contexts) + len(feature.quantile_contexts)
        for context, activation in zip(feature.contexts, shown["activations"], strict=False):
            assert activation["tokens"] == list(context.tokens)
            assert activation["values"][activation["qualifying_token_index"]] == pytest.approx(
                context.code, rel=1e-5
            )


def test_intervals_of_codes_hold_their_contexts_and_add_up(folder):
    for shown in read(folder / "batch-0.json")["features"]:
        middle = [one for one in shown["activations"] if one["bin_contains"] != -1]
        for one in middle:
            value = one["values"][one["qualifying_token_index"]]
            assert one["bin_min"] <= value * 1.001
            assert value <= one["bin_max"] * 1.001
        shares = {one["bin_min"]: one["bin_contains"] for one in middle}
        assert sum(shares.values()) <= 1.0 + 1e-9


def test_steering_vectors_are_the_images_of_the_features(folder, run):
    lines = (folder / "steering.jsonl").read_text().splitlines()
    model = model_of(run, "cpu", SILENT)
    images = model.output_direction(run.dictionary(run.sites[0]).atoms, 1)
    assert len(lines) == len(images)
    for number, line in enumerate(lines):
        sent = json.loads(line)
        assert (sent["layerNumber"], sent["hookType"]) == (1, "hook_resid_post")
        assert sent["vectorDefaultSteerStrength"] is None
        expected = images[number] / images[number].norm()
        torch.testing.assert_close(torch.tensor(sent["vector"]), expected, rtol=1e-4, atol=1e-5)
    assert read(folder / "cofire.json")["steering"]["image_of_mlp_neurons"] is True


def test_features_in_the_residual_stream_are_their_own_directions():
    atoms = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    for kind, place in (("resid_pre", "resid_pre"), ("mlp_out", "resid_post")):
        found = residual_directions(Dictionary(atoms, Site(2, kind)), None)
        assert found.site == Site(2, place)
        assert found.vectors.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, 0.0]]
    with pytest.raises(InputError, match="attention heads"):
        residual_directions(Dictionary(atoms, Site(2, "attn")), None)
    with pytest.raises(InputError, match="need their image"):
        residual_directions(Dictionary(atoms, Site(2, "mlp")), None)


def test_more_features_than_one_upload_holds(tmp_path):
    run = make_run(tmp_path / "run", layers=(2,), n_features=130)
    (tmp_path / "out").mkdir()
    write_neuronpedia(RunSite(run, run.sites[0]), tmp_path / "out", steering=None)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [
        "batch-0.json",
        "batch-1.json",
        "cofire.json",
        "upload-0.json",
        "upload-1.json",
    ]
    second = read(tmp_path / "out" / "upload-1.json")["features"]
    assert [feature["index"] for feature in second] == [128, 129]
    dead = read(tmp_path / "out" / "batch-1.json")["features"][1]
    assert dead["activations"] == dead["freq_hist_data_bar_values"] == dead["vector"] == []


def test_a_name_that_neuronpedia_does_not_take_is_refused(run, tmp_path):
    with pytest.raises(InputError, match="letters, digits and dashes; got 'my set'"):
        write_neuronpedia(RunSite(run, run.sites[0]), tmp_path, source_set="my set", steering=None)


def test_saedashboard_opens_vectors_and_dashboards(folder, vectors, run):
    found = found_by("sae_dashboard", "open_sae_dashboard.py", vectors, folder)
    assert (found["hook"], found["layer"]) == ("blocks.1.hook_resid_post", 1)
    assert found["names"][0].startswith("0 ")
    lines = (folder / "steering.jsonl").read_text().splitlines()
    steered = torch.tensor([json.loads(line)["vector"] for line in lines])
    torch.testing.assert_close(torch.tensor(found["products"]).T, steered, rtol=1e-4, atol=1e-5)
    assert found["dashboards"].keys() == {"0", "1"}
    assert all(groups > 0 for groups in found["dashboards"].values())
    assert found["same_batch"] is True
    assert found["features"] == list(range(8))


@pytest.fixture
def server() -> Iterator[tuple[str, list[tuple[str, dict]]]]:
    """An address that keeps what is posted to it."""
    posted: list[tuple[str, dict]] = []

    class Keeping(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sent = json.loads(body)
            posted.append((self.path, sent))
            vector = {
                "modelId": sent.get("modelId"),
                "source": "s",
                "index": "0",
                "label": sent.get("vectorLabel"),
                "hookName": sent.get("hookType"),
                "values": sent.get("vector"),
                "defaultSteerStrength": None,
            }
            answer = json.dumps({"vector": vector, "url": "here"}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Keeping)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}/api", posted
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def test_the_package_neuronpedia_sends_what_the_files_hold(folder, server):
    address, posted = server
    script = Path(__file__).parent / "consumers" / "send_neuronpedia.py"
    done = subprocess.run(
        [python_with("neuronpedia"), str(script), str(folder), address],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    sent = dict(posted)
    assert sent["/api/feature/upload-batch"] == read(folder / "upload-0.json")
    first = json.loads((folder / "steering.jsonl").read_text().splitlines()[0])
    assert sent["/api/vector/new"] == first
