"""Against overcomplete's SemiNMF and scikit-learn's dictionary learning, to equal loss.

Their atoms are dense, so cofire fits dense atoms too (sparsity 1, no penalty): the same problem.
Each rival runs to the end of its own default schedule (or ``--rival-iterations``); then the loss of
its atoms is taken with exact nonnegative codes, which can only help it, and the time that cofire
takes to a loss as low, start included, is compared. overcomplete is not a dependency; install it
into an environment of its own beside cofire:

    pip install overcomplete
    python benchmarks/solver_rivals.py --activations runs/wiki --rows 15000 --components 100
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import torch
from sklearn.decomposition import MiniBatchDictionaryLearning

from cofire.errors import ConvergenceWarning
from cofire.factorization import SemiNMF
from cofire.nnls import nonnegative_codes
from measuring import machine, stored_rows

THOROUGH = 1e-5


def exact_loss(X: torch.Tensor, atoms: torch.Tensor) -> float:
    """||X - C D||^2 / ||X||^2 with the best nonnegative C, in float64."""
    codes = nonnegative_codes(X, atoms)
    residual = X.double() - codes.double() @ atoms.double()
    return float(residual.square().sum() / X.double().square().sum())


def overcomplete_atoms(X: torch.Tensor, k: int, iterations: int | None) -> torch.Tensor:
    """Atoms of overcomplete's SemiNMF; its codes are the nonnegative factor, as here."""
    from overcomplete.optimization import SemiNMF as Rival

    options = {} if iterations is None else {"max_iter": iterations}
    _, D = Rival(nb_concepts=k, device="cpu").fit(X, **options)
    return D.detach().float().contiguous()


def sklearn_atoms(X: torch.Tensor, k: int, iterations: int | None) -> torch.Tensor:
    """Atoms of scikit-learn's online dictionary learning with codes >= 0."""
    rival = MiniBatchDictionaryLearning(
        k,
        positive_code=True,
        transform_algorithm="lasso_cd",
        fit_algorithm="cd",
        max_iter=iterations or 10,
        batch_size=256,
        random_state=0,
    )
    return torch.from_numpy(rival.fit(X.numpy()).components_).float()


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--activations", type=Path, required=True, help="folder of cofire capture")
    parser.add_argument("--rows", type=int, default=15_000)
    parser.add_argument("--components", type=int, default=100)
    parser.add_argument("--rivals", nargs="+", default=["overcomplete", "scikit-learn"])
    parser.add_argument("--rival-iterations", type=int)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, help="where to write JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore", ConvergenceWarning)
    X = stored_rows(options.activations, options.rows).X.float()
    results = []
    for rival in options.rivals:
        fit = overcomplete_atoms if rival == "overcomplete" else sklearn_atoms
        began = time.perf_counter()
        atoms = fit(X, options.components, options.rival_iterations)
        seconds = time.perf_counter() - began
        loss = exact_loss(X, atoms)
        stamps: list[tuple[float, float]] = []
        began = time.perf_counter()
        SemiNMF(
            options.components,
            sparsity=1.0,
            code_penalty=0.0,
            tol=THOROUGH,  # a rival may go further than the default stop
            device="cpu",
            callback=lambda r, s=stamps, b=began: s.append(
                (time.perf_counter() - b, r.relative_loss)
            ),
        ).fit(X)
        reached = [second for second, value in stamps if value <= loss]
        results.append(
            {
                "rival": rival,
                "rows": len(X),
                "components": options.components,
                "rival_s": seconds,
                "rival_loss": loss,
                "cofire_s_to_that_loss": reached[0] if reached else None,
                "times_sooner": seconds / reached[0] if reached else None,
                "cofire_final_loss": stamps[-1][1],
                "cofire_total_s": stamps[-1][0],
            }
        )
        print(json.dumps(results[-1]), flush=True)
        if options.output:
            report = {"machine": machine(), "results": results}
            options.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
