"""The quick comparison on the real small model, as a user runs it: complete within minutes."""

import subprocess
import sys
import time

import pytest


def cofire(*words):
    command = [sys.executable, "-m", "cofire", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.model
def test_the_quick_comparison_takes_minutes_and_tells_features_from_nulls(
    tmp_path, record_property
):
    import pyarrow.parquet as pq

    folder = tmp_path / "quick"
    began = time.monotonic()
    done = cofire("compare", "--quick", "--device", "cpu", "-o", folder)
    assert done.returncode == 0, done.stderr
    record_property("seconds", round(time.monotonic() - began))
    assert "Failed" not in done.stdout
    for name in ("results.parquet", "results.csv", "comparisons.csv", "tables.md", "compare.html"):
        assert (folder / name).is_file()
    rows = pq.read_table(folder / "results.parquet").to_pylist()
    figures = {
        (row["method"], row["measure"], row["score"]): row["value"]
        for row in rows
        if row["seed"] is None
    }

    def of(method, measure, score=None):
        return figures[method, measure, score]

    lost = "unexplained-variance"
    assert of("snmf", lost) < of("permuted-snmf", lost)
    for higher, score in (
        ("divergence-recovered-mean", None),
        ("concept-auroc", "codes"),
        ("stability", None),
    ):
        assert of("snmf", higher, score) > of("permuted-snmf", higher, score)
    listed = cofire("runs", tmp_path, "--json")
    assert '"complete"' in listed.stdout
    again = cofire("compare", "--quick", "--device", "cpu", "-o", folder)
    assert again.returncode == 0, again.stderr
    assert ": fit:" not in again.stderr


def test_settings_from_a_file_come_first(tmp_path):
    settings = tmp_path / "study.yaml"
    settings.write_text("methods: [snmf, nonsense]\nlayers: [3]\n", encoding="utf-8")
    failed = cofire("compare", settings)
    assert failed.returncode == 2
    assert "Unknown method 'nonsense'" in failed.stderr
    settings.write_text("methodes: snmf\n", encoding="utf-8")
    failed = cofire("compare", settings)
    assert failed.returncode == 2
    assert "did you mean 'methods'?" in failed.stderr
    failed = cofire("sweep", "--vary", "colour", "--values", "1,2")
    assert failed.returncode == 2
    assert "snmf takes" in failed.stderr
