"""What ``cofire COMMAND --help`` says: purpose, examples and options."""

import inspect
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import tyro
from pydantic_core import PydanticUndefined
from tyro.constructors import (
    ConstructorRegistry,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from cofire.config import Config

ConfigType = TypeVar("ConfigType", bound=Config)

_NAMES = {int: "INT", float: "FLOAT", str: "STR", Path: "PATH"}


def parse(kind: type[ConfigType], *, prog: str, words: list[str], default: Any) -> ConfigType:
    """Read a command's settings from its words; ``--help`` and usage errors end the process.

    Args:
        kind: of the settings.
        prog: how the command is called.
        words: what follows it.
        default: settings that the words change; None for the defaults of ``kind``.

    Raises:
        InputError: for a value that a setting cannot have.
    """
    registry = ConstructorRegistry()
    registry.struct_rule(_settings)
    values: Any = tyro.cli(
        kind,
        prog=prog,
        description=description(kind),
        args=words,
        default=default,
        config=(tyro.conf.HelptextFromCommentsOff,),
        registry=registry,
    )
    return kind(**values)  # here and not in tyro, which would put the sentence into a box


def description(kind: type[Config]) -> str:
    """The settings' docstring as a page: a line a paragraph and a line an example."""
    also = "Further: --debug shows full error traces."
    if kind.takes_file:
        also = f"{also[:-1]}, --config FILE takes YAML settings (flags beside it win)."
    prose, _, examples = (inspect.getdoc(kind) or "").partition("\n\nExample")
    # tyro would keep a line break before a bracket or a number.
    page = [" ".join(part.split()) for part in prose.split("\n\n")] + [also]
    if examples:
        heading, *commands = examples.split("\n\n")
        page.append("\n  ".join([f"Example{heading}", *map(str.strip, commands)]))
    return "\n\n".join(page)


def _settings(info: StructTypeInfo) -> StructConstructorSpec | None:
    """How tyro reads settings; what nobody has to give says so, without a default of None."""
    kind = info.type
    if not (isinstance(kind, type) and issubclass(kind, Config)):
        return None
    hints = get_type_hints(kind, include_extras=True)
    fields = []
    for name, field in kind.model_fields.items():
        value = field.get_default(call_default_factory=True)
        if isinstance(info.default, kind):
            value = getattr(info.default, name)
        if value is PydanticUndefined:
            value = tyro.MISSING
        shown = _shown(hints[name], value)
        fields.append(
            StructFieldSpec(name=name, type=shown, default=value, helptext=field.description or "")
        )
    return StructConstructorSpec(instantiate=dict, fields=tuple(fields))


def _shown(hint: Any, value: object) -> Any:
    """The type with its place holder, in brackets where it need not be given."""
    bare, *marks = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    names = [mark.metavar for mark in marks if getattr(mark, "metavar", None)]
    name = names[0] if names else _name(bare)
    if tyro.conf.Positional in marks and value is not tyro.MISSING and name is not None:
        name = f"[{name}]"
    quiet = "" if value is None else None
    if name is None and quiet is None:
        return hint
    return Annotated[hint, tyro.conf.arg(metavar=name, help_behavior_hint=quiet)]


def _name(bare: Any) -> str | None:
    """Place holder of an optional type without its None; None where tyro's is as good."""
    kinds = [kind for kind in get_args(bare) if kind is not NoneType]
    if NoneType not in get_args(bare) or len(kinds) != 1:
        return None
    if get_origin(kinds[0]) is Literal:
        return "{" + ",".join(map(str, get_args(kinds[0]))) + "}"
    return _NAMES.get(kinds[0])
