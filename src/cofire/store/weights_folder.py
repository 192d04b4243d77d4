"""Weights folders: what was read off the weights of some heads, each kept once it is finished.

Layout, format version 1::

    manifest.json                  settings, model, matrices asked for, those of them that cannot
                                   be taken apart (left_out: layer, head, why), hardware, checksums
    heads/9-2.json                 everything about head 2 of layer 9: figures, nulls, what it does
                                   on texts; its verdict is for other readers, cofire decides it
                                   anew from the figures
    heads/9-2.safetensors          mixing.METHOD [rows features], components.METHOD
                                   [features channels] of every method
    heads.parquet                  one line a head
    components.parquet             one line a component of every method
    verdicts.json                  EvalResult records of the framework Mechanistic Validity
    weights.html, heads/9-2.html   pages; derived, not checksummed
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.torch import load_file, save_file

from cofire.errors import StoreError
from cofire.store.archive import MANIFEST
from cofire.store.archive_folder import ArchiveFolder
from cofire.types import Tensor
from cofire.weights.decompositions import Decomposition
from cofire.weights.eval_result import envelope, eval_results
from cofire.weights.head_record import ComponentRecord, HeadRecord

TEXT_SCORES = ("previous", "first", "itself", "copying")
"""What is told of every head on texts, see ``OnTexts``; ``text_`` before them in the table."""

HEADS, COMPONENTS, VERDICTS = "heads.parquet", "components.parquet", "verdicts.json"


class WeightsFolder(ArchiveFolder):
    """Stored decompositions of weights. Made by ``create``, found again by ``open``."""

    format = "cofire-weights"
    required = MappingProxyType({"wanted": list, "config": dict, "model": dict})

    @classmethod
    def create(
        cls, path: Path, *, wanted: Sequence[tuple[int, int | None]], **header: Any
    ) -> "WeightsFolder":
        """Start a folder without heads.

        Args:
            path: a folder that does not exist or is empty.
            wanted: layer and head of every matrix that will be filled in, in order; no head for a
                matrix of the whole layer.
            header: further entries of the manifest (config, model, environment).

        Raises:
            StoreError: when the folder holds something else, or cannot be written.
        """
        return cls._begin(path, {**header, "wanted": [list(one) for one in wanted]})

    @property
    def wanted(self) -> list[tuple[int, int | None]]:
        """Layer and head of every matrix asked for."""
        return [(int(layer), head) for layer, head in self.manifest["wanted"]]

    @property
    def left_out(self) -> dict[tuple[int, int | None], str]:
        """Matrices that cannot be taken apart, and why; no longer part of ``wanted``."""
        return {(int(one[0]), one[1]): str(one[2]) for one in self.manifest.get("left_out", [])}

    @property
    def finished(self) -> list[tuple[int, int | None]]:
        """Those that are there."""
        return [one for one in self.wanted if self.holds(*one)]

    def holds(self, layer: int, head: int | None) -> bool:
        """Whether a matrix was finished."""
        name = part_name(layer, head)
        return self._archive.has(f"{name}.json") and self._archive.has(f"{name}.safetensors")

    def head(self, layer: int, head: int | None) -> HeadRecord:
        """Everything about one matrix.

        Raises:
            StoreError: when it is not finished, or its file is damaged.
        """
        file = self._archive.file(f"{part_name(layer, head)}.json")
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise StoreError(f"{file} is damaged ({error}); delete it and run again.") from error
        return HeadRecord.from_record(record)

    def heads(self) -> list[HeadRecord]:
        """All finished matrices, in order."""
        return [self.head(*one) for one in self.finished]

    def factors(self, layer: int, head: int | None) -> dict[str, tuple[Tensor, Tensor]]:
        """By method, ``mixing`` [rows features] and ``components`` [features channels].

        Raises:
            StoreError: when the matrix is not finished, or its file is damaged.
        """
        tensors = load_file(self._archive.file(f"{part_name(layer, head)}.safetensors"))
        methods = [name.split(".", 1)[1] for name in tensors if name.startswith("mixing.")]
        return {m: (tensors[f"mixing.{m}"], tensors[f"components.{m}"]) for m in methods}

    def leave_out(self, layer: int, head: int | None, why: str) -> None:
        """Note that a matrix cannot be taken apart, so that it is no longer waited for.

        Raises:
            StoreError: when the disk is full.
        """
        manifest = self._archive.manifest
        manifest["wanted"].remove([layer, head])
        manifest.setdefault("left_out", []).append([layer, head, why])
        self._archive.save()

    def write_head(self, record: HeadRecord, made: Mapping[str, Decomposition]) -> None:
        """Keep one more matrix.

        Raises:
            StoreError: when the disk is full.
        """
        name = part_name(record.layer, record.head)
        tensors = {
            f"{side}.{method}": getattr(one, side).contiguous()
            for method, one in made.items()
            for side in ("mixing", "components")
        }
        self._archive.write(f"{name}.safetensors", partial(save_file, tensors))
        self._write_record(record)

    def add_to_head(self, record: HeadRecord) -> None:
        """Put a record with more figures in place of that of a finished matrix.

        Raises:
            StoreError: when the matrix is not finished, or the disk is full.
        """
        self._archive.file(f"{part_name(record.layer, record.head)}.safetensors")
        self._write_record(record)

    def _write_record(self, record: HeadRecord) -> None:
        text = json.dumps(record.record(), ensure_ascii=False, allow_nan=False) + "\n"
        file = f"{part_name(record.layer, record.head)}.json"
        self._archive.write(file, lambda path: path.write_bytes(text.encode("utf-8")))
        self._archive.save()

    def write_tables(self) -> None:
        """Write the tables and verdicts of all finished matrices.

        Raises:
            StoreError: when a file is damaged or the disk is full.
        """
        found = self.heads()
        heads = pa.Table.from_pylist([head_line(one) for one in found], _heads_schema(found))
        components = pa.Table.from_pylist(
            [
                {"layer": one.layer, "head": one.head, **component_line(part)}
                for one in found
                for part in one.components
            ],
            _COMPONENTS,
        )
        results = [
            result
            for one in found
            for result in eval_results(
                {
                    "model": self.manifest["model"].get("name"),
                    "matrix": one.matrix,
                    "layer": one.layer,
                    "head": one.head,
                },
                one.evidence,
                one.verdict,
                copying=one.copying,
                self_alignment=one.self_alignment,
                fan_out=one.fan_out,
                specificity=one.specificity,
                random_specificity=one.random_specificity,
            )
        ]
        text = json.dumps(
            envelope(results, self.manifest["config"]),
            indent=1,
            ensure_ascii=False,
            allow_nan=False,
        )
        self._archive.write(HEADS, partial(pq.write_table, heads))
        self._archive.write(COMPONENTS, partial(pq.write_table, components))
        self._archive.write(VERDICTS, lambda file: file.write_bytes(text.encode("utf-8")))
        self._archive.save()

    def discard(self) -> None:
        """Remove what was begun, so that another can begin in this folder.

        Raises:
            StoreError: when a matrix was finished.
        """
        if self.finished:
            raise StoreError(f"{self.path} has finished heads; remove it by hand if you mean to.")
        (self.path / MANIFEST).unlink(missing_ok=True)
        for file in (self.path / "heads").glob("*"):
            file.unlink(missing_ok=True)
        if (self.path / "heads").is_dir():
            (self.path / "heads").rmdir()


def head_line(one: HeadRecord) -> dict[str, Any]:
    """One line of ``heads.parquet``, also what listings print."""
    evidence, ica, parts = one.evidence, one.evidence.independence, one.evidence.parts
    spectrum, on_texts = evidence.spectrum, one.on_texts
    return {
        "layer": one.layer,
        "head": one.head,
        "matrix": one.matrix,
        "structure": one.verdict.structure,
        "roles": ", ".join(one.roles),
        **{pattern.name: pattern.answer for pattern in one.verdict.patterns},
        "copying": None if one.copying is None else one.copying.value,
        "copying_z": None if one.copying is None else one.copying.z,
        "self_alignment": None if one.self_alignment is None else one.self_alignment.value,
        "self_alignment_z": None if one.self_alignment is None else one.self_alignment.z,
        "induction": one.induction,
        "previous_token": one.previous_token,
        **{f"text_{name}": getattr(on_texts, name, None) for name in TEXT_SCORES},
        "effective_rank": spectrum.effective_rank.value,
        "participation_ratio": spectrum.participation_ratio.value,
        "top_ratio": spectrum.top_ratio,
        "components_90": int(spectrum.components_90.value),
        "norm": spectrum.norm,
        "fan_out": one.fan_out,
        "specificity": one.specificity,
        "random_specificity": one.random_specificity,
        "stable": None if ica is None else ica.n_stable,
        "negentropy": None if ica is None else ica.rescaled.value,
        "negentropy_excess": None if ica is None else ica.rescaled.excess,
        "dependence": None if ica is None else ica.dependence.value,
        "parts_fit": None if parts is None else min(
            parts.fit_rotated.excess, parts.fit_rescaled.excess
        ),
        "parts_sparsity": None if parts is None else parts.sparsity_rescaled.value,
        **{f"error_{name}": value for name, value in evidence.errors.items()},
        **{f"for_svd_error_{name}": n for name, n in evidence.sizes_for_svd_error().items()},
        "seconds": one.seconds,
    }  # fmt: skip


def component_line(part: ComponentRecord) -> dict[str, Any]:
    """One line of ``components.parquet``."""
    line = {name: getattr(part, name) for name in _PLAIN}
    for side in ("read", "write"):
        match = getattr(part, f"feature_{side}")
        line[f"feature_{side}"] = None if match is None else match.name
        line[f"feature_{side}_cosine"] = None if match is None else match.cosine
        line[f"feature_{side}_p"] = None if match is None else match.p
    return line


_WORDS = ("structure", "roles", "matrix")
_TOKENS = ("reads", "reads_opposite", "writes", "writes_opposite")
_PLAIN = tuple(
    name for name in ComponentRecord.__dataclass_fields__ if not name.startswith("feature_")
)
_KINDS: Mapping[str, pa.DataType] = {
    "method": pa.string(),
    "index": pa.int32(),
    "converged": pa.bool_(),
    "stable": pa.bool_(),
    "operation": pa.string(),
    **{name: pa.list_(pa.string()) for name in _TOKENS},
}
_COMPONENTS = pa.schema(
    [
        ("layer", pa.int32()),
        ("head", pa.int32()),
        *[(name, _KINDS.get(name, pa.float64())) for name in _PLAIN],
        *[
            (f"feature_{side}{what}", pa.string() if not what else pa.float64())
            for side in ("read", "write")
            for what in ("", "_cosine", "_p")
        ],
    ]
)


def _heads_schema(found: Sequence[HeadRecord]) -> pa.Schema:
    names = list(dict.fromkeys(name for one in found for name in head_line(one)))
    answers = {pattern.name for one in found for pattern in one.verdict.patterns}
    whole = {"layer", "head", "components_90", "stable"}
    return pa.schema(
        [
            (
                name,
                pa.string()
                if name in answers or name in _WORDS
                else pa.int32()
                if name in whole or name.startswith("for_svd_error_")
                else pa.float64(),
            )
            for name in names
        ]
    )


def part_name(layer: int, head: int | None) -> str:
    """Where the files of a matrix are, without their endings."""
    return f"heads/{layer}" if head is None else f"heads/{layer}-{head}"
