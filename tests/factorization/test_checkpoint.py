"""A fit that was interrupted goes on to the same result."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from cofire.errors import InputError, StoreError
from cofire.factorization import Checkpoint, SemiNMF
from cofire.factorization.planted import plant

OPTIONS = {"sparsity": 0.1, "tol": 0.0, "max_iter": 40, "code_penalty": 0.0}


class Killed(Exception):  # noqa: N818  (the fit is, nothing went wrong)
    """Stands for a crash: nothing in the fit catches it."""


def stop_at(iteration, error):
    def watch(record):
        if record.iteration == iteration and record.phase != "final":
            raise error

    return watch


@pytest.fixture(scope="module")
def whole(planted):
    with pytest.warns(match="before it converged"):
        return SemiNMF(10, **OPTIONS).fit(planted.X)


def same(one, other):
    assert np.array_equal(one.components_, other.components_)
    assert np.array_equal(one.objective_, other.objective_)
    assert [r.phase for r in one.history_] == [r.phase for r in other.history_]


@pytest.mark.parametrize("iteration", [3, 7, 12, 25, 39])
def test_a_killed_fit_goes_on_to_the_same_result(planted, whole, tmp_path, iteration):
    checkpoint = Checkpoint(tmp_path / "state", every_seconds=0.0)
    options = {**OPTIONS, "checkpoint": checkpoint}
    with pytest.raises(Killed):
        SemiNMF(10, **options, callback=stop_at(iteration, Killed)).fit(planted.X)
    assert checkpoint.present()
    seen = []
    with pytest.warns(match="before it converged"):
        resumed = SemiNMF(10, **options, callback=seen.append).fit(planted.X)
    same(resumed, whole)
    assert len(seen) < len(whole.history_)
    assert not (tmp_path / "state").exists()


def test_chunks_and_kept_penalties_go_on_too(planted, tmp_path):
    chunks = list(torch.split(planted.X, 170))
    options = {"sparsity": 0.05, "sparsity_budget": "dictionary"}
    whole = SemiNMF(10, **options).fit(chunks)
    options["checkpoint"] = Checkpoint(tmp_path / "state", every_seconds=0.0)
    for iteration in (4, 9, 23):
        with pytest.raises(Killed):
            SemiNMF(10, **options, callback=stop_at(iteration, Killed)).fit(chunks)
    same(SemiNMF(10, **options).fit(chunks), whole)


def test_an_interrupt_keeps_the_state_whatever_the_time(planted, whole, tmp_path):
    options = {**OPTIONS, "checkpoint": tmp_path / "state"}
    interrupt = stop_at(9, KeyboardInterrupt)
    stopped = SemiNMF(10, **options, callback=interrupt).fit(planted.X)
    assert stopped.stop_reason_ == "interrupted"
    assert stopped.transform(planted.X).shape == (800, 10)
    with pytest.warns(match="before it converged"):
        same(SemiNMF(10, **options).fit(planted.X), whole)


def test_a_warm_start_goes_on_where_its_own_fit_was_interrupted(planted, tmp_path):
    options = {**OPTIONS, "warm_start": True}
    whole = SemiNMF(10, **options)
    snmf = SemiNMF(10, **options, checkpoint=tmp_path / "state")
    for _ in range(2):  # the second fit begins at the atoms of the first
        with pytest.warns(match="before it converged"):
            whole.fit(planted.X)
        snmf.set_params(callback=stop_at(9, KeyboardInterrupt)).fit(planted.X)
        assert snmf.stop_reason_ == "interrupted"
        with pytest.warns(match="before it converged"):
            same(snmf.set_params(callback=None).fit(planted.X), whole)


def test_a_fit_without_a_seed_goes_on_with_the_one_it_drew(planted, tmp_path):
    options = {"sparsity": 0.05, "random_state": None, "checkpoint": tmp_path / "state"}
    # Sweep 4 comes before the first swap, whatever the seed.
    stopped = SemiNMF(10, **options, callback=stop_at(4, KeyboardInterrupt)).fit(planted.X)
    assert stopped.stop_reason_ == "interrupted"
    resumed = SemiNMF(10, **options).fit(planted.X)
    assert np.array_equal(resumed.objective_[:4], stopped.objective_[:4])


class ReadUntil:
    """Chunks of rows, in the midst of whose last reading the user presses Ctrl-C."""

    def __init__(self, X, passes=None):
        self.chunks = torch.split(X, 170)
        self.passes = passes
        self.begun = 0

    def __iter__(self):
        self.begun += 1
        for number, chunk in enumerate(self.chunks):
            if self.begun == self.passes and number == 2:
                raise KeyboardInterrupt
            yield chunk


@pytest.mark.parametrize("penalty", [0.0, 0.03])
def test_an_interrupt_in_the_final_encode_keeps_the_last_sweep(planted, tmp_path, penalty):
    options = {"sparsity": 0.05, "code_penalty": penalty}
    all_passes = ReadUntil(planted.X)
    whole = SemiNMF(10, **options).fit(all_passes)
    options["checkpoint"] = tmp_path / "state"
    stopped = SemiNMF(10, **options)
    codes = stopped.fit_transform(ReadUntil(planted.X, all_passes.begun))
    assert stopped.stop_reason_ == "interrupted"
    assert np.array_equal(stopped.components_, whole.components_)
    assert np.array_equal(stopped.objective_, whole.objective_[:-1])
    last = stopped.history_[-1]
    assert stopped.relative_loss_ == pytest.approx(last.relative_loss, rel=1e-5)
    rest = planted.X.numpy() - codes @ stopped.components_
    assert np.square(rest, dtype=np.float64).sum() == pytest.approx(last.loss, rel=1e-4)
    same(SemiNMF(10, **options).fit(ReadUntil(planted.X)), whole)


def test_an_interrupt_at_the_last_line_is_one_too(planted):
    def watch(record):
        if record.phase == "final":
            raise KeyboardInterrupt

    stopped = SemiNMF(10, sparsity=0.05, callback=watch).fit(planted.X)
    assert stopped.stop_reason_ == "interrupted"
    assert stopped.history_[-1].phase == "released"


def test_a_kept_state_stays_until_it_is_discarded(planted, tmp_path):
    checkpoint = Checkpoint(tmp_path / "state", keep=True)
    whole = SemiNMF(10, sparsity=0.05, checkpoint=checkpoint).fit(planted.X)
    seen = []
    again = SemiNMF(10, sparsity=0.05, checkpoint=checkpoint, callback=seen.append).fit(planted.X)
    same(again, whole)
    assert [record.phase for record in seen] == ["final"]
    checkpoint.discard()
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("budget", ["atom", "dictionary"])
def test_an_interrupt_after_any_sweep_changes_nothing(planted, tmp_path, budget):
    """Around swaps, trials and the stop rule too: one atom is missing at the start."""
    start = planted.atoms.clone()
    start[4] = 0
    options = {"sparsity": 0.05, "init": start.numpy(), "sparsity_budget": budget, "tol": 1e-3}
    whole = SemiNMF(10, **options).fit(planted.X)
    assert any(record.replaced for record in whole.history_)
    options["checkpoint"] = tmp_path / "state"
    for line in range(len(whole.history_) - 1):
        seen = []

        def watch(record, seen=seen, line=line):
            seen.append(record)
            if len(seen) == line + 1:
                raise KeyboardInterrupt

        stopped = SemiNMF(10, **options, callback=watch).fit(planted.X)
        assert stopped.stop_reason_ == "interrupted"
        same(SemiNMF(10, **options).fit(planted.X), whole)


@pytest.mark.parametrize(
    ("options", "scale", "words"),
    [
        ({"sparsity": 0.05}, 1.0, "is of a fit with sparsity 0.1, not 0.05"),
        ({"random_state": 3}, 1.0, "is of a fit with random_state"),
        ({"init": np.eye(10, 120)}, 1.0, "is of a fit with init"),
        ({}, 2.0, "squared norm of the data"),
    ],
)
def test_a_state_of_another_fit_is_refused(planted, tmp_path, options, scale, words):
    before = {**OPTIONS, "checkpoint": tmp_path / "state"}
    SemiNMF(10, **before, callback=stop_at(5, KeyboardInterrupt)).fit(planted.X)
    with pytest.raises(InputError, match=words) as caught:
        SemiNMF(10, **{**before, **options}).fit(scale * planted.X)
    assert "\n" not in str(caught.value)


def turned(X):
    """Two rows in the middle turned: the same norms, minima and maxima."""
    X = X.clone()
    quiet = X.abs().amax(dim=1).argsort()[:2]
    X[quiet] *= -1
    return X


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (torch.neg, "is of a fit with data"),
        (lambda X: X.flip(0), "is of a fit with data"),
        (turned, "is of a fit with data"),
        (lambda X: list(X.split(170)), r"is of a fit with blocks of rows .* \[1\], not \[5\]"),
    ],
)
def test_a_state_of_other_data_of_the_same_norm_is_refused(planted, tmp_path, change, words):
    X = planted.X.double()  # the sum of their squares is the same in any order, to the last bit
    X = (X * 64).round() / 64
    options = {**OPTIONS, "checkpoint": tmp_path / "state"}
    SemiNMF(10, **options, callback=stop_at(5, KeyboardInterrupt)).fit(X)
    with pytest.raises(InputError, match=words) as caught:
        SemiNMF(10, **options).fit(change(X))
    assert "\n" not in str(caught.value)
    kept = SemiNMF(10, **options, callback=stop_at(6, KeyboardInterrupt)).fit(X.clone())
    assert len(kept.history_) == 7  # with the last line; the refused fits changed nothing


def test_weights_are_told_apart(planted, tmp_path):
    options = {**OPTIONS, "checkpoint": tmp_path / "state"}
    X = torch.cat([planted.X, planted.X])
    weights = np.repeat([1.0, 2.0], len(planted.X))
    interrupt = stop_at(5, KeyboardInterrupt)
    SemiNMF(10, **options, callback=interrupt).fit(X, sample_weight=weights)
    with pytest.raises(InputError, match="checkpoint .* is of a fit with"):
        SemiNMF(10, **options).fit(X, sample_weight=weights[::-1].copy())


def test_a_state_of_an_older_cofire_is_refused_in_a_sentence(planted, tmp_path):
    options = {**OPTIONS, "checkpoint": tmp_path / "state"}
    SemiNMF(10, **options, callback=stop_at(5, KeyboardInterrupt)).fit(planted.X)
    latest = tmp_path / "state" / "latest.json"
    record = json.loads(latest.read_text())
    record["format_version"] = 1
    for name in ("data", "rows of each process", "blocks of rows of each process"):
        record["settings"].pop(name, None)
    latest.write_text(json.dumps(record))
    with pytest.raises(InputError, match="written by an older cofire.* to start anew") as caught:
        SemiNMF(10, **options).fit(planted.X)
    assert "\n" not in str(caught.value)


def test_a_damaged_state_is_named(planted, tmp_path):
    options = {**OPTIONS, "checkpoint": tmp_path / "state"}
    SemiNMF(10, **options, callback=stop_at(5, KeyboardInterrupt)).fit(planted.X)
    latest = tmp_path / "state" / "latest.json"
    folder = tmp_path / "state" / json.loads(latest.read_text())["state"]
    codes = folder / "codes-0-now.bin"
    codes.write_bytes(codes.read_bytes()[:100])
    with pytest.raises(StoreError, match="is damaged .* delete the folder to start anew"):
        SemiNMF(10, **options).fit(planted.X)


SCRIPT = """
import sys
from cofire.factorization import Checkpoint, SemiNMF
from cofire.factorization.planted import plant

