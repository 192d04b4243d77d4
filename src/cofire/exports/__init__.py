"""Stored runs in the formats of other tools; docs/exports.md says what each holds and loses."""

from cofire.exports.exporting import Exported, export_run
from cofire.exports.transformer import DictionaryTransformer

__all__ = ["DictionaryTransformer", "Exported", "export_run"]
