"""Listings on standard output: a table to read, or CSV or JSON to process."""

import csv
import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cofire.config import ListingConfig
from cofire.errors import InputError
from cofire.interpret.wording import figure, readable

# json leaves these as they are, but a terminal may obey them, or UTF-8 have no form for them.
_UNSAFE = re.compile("[\x7f-\x9f\ud800-\udfff]")


def print_listing(
    records: Sequence[Mapping[str, Any]], config: ListingConfig, *, empty: str
) -> None:
    """Print records that share their keys.

    Tables show characters that a terminal would obey as visible marks. JSON escapes them, CSV
    keeps the data as it is.

    Args:
        records: one line each.
        config: says in which form.
        empty: what a table says when there is no record.

    Raises:
        InputError: when more than one form is asked for.
    """
    check_form(config)
    if config.as_json:
        print_json(list(records))
    elif config.as_csv:
        if records:
            writer = csv.DictWriter(sys.stdout, fieldnames=list(records[0]))
            writer.writeheader()
            writer.writerows(records)
    elif not records:
        sys.stdout.write(empty + "\n")
    else:
        _print_table(records)


def check_form(config: ListingConfig) -> None:
    """Refuse more than one form.

    Raises:
        InputError: saying which exclude one another.
    """
    if config.as_json + config.as_csv + config.as_table > 1:
        raise InputError("--json, --csv and --table exclude one another; give one of them.")


def output() -> Console:
    """Standard output; a pipe has no width, and what a program will read is not cut."""
    console = Console(file=sys.stdout)
    if not console.is_terminal:
        console.width = 160
    return console


def say(text: str) -> None:
    """Print one line."""
    sys.stdout.write(text + "\n")


def print_json(value: Any) -> None:
    """Print plain values as JSON that is safe to see in a terminal."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    sys.stdout.write(_UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def _print_table(records: Sequence[Mapping[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    numeric = {
        name: all(isinstance(r[name], int | float) or r[name] is None for r in records)
        for name in records[0]
    }
    for name, right in numeric.items():
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for record in records:
        table.add_row(*(Text(_cell(value)) for value in record.values()))
    output().print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else ""
    return figure(value) if isinstance(value, float) else readable(str(value))