X = plant(20_000, 400, 40, sparsity=0.05, seed=1).X
checkpoint = Checkpoint(sys.argv[1], every_seconds=0.0)
SemiNMF(40, sparsity=0.05, tol=0.0, max_iter=30, checkpoint=checkpoint, device="cpu").fit(X)
"""


@pytest.mark.filterwarnings("ignore::cofire.errors.ConvergenceWarning")
def test_a_process_killed_in_the_middle_of_anything(tmp_path):
    """SIGKILL at some moment, which may well be in the middle of writing."""
    options = {"sparsity": 0.05, "tol": 0.0, "max_iter": 30, "device": "cpu"}
    X = plant(20_000, 400, 40, sparsity=0.05, seed=1).X
    latest = tmp_path / "latest.json"
    for _ in range(2):
        before = latest.read_text() if latest.exists() else ""
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)])
        while process.poll() is None and (not latest.exists() or latest.read_text() == before):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert latest.exists()
    resumed = SemiNMF(40, **options, checkpoint=tmp_path).fit(X)
    whole = SemiNMF(40, **options).fit(X)
    np.testing.assert_allclose(resumed.components_, whole.components_, atol=1e-4)
    assert resumed.relative_loss_ == pytest.approx(whole.relative_loss_, rel=1e-6)
