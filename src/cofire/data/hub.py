"""Texts streamed from a Hugging Face dataset, through the optional ``datasets`` library."""

import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cofire.data.readers import find_columns, one_line
from cofire.data.rows import Columns, Record, Row
from cofire.errors import DataError, InputError

if TYPE_CHECKING:
    from datasets import IterableDataset

HUB_PREFIX = "hf:"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(:[^/]*)?")


@dataclass(frozen=True)
class HubDataset:
    """A split of a dataset on the hub, or of a dataset folder on disk.

    Attributes:
        path: ``owner/name``, or a folder.
        config: the dataset's configuration; None for its only one.
        split: the dataset's own split, ``train`` unless named.
    """

    path: str
    config: str | None = None
    split: str = "train"

    @classmethod
    def parse(cls, source: str) -> "HubDataset":
        """Read ``[hf:]ID[:CONFIG[:SPLIT]]``; an empty part stands for its default.

        Raises:
            InputError: when the text has another form.

        >>> HubDataset.parse("hf:owner/name::test")
        HubDataset(path='owner/name', config=None, split='test')
        """
        path, *rest = source.removeprefix(HUB_PREFIX).split(":")
        if not path or len(rest) > 2:
            raise InputError(f"Cannot read {source!r}; write ID, ID:CONFIG or ID:CONFIG:SPLIT.")
        config, split = [*rest, "", ""][:2]
        return cls(path, config or None, split or "train")

    @property
    def name(self) -> str:
        """``ID:CONFIG:SPLIT``; with a row number from 0 behind it, the source of a text."""
        return f"{self.path}:{self.config or ''}:{self.split}"


def looks_like_hub_id(source: str) -> bool:
    """Whether a source has the form ``owner/name[:CONFIG[:SPLIT]]``."""
    return _HUB_ID.fullmatch(source) is not None


def hub_rows(dataset: HubDataset, columns: Columns) -> Generator[Row]:
    """Stream the rows of a dataset; nothing but what is read is downloaded.

    Class numbers become class names. Needs the extra ``hub``.

    Raises:
        DataError: when ``datasets`` is not installed, the hub cannot be reached, or it has no such
            dataset, configuration, split or column.
    """
    try:
        import datasets
        from datasets.exceptions import DatasetsError
        from huggingface_hub.errors import HTTPError
    except ImportError as error:
        raise DataError(
            f"Reading the dataset {dataset.path!r} needs the package 'datasets'; "
            "install it with: pip install 'cofire[hub]'."
        ) from error
    index = 0
    try:
        stream = datasets.load_dataset(
            dataset.path, name=dataset.config, split=dataset.split, streaming=True
        )
        classes: dict[str, Any] = {}
        if stream.column_names is not None:
            stream = _only_needed(stream, dataset, columns)
            features = (stream.features or {}).items()
            classes = {name: kind for name, kind in features if hasattr(kind, "int2str")}
        for index, row in enumerate(stream):
            fields = {name: _class_name(classes.get(name), value) for name, value in row.items()}
            yield Record(f"{dataset.name}[{index}]", fields)
    except DataError:  # a ValueError too, and clear already
        raise
    except (OSError, ValueError, RuntimeError, DatasetsError, HTTPError) as error:
        place = f" after row {index}" if index else ""
        raise DataError(
            f"Cannot read the dataset {dataset.name!r}{place}: {one_line(error)}. Check the name "
            "and the connection, or download the file and give its path."
        ) from error


def _only_needed(
    stream: "IterableDataset", dataset: HubDataset, columns: Columns
) -> "IterableDataset":
    found = find_columns(columns, list(stream.column_names), dataset.name)
    return stream.select_columns(list(dict.fromkeys(found.values())))


def _class_name(kind: Any, value: object) -> object:
    if kind is None or not isinstance(value, int):
        return value
    return kind.int2str(value) if value >= 0 else None  # -1 stands for no label
