"""Runs and features as JSON: what is stored is what is answered."""

import json
from pathlib import Path

import numpy as np
import pytest
from asking import Server, serving

from cofire.interpret.wording import readable, token_text
from cofire.store import Run


def test_the_list_of_runs_names_every_run(server: Server):
    (card,) = server.ask("/index.json").json["runs"]
    assert card["run"] == "tiny"
    assert card["state"] == "complete"
    assert card["layers"] == [0, 2]
    assert card["features"] == 8


def test_the_overview_has_the_figures_of_every_layer(server: Server, stored: Run):
    page = server.ask("/runs/tiny.json").json
    assert [layer["layer"] for layer in page["layers"]] == [0, 2]
    for layer, site in zip(page["layers"], stored.sites, strict=True):
        features = stored.features(site)
        assert layer["variance_train"] == pytest.approx(features.fit.explained_variance)
        assert layer["variance_heldout"] == pytest.approx(features.heldout.explained_variance)
        assert layer["dead"] == sum(feature.dead for feature in features)
        curve = stored.objective(site)
        assert len(layer["objective"]) == len(curve)
        assert layer["objective"][-1]["relative_loss"] == curve[-1]["relative_loss"]
    assert page["facts"]["Features"].startswith("8 a layer")
    assert "/" not in page["facts"]["Model"]


def test_the_list_of_features_is_paged_in_order(server: Server, stored: Run):
    labels = [feature.label for feature in stored.features(stored.sites[0])]
    first = server.ask("/runs/tiny/0/features.json?limit=3").json
    rest = server.ask("/runs/tiny/0/features.json?offset=3&limit=500").json
    assert (first["total"], first["found"]) == (8, 8)
    rows = first["features"] + rest["features"]
    assert [row["feature"] for row in rows] == list(range(8))
    assert [row["label"] for row in rows] == [readable(label) for label in labels]
    assert server.ask("/runs/tiny/0/features.json?offset=8").json["features"] == []


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("measure", ["density", "max_code", "auroc", "neurons", "nearest_cosine"])
def test_features_are_sorted_by_any_measure_missing_ones_last(server: Server, measure, order):
    page = server.ask(f"/runs/tiny/2/features.json?sort={measure}&order={order}").json
    values = [row["measures"][measure] for row in page["features"]]
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=order == "desc")
    assert all(value is None for value in values[len(known) :])
    (about,) = [m for m in page["measures"] if m["name"] == measure]
    assert about["low"] == (min(known) if known else None)
    assert about["high"] == (max(known) if known else None)
    assert about["missing"] == len(values) - len(known)


def test_conditions_on_measures_filter(server: Server):
    every = server.ask("/runs/tiny/0/features.json").json["features"]
    middle = float(np.median([row["measures"]["density"] for row in every]))
    found = server.ask(f"/runs/tiny/0/features.json?where=density%3E={middle:.6f}").json
    wanted = [r["feature"] for r in every if r["measures"]["density"] >= round(middle, 6)]
    assert 0 < found["found"] < 8
    assert [row["feature"] for row in found["features"]] == wanted
    both = f"where=density%3E={middle:.6f}&where=density%3C{middle:.6f}"
    assert server.ask(f"/runs/tiny/0/features.json?{both}").json["found"] == 0


def test_search_finds_labels_and_tokens(server: Server, stored: Run):
    features = stored.features(stored.sites[0])
    wanted = features[3].firing_types[0][0]
    found = server.ask(f"/runs/tiny/0/features.json?search={wanted.upper()}").json["features"]
    assert [row["feature"] for row in found] == [f.index for f in features.search(wanted)]
    assert 3 in [row["feature"] for row in found]
    assert server.ask("/runs/tiny/0/features.json?search=zzzzzz").json["found"] == 0


def test_flags_concepts_and_neurons_filter(server: Server, stored: Run):
    features = stored.features(stored.sites[0])

    def numbers(query: str) -> list[int]:
        return [
            r["feature"] for r in server.ask(f"/runs/tiny/0/features.json?{query}").json["features"]
        ]

    dead = [f.index for f in features if f.dead]
    assert numbers("flag=dead") == dead
    assert numbers("without=dead") == [f.index for f in features if not f.dead]
    concept = features[0].concept.concept
    assert numbers(f"concept={concept}") == [
        f.index for f in features if f.concept.concept == concept
    ]
    neuron = features[5].neurons[0][0]
    assert numbers(f"neuron={neuron}") == [
        f.index for f in features if neuron in [n for n, _ in f.neurons]
    ]
    assert numbers("sure=true") == [f.index for f in features if f.concept.sure]


