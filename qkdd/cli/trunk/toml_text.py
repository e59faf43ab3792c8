"""A table of plain values as TOML text."""

import json
from collections.abc import Iterator, Mapping


def toml_text(table: Mapping[str, object]) -> str:
    """Write ``table``; None is left out, as a field without a value is.

    Values are booleans, numbers, text, lists of these, tables, and lists of tables.
    """
    return "\n".join(_lines(table, "")).strip() + "\n"


def _lines(table: Mapping[str, object], path: str) -> Iterator[str]:
    below: list[tuple[str, str, Mapping[str, object]]] = []
    for name, value in table.items():
        full = f"{path}.{_key(name)}" if path else _key(name)
        if isinstance(value, Mapping):
            below.append((full, f"\n[{full}]", value))
        elif isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
            below += [(full, f"\n[[{full}]]", one) for one in value]
        elif value is not None:
            yield f"{_key(name)} = {_value(value)}"
    for full, head, inner in below:
        yield head
        yield from _lines(inner, full)


def _key(name: str) -> str:
    bare = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if bare else _text(name)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        return _text(value)
    raise TypeError(f"{type(value).__name__} has no TOML form here")


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
