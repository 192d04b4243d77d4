"""What all settings share: their base class, listings, reading them from a YAML file."""

import difflib
import os
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import tyro
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from cofire.errors import InputError

ConfigType = TypeVar("ConfigType", bound="Config")

RunFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
"""A run folder, given by position."""


def _no_file_there(path: Path | None) -> Path | None:
    """Refuse what cannot become a folder before a model is loaded for it."""
    for place in () if path is None else (path, *path.parents):
        if os.path.lexists(place):  # unlike Path.exists, does not raise where one may not look
            if not place.is_dir():
                raise ValueError(
                    f"there is a file at {place}, where a folder is to be; give another place"
                )
            break
    return path


OutputFolder = Annotated[
    Path | None,
    AfterValidator(_no_file_there),
    tyro.conf.arg(aliases=["-o"], metavar="FOLDER"),
]
"""Where results go, ``-o``: a folder, or a place for a new one."""


class Config(BaseModel):
    """Base of all settings: frozen, and a misspelt name is an error.

    Raises:
        InputError: naming the first setting that cannot be.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    takes_file: ClassVar[bool] = False
    """Whether the command takes ``--config FILE``."""

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            first = error.errors()[0]
            given = str(first["input"]) if isinstance(first["input"], Path) else first["input"]
            reason = first["msg"].removeprefix("Value error, ")
            raise InputError(
                f"Setting {'.'.join(map(str, first['loc']))!r} is {given!r}; "
                f"{reason[0].lower()}{reason[1:]}."
            ) from error

    def resolved(self) -> dict[str, Any]:
        """All settings as plain JSON values."""
        return self.model_dump(mode="json")


class ListingConfig(Config):
    """How a listing is printed."""

    as_json: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(name="json")] = Field(
        False, description="Print JSON."
    )
    as_csv: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(name="csv")] = Field(
        False, description="Print CSV."
    )
    as_table: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(name="table")] = Field(
        False, description="Print a table (the default)."
    )


def read_yaml(path: Path, kind: type[ConfigType]) -> ConfigType:
    """Read settings from a YAML file; names left out keep their defaults.

    Raises:
        InputError: when the file is missing, is no YAML mapping, or has unknown names or values.
    """
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Cannot read the config {path}: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = re.sub(r"\s+", " ", str(error))
        raise InputError(f"{path} is no valid YAML: {reason}.") from error
    if not isinstance(loaded, dict):
        raise InputError(f"{path} must hold a mapping of settings, such as `layers: 0,9-12`.")
    for name in loaded:
        if name not in kind.model_fields:
            close = difflib.get_close_matches(str(name), kind.model_fields, 1)
            hint = f"did you mean {close[0]!r}?" if close else "see --help for the names."
            raise InputError(f"{path} has an unknown setting {name!r}; {hint}")
    try:
        return kind(**loaded)
    except InputError as error:
        raise InputError(f"{path}: {str(error)[0].lower()}{str(error)[1:]}") from error