def test_a_feature_page_has_what_is_stored(server: Server, stored: Run):
    site = stored.sites[1]
    feature = stored.features(site)[4]
    page = server.ask("/runs/tiny/2/features/4.json").json
    assert page["label"] == page["offline_label"] == readable(feature.label)
    assert not page["edited"]
    assert len(page["contexts"]) == len(feature.contexts)
    for shown, context in zip(
        page["contexts"] + page["quantile_contexts"],
        (*feature.contexts, *feature.quantile_contexts),
        strict=True,
    ):
        assert shown["tokens"] == [token_text(piece) for piece in context.tokens]
        assert shown["codes"] == pytest.approx(context.codes)
        assert shown["quantile"] == context.quantile
    assert [(n["neuron"], n["weight"]) for n in page["neurons"]] == [
        (n, pytest.approx(w)) for n, w in feature.neurons
    ]
    assert [t["token_id"] for t in page["promoted"]] == [
        t.token_id for t in feature.vocabulary.promoted
    ]
    assert [c["concept"] for c in page["concepts"]] == [n for n, _, _ in feature.concept_scores]
    train = np.array([text.split != "heldout" for text in stored.corpus])
    column = stored.codes(site)[train[stored.tokens(site).text_id], 4].numpy()
    assert page["histogram"]["rows"] == len(column)
    assert page["histogram"]["zero"] == int((column <= 0).sum())
    assert sum(page["histogram"]["counts"]) == int((column > 0).sum())


def test_similar_and_cofiring_features_are_those_of_a_hand_calculation(server: Server, stored: Run):
    site = stored.sites[0]
    atoms = stored.dictionary(site).atoms.numpy().astype(float)
    unit = atoms / np.linalg.norm(atoms, axis=1, keepdims=True)
    found = server.ask("/runs/tiny/0/features/2/similar.json").json["features"]
    assert {s["feature"]: pytest.approx(s["cosine"], abs=1e-5) for s in found} == {
        i: float(unit[i] @ unit[2]) for i in range(8) if i != 2
    }
    assert [abs(s["cosine"]) for s in found] == sorted(
        [abs(s["cosine"]) for s in found], reverse=True
    )
    train = np.array([text.split != "heldout" for text in stored.corpus])
    codes = stored.codes(site)[train[stored.tokens(site).text_id]].numpy().astype(float)
    fires = codes > 0
    for other in server.ask("/runs/tiny/0/features/2/cofiring.json").json["features"]:
        i = other["feature"]
        assert other["both"] == int((fires[:, i] & fires[:, 2]).sum())
        assert other["jaccard"] == pytest.approx(other["both"] / (fires[:, i] | fires[:, 2]).sum())
        cosine = (
            codes[:, i] @ codes[:, 2] / np.linalg.norm(codes[:, i]) / np.linalg.norm(codes[:, 2])
        )
        assert other["cosine"] == pytest.approx(cosine, rel=1e-4)


def test_more_of_a_context_is_its_text(server: Server, stored: Run):
    site = stored.sites[0]
    page = server.ask("/runs/tiny/0/features/1.json").json
    context = page["contexts"][0]
    path = f"/runs/tiny/0/rows/{context['row']}.json?feature=1&before=1000&after=1000"
    window = server.ask(path).json
    shown = "".join(window["tokens"]).replace("↵", "\n").replace("␣", " ")
    assert shown == stored.corpus[context["text_id"]].text
    assert (window["more_before"], window["more_after"]) == (0, 0)
    assert window["features"][0]["codes"][window["focus"]] == pytest.approx(context["code"])
    short = server.ask(f"/runs/tiny/0/rows/{context['row']}.json?before=0&after=1").json
    assert len(short["tokens"]) <= 2
    assert short["more_before"] + short["more_after"] + len(short["tokens"]) == len(
        window["tokens"]
    )
    assert len(stored.tokens(site)) > context["row"]


def test_two_features_side_by_side(server: Server, stored: Run):
    page = server.ask("/compare.json?a=tiny/0/1&b=tiny/0/2").json
    assert (page["first"]["feature"], page["second"]["feature"]) == (1, 2)
    shared = {n for n, _ in stored.features(stored.sites[0])[1].neurons} & {
        n for n, _ in stored.features(stored.sites[0])[2].neurons
    }
    assert {n["neuron"] for n in page["atoms"]["shared"]} == shared
    similar = server.ask("/runs/tiny/0/features/1/similar.json").json["features"]
    assert page["atoms"]["cosine"] == pytest.approx(
        next(s["cosine"] for s in similar if s["feature"] == 2), abs=1e-5
    )
    across = server.ask("/compare.json?a=tiny/0/1&b=tiny/2/1").json
    assert across["atoms"] is None
    assert across["codes"]["both"] > 0
    assert across["notes"] == ["Atoms at different sites have nothing in common."]


