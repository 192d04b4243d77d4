"""What `cofire compare` says and returns when cells fail."""

from pathlib import Path

import pytest

from cofire.cli import main

SMALL = "--layers 2 -k 100 --sparsity 0.1 --seeds 1 --loss-texts 0 --limit 120 --device cpu".split()


def compared(methods: str, tiny_folder: Path, output: Path, *words: str) -> int:
    asked = ["compare", "--model", str(tiny_folder), *SMALL, "--methods", methods]
    return main([*asked, "-o", str(output), *words])


def test_a_comparison_without_a_finished_cell_fails(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for form in ((), ("--json",)):
        assert compared("pca,nmf", tiny_folder, tmp_path / "all", *form) == 1
        (sentence,) = [
            line for line in capsys.readouterr().err.splitlines() if line.startswith("cofire: ")
        ]
        assert "All 2 cells failed; the first, pca-mlp-L2-k100-seed0: Method 'pca'" in sentence


def test_a_comparison_with_some_failed_cells_says_how_many(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compared("pca,random", tiny_folder, tmp_path / "some") == 0
    shown = capsys.readouterr()
    assert "1 of 2 cells failed. The same command tries them again." in shown.out
    assert "All" not in shown.err
