"""One true message of every kind that neighbours exchange, with something in every field."""

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from qkdd.net.codec import MESSAGES


def sample_messages() -> list[msgspec.Struct]:
    return [sample_of(kind) for kind in dict.fromkeys(MESSAGES)]


def sample_of(kind: type[msgspec.Struct]) -> msgspec.Struct:
    hints = get_type_hints(kind, include_extras=True)
    fields = {field.name: _value(hints[field.name]) for field in msgspec.structs.fields(kind)}
    return kind(**fields)


def _value(kind: Any, metas: tuple[Meta, ...] = ()) -> object:
    origin = get_origin(kind)
    if origin is Annotated:
        base, *more = get_args(kind)
        return _value(base, (*metas, *(one for one in more if isinstance(one, Meta))))
    if origin in (Union, types.UnionType):
        return _value(next(one for one in get_args(kind) if one is not type(None)), metas)
    if origin is Literal:
        return get_args(kind)[0]
    if origin is tuple:
        return tuple(_items(get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return sample_of(kind)
    least = max((meta.min_length or 0 for meta in metas), default=0)
    lowest = max((meta.ge or (meta.gt or -1) + 1 for meta in metas), default=0)
    most = min((meta.max_length for meta in metas if meta.max_length is not None), default=32)
    if kind is bytes:
        return bytes(range(max(least, min(32, most))))
    return {bool: True, int: max(1, int(lowest)), float: 0.5, str: "name"}[kind]


def _items(kinds: tuple[Any, ...]) -> Iterator[object]:
    if kinds[-1] is Ellipsis:
        yield from (_value(kinds[0]) for _ in range(2))
    else:
        yield from map(_value, kinds)
