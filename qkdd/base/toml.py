"""Read a TOML table into a msgspec struct and name *every* mistake, not only the first."""

import tomllib
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from qkdd.base.errors import ConfigError

T = TypeVar("T", bound=msgspec.Struct)
NO_TOML = (tomllib.TOMLDecodeError, ValueError, RecursionError)
"""What reading a text as TOML raises: a number of thousands of digits is a ValueError, and brackets
in brackets without an end are a RecursionError."""
Kind: TypeAlias = Any
"""A type annotation, as msgspec reads it; Python has no type for that."""

_SHOWN = 60


def read(path: Path) -> dict[str, object]:
    """Read the file ``path``; ConfigError if there is no TOML in it."""
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read {path}: byte {error.start} is no UTF-8 text") from error
    except NO_TOML as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error


def refusal(path: Path, found: Sequence[str]) -> ConfigError:
    """Make the error that names every mistake of the file ``path``: one in one line."""
    if len(found) == 1:
        return ConfigError(f"{path}: {found[0]}")
    lines = "".join(f"\n  {line}" for line in found)
    return ConfigError(f"{path}: {len(found)} mistakes{lines}")


def mistakes(value: object, kind: Kind, path: str = "") -> Iterator[str]:
    """Yield one line per mistake in ``value`` read as ``kind``: path, value, what is allowed."""
    bare = _bare(kind, value)
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        yield from _struct_mistakes(value, bare, path)
        return
    item = _item(bare)
    found = False
    if item is not None and isinstance(value, list):
        for number, one in enumerate(value):
            for line in mistakes(one, item, f"{path}[{number}]"):
                found = True
                yield line
    named = _named(bare)
    if named is not None and isinstance(value, dict):
        for name, one in value.items():
            for line in mistakes(one, named, _join(path, name)):
                found = True
                yield line
    if not found:
        yield from _leaf_mistakes(value, kind, path)


def _struct_mistakes(value: object, kind: type[msgspec.Struct], path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path or 'the file'}: expected a table, got {_shown(value)}"
        return
    hints = get_type_hints(kind, include_extras=True)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    found = False
    for unknown in sorted(value.keys() - fields.keys()):
        found = True
        yield f"{_join(path, unknown)}: unknown; known here: {', '.join(sorted(fields))}"
    for name, field in fields.items():
        if name not in value:
            if field.required:
                found = True
                yield f"{_join(path, name)}: missing"
            continue
        for line in mistakes(value[name], hints[field.name], _join(path, name)):
            found = True
            yield line
    if not found:
        yield from _leaf_mistakes(value, kind, path)


def _leaf_mistakes(value: object, kind: Kind, path: str) -> Iterator[str]:
    try:
        msgspec.convert(value, kind, dec_hook=_decode_path)
    except msgspec.ValidationError as error:
        what = str(error).partition(" - at `$")[0]
        shown = "" if isinstance(value, dict) else f" (it is {_shown(value)})"
        yield f"{path or 'the file'}: {what}{shown}"


def convert(value: object, kind: type[T]) -> T:
    """Read ``value`` as ``kind``; the caller has looked at :func:`mistakes` first."""
    return msgspec.convert(value, kind, dec_hook=_decode_path)


def _decode_path(kind: type, value: object) -> object:
    if isinstance(value, str):
        return kind(value)
    raise ValueError("Expected `str`")


def _bare(kind: Kind, value: object) -> Kind:
    """Strip what does not matter for walking: Annotated, and ``| None`` where there is a value."""
    while _origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if _origin(kind) in (Union, types.UnionType) and value is not None:
        rest = [one for one in get_args(kind) if one is not type(None)]
        if len(rest) == 1:
            return _bare(rest[0], value)
    return kind


def _origin(kind: Kind) -> object:
    return get_origin(kind)


def _item(kind: Kind) -> type[msgspec.Struct] | None:
    """Return the struct that ``kind`` is a list or tuple of, if it is one."""
    if _origin(kind) not in (list, tuple):
        return None
    item = get_args(kind)[0]
    return item if isinstance(item, type) and issubclass(item, msgspec.Struct) else None


def _named(kind: Kind) -> type[msgspec.Struct] | None:
    """Return the struct that ``kind`` is a table of under names, if it is one."""
    if _origin(kind) is not dict:
        return None
    item = get_args(kind)[1]
    return item if isinstance(item, type) and issubclass(item, msgspec.Struct) else None


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