def test_a_layer_beside_itself_pairs_every_feature_with_itself(server: Server):
    page = server.ask("/compare.json?a=tiny/0&b=tiny/0").json
    assert page["by"] == "atoms"
    assert all(pair["first"] == pair["second"] for pair in page["pairs"])
    assert page["mean_cosine"] == pytest.approx(1, abs=1e-5)
    across = server.ask("/compare.json?a=tiny/0&b=tiny/2").json
    assert across["by"] == "codes"
    assert len({pair["second"] for pair in across["pairs"]}) == 8


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/runs/nothing.json", 404, "no run 'nothing'"),
        ("/runs/tiny/1/features.json", 404, "no finished layer 1; it has 0, 2"),
        ("/runs/tiny/0/features/8.json", 404, "Feature 8 does not exist"),
        ("/runs/tiny/0/features/8/similar.json", 404, "Feature 8 does not exist"),
        ("/runs/tiny/0/features/8/cofiring.json", 404, "Feature 8 does not exist"),
        ("/runs/tiny/0/features/-1.json", 422, "feature"),
        ("/runs/tiny/0/features.json?limit=0", 422, "limit"),
        ("/runs/tiny/0/features.json?limit=501", 422, "limit"),
        ("/runs/tiny/0/features.json?sort=nothing", 422, "sort"),
        ("/runs/tiny/0/features.json?where=density", 422, "auroc"),
        ("/runs/tiny/0/features.json?where=nothing%3E1", 422, "no measure 'nothing'"),
        ("/runs/tiny/0/rows/100000000.json", 404, "Row 100000000 does not exist"),
        ("/compare.json?a=tiny/0&b=tiny/0/1", 422, "two features or two layers"),
        ("/compare.json?a=tiny&b=tiny", 422, "pattern"),
        ("/nothing", 404, "no such page"),
        ("/runs/tiny/0/features/x", 404, "no such page"),
    ],
)
def test_what_is_not_there_is_said_in_one_sentence(server: Server, path, status, said):
    answer = server.ask(path)
    assert answer.status == status
    assert set(answer.json) == {"error"}
    assert said in answer.json["error"]
    assert answer.json["error"].endswith(".")
    assert "\n" not in answer.json["error"]


def test_every_page_is_the_same_file_and_has_a_twin(server: Server):
    pages = ["/", "/runs/tiny", "/runs/tiny/0/features", "/runs/tiny/0/features/1", "/test",
             "/steer", "/tree", "/core", "/flow", "/weights", "/comparisons", "/path"]  # fmt: skip
    first = server.ask("/")
    assert first.headers["content-type"].startswith("text/html")
    for page in [*pages, "/compare"]:
        assert server.ask(page).body == first.body
    for page in pages:
        twin = server.ask(f"{page}.json" if page != "/" else "/index.json")
        assert twin.status == 200
        assert twin.headers["content-type"] == "application/json"


def test_the_openapi_document_describes_every_twin(server: Server):
    document = server.ask("/openapi.json").json
    for path in ("/index.json", "/runs/{run}.json", "/runs/{run}/{layer}/features/{feature}.json"):
        schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
        assert "$ref" in schema["schema"]
    for methods in document["paths"].values():
        assert all(operation["summary"] for operation in methods.values())


def test_a_run_without_vocabulary_or_heldout_texts_is_served(tmp_path: Path):
    from sample_run import make_run

    make_run(tmp_path / "plain", change=lambda feature: feature)
    with serving([tmp_path / "plain"]) as server:
        page = server.ask("/runs/plain/2/features/0.json").json
        assert page["promoted"] is None
        dead = server.ask("/runs/plain/2/features/23.json").json
        assert "dead" in dead["flags"]
        assert dead["contexts"] == []
        assert sum(dead["histogram"]["counts"]) == 0
        assert dead["cofiring"] == []
        names = [row["label"] for row in server.ask("/runs/plain/2/features.json").json["features"]]
        listed = server.ask("/runs/plain/2/features.json?sort=label").json["features"]
        assert [row["label"] for row in listed] == sorted(names, key=str.casefold)
        assert json.dumps(page)


def test_a_page_around_a_feature_holds_it(server: Server):
    whole = server.ask("/runs/tiny/2/features.json?sort=density").json["features"]
    for row in whole:
        around = f"sort=density&limit=3&around={row['feature']}"
        page = server.ask(f"/runs/tiny/2/features.json?{around}")
        shown = [one["feature"] for one in page.json["features"]]
        assert row["feature"] in shown
        assert page.json["offset"] % 3 == 0
    assert server.ask("/runs/tiny/2/features.json?limit=3&around=999").json["offset"] == 0
