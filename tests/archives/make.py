"""Write the stored examples of the current file formats.

Run this once when a format gets a new version, then leave its files alone for ever: the test beside
it opens every example that any version of cofire has written.

    python tests/archives/make.py
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import builders  # noqa: E402
from cofire.activations import Activations  # noqa: E402
from cofire.dictionary import Dictionary  # noqa: E402
from cofire.evaluation.path import PathSettings, walk_path  # noqa: E402
from cofire.evaluation.path_points import PathStep  # noqa: E402
from cofire.interpret.reading import read_features  # noqa: E402
from cofire.store import (  # noqa: E402
    ActivationStore,
    PathFolder,
    Run,
    activation_store,
    path_folder,
    run,
)


def main() -> None:
    data = builders.activations()
    model = {"name": "planted", "fingerprint": "0", "dtype": "float32"}
    store = ActivationStore.create(
        HERE / f"activations-v{activation_store.FORMAT_VERSION}",
        data.corpus,
        [data.site],
        {"model": model, "capture": {"data": "planted"}},
        row_bytes=4 * data.shape[1],
    )
    for number, (start, stop) in store.unfinished():
        rows = (data.tokens.text_id >= start) & (data.tokens.text_id < stop)
        part = data.take(rows)
        store.write_shard(number, part.tokens, {data.site: part.X})
    dictionary = Dictionary(builders.atoms(), data.site, penalty=0.1, provenance={"seed": 0})
    codes = dictionary.encode(data.X)
    Run.create(
        HERE / f"run-v{run.FORMAT_VERSION}",
        config={"method": "snmf", "n_components": 5, "layers": "2"},
        sites=[data.site],
        corpus=data.corpus,
        model=model,
        capture={"data": "planted"},
    ).write_site(
        dictionary,
        codes,
        data.tokens,
        read_features(dictionary, data, codes=codes),
        objective=[{"iteration": 1, "phase": "released", "relative_loss": 0.5}],
        figures={"seconds": 1.5, "sweeps": 3, "stop_reason": "converged"},
    )
    make_path(data, model)


def make_path(data: Activations, model: dict[str, str]) -> None:
    """A path of two points with two seeds."""
    steps = [PathStep(2, 0.3), PathStep(3, 0.3)]
    folder = PathFolder.create(
        HERE / f"path-v{path_folder.FORMAT_VERSION}",
        steps=steps,
        site=data.site,
        config={"seeds": 2},
        model=model,
        capture={"data": "planted"},
        corpus={"texts": len(data.corpus), "sha256": data.corpus.fingerprint},
    )
    for number, solution in enumerate(walk_path(data, steps, PathSettings(seeds=2, device="cpu"))):
        folder.write_point(number, solution)


if __name__ == "__main__":
    main()
