"""A fit's state on disk, from which it goes on to the same result as without the interruption.

Layout, one folder a fit; every process writes its own codes::

    latest.json                     which state counts, its history, settings and place
    sweep-00042/factors.safetensors atoms, products, kept entries, state of the random generator
    sweep-00042/codes-0-now.bin     codes of process 0, block by block
    sweep-00042/codes-0-before.bin  those before the last sweep, for extrapolation

``latest.json`` is replaced last, in one step, and only then is the older state removed: a kill
leaves one of the two whole.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cofire.errors import InputError, StoreError
from cofire.factorization.code_blocks import CodeBlocks
from cofire.factorization.history import History, Phase, SweepRecord
from cofire.factorization.momentum import Momentum
from cofire.factorization.objective import Products
from cofire.factorization.sweep import Point
from cofire.ranks import ONE, Ranks
from cofire.types import Int, Tensor

_FORMAT_VERSION = 2
_LATEST = "latest.json"
_FACTORS = "factors.safetensors"


Trial: TypeAlias = Literal["repair", "budget"]

STOP_WINDOW = 5
"""Sweeps over which the decrease is averaged before it is compared with ``tol``."""


@dataclass
class Place:
    """Where a fit stands in its schedule.

    Attributes:
        most_swaps: atoms that one repair may swap.
        iteration: sweeps over the data.
        done: sweeps of the first phase, those on trial left out.
        released: whether the first phase is over.
        due: what is to be tried before the next sweep.
        recent: the last objectives of the second phase, which decide when to stop.
    """

    most_swaps: int
    iteration: int = 0
    done: int = 0
    released: bool = False
    due: tuple[Trial, ...] = ()
    recent: tuple[float, ...] = ()

    def count(self, phase: Phase, objective: float, trials: tuple[Trial, ...]) -> None:
        """Count a sweep that is over; ``trials`` are due after one of the first phase."""
        if phase == "released":
            self.recent = (*self.recent, objective)[-STOP_WINDOW - 1 :]
        else:
            self.done += 1
            self.due = trials


class Saved(NamedTuple):
    """What a checkpoint gives back."""

    place: Place
    here: Point
    momentum: Momentum
    kept: Int[Tensor, "features"]


class OtherFitError(InputError):
    """A checkpoint is of other settings or other data."""


class Checkpoint:
    """A folder in which a fit keeps its state.

    Args:
        folder: made when the first state is saved.
        every_seconds: least time between two states, since each costs writing the codes twice.
        keep: leave the last state when the fit is over. The caller discards it once the result is
            safe; until then the same fit gives the same result at little cost.
    """

    def __init__(
        self, folder: Path | str, *, every_seconds: float = 60.0, keep: bool = False
    ) -> None:
        self.folder = Path(folder)
        self.every_seconds = every_seconds
        self.keep = keep

    def present(self) -> bool:
        """Whether a state was saved."""
        return (self.folder / _LATEST).exists()

    def discard(self) -> None:
        """Remove the folder with everything that this class has written."""
        for path in self.folder.glob("sweep-*"):
            shutil.rmtree(path, ignore_errors=True)
        (self.folder / _LATEST).unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def opened(
        self,
        settings: Mapping[str, Any],
        *,
        history: History,
        generator: torch.Generator,
        device: torch.device,
        ranks: Ranks = ONE,
    ) -> "OpenCheckpoint":
        """The folder, for one fit.

        Args:
            settings: everything the result depends on, as plain JSON values; a state saved under
                other settings is refused.
            history: of the fit; gets the records of the saved state.
            generator: of the fit; set to the saved state.
            device: where factors are loaded to.
            ranks: all processes of the fit.
        """
        return OpenCheckpoint(self, settings, history, generator, device, ranks)


class OpenCheckpoint:
    """See ``Checkpoint.opened``."""

    def __init__(
        self,
        where: Checkpoint,
        settings: Mapping[str, Any],
        history: History,
        generator: torch.Generator,
        device: torch.device,
        ranks: Ranks,
    ) -> None:
        self._where = where
        self._settings = json.loads(json.dumps({**settings, "processes": ranks.size}))
        self._history = history
        self._generator = generator
        self._device = device
        self._ranks = ranks
        self._saved_at = time.monotonic()
        self._iteration: int | None = None

    @property
    def keep(self) -> bool:
        """Whether the last state stays when the fit is over."""
        return self._where.keep

    def save(
        self,
        place: Place,
        here: Point,
        momentum: Momentum,
        kept: Int[Tensor, "features"],
        *,
        now: bool = False,
    ) -> None:
        """Write the state when it is time to, or ``now``, unless it is there already.

        Raises:
            StoreError: when the folder cannot be written.
        """
        if place.iteration == self._iteration:
            return  # what counts is not written over
        due = now or time.monotonic() - self._saved_at >= self._where.every_seconds
        if not self._ranks.copy_first(torch.tensor(int(due), device=self._device)):
            return
        try:
            self._write(place, here, momentum, kept)
        except OSError as error:
            raise StoreError(
                f"The checkpoint in {self._where.folder} cannot be written ({error}); free some "
                "room or choose another folder."
            ) from error
        self._saved_at = time.monotonic()
        self._iteration = place.iteration

    def _write(self, place: Place, here: Point, momentum: Momentum, kept: Tensor) -> None:
        folder = self._where.folder / f"sweep-{place.iteration:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        before = momentum.before
        shapes = {"now": _write_blocks(here.codes, self._codes(folder, "now"))}
        if before is not None:
            shapes["before"] = _write_blocks(before.codes, self._codes(folder, "before"))
        _write_json(folder / f"codes-{self._ranks.rank}.json", shapes)
        if self._ranks.rank == 0:
            tensors = {"atoms": here.atoms, "kept": kept, "generator": self._generator.get_state()}
            if before is not None:
                tensors["atoms_before"] = before.atoms
            if here.products is not None:
                tensors |= {"cross": here.products.cross, "gram": here.products.gram}
            save_file(
                {name: t.contiguous().cpu() for name, t in tensors.items()}, folder / _FACTORS
            )
        self._ranks.gather(0.0)  # all codes are there before the state counts
        if self._ranks.rank == 0:
            record = {
                "format_version": _FORMAT_VERSION,
                "state": folder.name,
                "settings": self._settings,
                "place": asdict(place),
                "weight": momentum.weight,
                "seconds": time.perf_counter() - self._history.began,
                "history": [asdict(line) for line in self._history.records],
            }
            _write_json(self._where.folder / _LATEST, record)
            for old in self._where.folder.glob("sweep-*"):
                if old != folder:
                    shutil.rmtree(old, ignore_errors=True)

    def load(self, spare: Callable[[], CodeBlocks]) -> Saved | None:
        """The saved state, or None when there is none.

        Args:
            spare: gives an unused set of codes.

        Raises:
            OtherFitError: when it was saved under other settings.
            StoreError: when it is damaged.
        """
        if not self._where.present():
            return None
        latest = self._where.folder / _LATEST
        try:
            record = json.loads(latest.read_text())
            self._compare(record)
            folder = self._where.folder / record["state"]
            tensors = load_file(folder / _FACTORS)
            self._generator.set_state(tensors.pop("generator"))
            tensors = {name: t.to(self._device) for name, t in tensors.items()}
            shapes = json.loads((folder / f"codes-{self._ranks.rank}.json").read_text())
            codes = _read_blocks(self._codes(folder, "now"), shapes["now"], spare(), self._device)
            here = Point(tensors["atoms"], codes)
            if "cross" in tensors:
                n_features, n_channels = tensors["cross"].shape
                here.products = Products(n_features, n_channels, self._device)
                here.products.cross, here.products.gram = tensors["cross"], tensors["gram"]
            before = None
            if "before" in shapes:
                path = self._codes(folder, "before")
                others = _read_blocks(path, shapes["before"], spare(), self._device)
                before = Point(tensors["atoms_before"], others)
            self._history.records[:] = [SweepRecord(**line) for line in record["history"]]
            self._history.began = time.perf_counter() - record["seconds"]
            momentum = Momentum(before, record["weight"])
            lists = {name: tuple(record["place"][name]) for name in ("due", "recent")}
            place = Place(**{**record["place"], **lists})
            self._iteration = place.iteration
            return Saved(place, here, momentum, tensors["kept"])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            if isinstance(error, InputError):
                raise
            raise StoreError(
                f"The checkpoint in {self._where.folder} is damaged ({error}); delete the folder "
                "to start anew."
            ) from error

    def finished(self) -> None:
        """The fit is done: remove the state unless it is to be kept."""
        if self.keep:
            return
        self._ranks.gather(0.0)
        if self._ranks.rank == 0:
            self._where.discard()

    def _compare(self, record: Mapping[str, Any]) -> None:
        if record["format_version"] > _FORMAT_VERSION:
            raise InputError(
                f"The checkpoint in {self._where.folder} was written by a newer cofire; use that "
                "version or delete the folder."
            )
        if record["format_version"] < _FORMAT_VERSION:
            raise OtherFitError(
                f"The checkpoint in {self._where.folder} was written by an older cofire, which did "
                "not tell all data apart; delete the folder to start anew."
            )
        before = record["settings"]
        for name, value in self._settings.items():
            if before.get(name) != value:
                raise OtherFitError(
                    f"The checkpoint in {self._where.folder} is of a fit with {name} "
                    f"{before.get(name)!r}, not {value!r}; use the same settings and data, another "
                    "folder, or delete it to start anew."
                )

    def _codes(self, folder: Path, which: str) -> Path:
        return folder / f"codes-{self._ranks.rank}-{which}.bin"


def fingerprint(values: Tensor) -> str:
    """A name for some values, by which other values are told apart."""
    wide = values.detach().cpu().double()  # numpy has no bfloat16
    return hashlib.sha256(str(tuple(wide.shape)).encode() + wide.numpy().tobytes()).hexdigest()[:16]


def _write_blocks(blocks: CodeBlocks, path: Path) -> list[list[Any]]:
    shapes = []
    with path.open("wb") as file:
        for codes in blocks:
            values = codes.contiguous().cpu().numpy()
            file.write(values.reshape(-1).view(np.uint8).data)
            shapes.append([*values.shape, str(values.dtype)])
        file.flush()
        os.fsync(file.fileno())
    return shapes


def _read_blocks(
    path: Path, shapes: list[list[Any]], into: CodeBlocks, device: torch.device
) -> CodeBlocks:
    with path.open("rb") as file:
        for number, (features, rows, kind) in enumerate(shapes):
            values = np.fromfile(file, dtype=kind, count=features * rows)
            into.write(number, torch.from_numpy(values.reshape(features, rows)).to(device))
    return into


def _write_json(path: Path, value: Any) -> None:
    new = path.with_suffix(".new")
    with new.open("w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
