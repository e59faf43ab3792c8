"""Every mistake of a file is named, with its path and its value, in one go."""

from pathlib import Path
from typing import Annotated

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from qkdd.base import toml


class Leaf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    size: Annotated[int, Meta(ge=1, le=9)] = 1
    path: Path


class Trunk(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    leaves: Annotated[tuple[Leaf, ...], Meta(min_length=1)]
    best: Leaf | None = None

    def __post_init__(self) -> None:
        if self.best is not None and self.best.size > len(self.leaves):
            raise ValueError(f"best.size {self.best.size} exceeds {len(self.leaves)} leaves")


def test_every_mistake_is_named_with_path_and_value() -> None:
    wrong = {"leaves": [{"size": 10, "path": "a"}, {"sice": 1}], "best": {"path": 5}, "x": 0}
    assert list(toml.mistakes(wrong, Trunk)) == [
        "x: unknown; known here: best, leaves",
        "leaves[0].size: Expected `int` <= 9 (it is 10)",
        "leaves[1].sice: unknown; known here: path, size",
        "leaves[1].path: missing",
        "best.path: Expected `str` (it is 5)",
    ]


def test_a_rule_across_fields_speaks_when_each_field_is_right() -> None:
    wrong = {"leaves": [{"path": "a"}], "best": {"path": "b", "size": 2}}
    assert list(toml.mistakes(wrong, Trunk)) == ["the file: best.size 2 exceeds 1 leaves"]
    assert list(toml.mistakes({"leaves": []}, Trunk)) == [
        "leaves: Expected `array` of length >= 1 (it is [])"
    ]


def test_a_file_without_mistakes_is_read() -> None:
    assert not list(toml.mistakes({"leaves": [{"path": "a"}]}, Trunk))
    assert toml.convert({"leaves": [{"path": "a"}]}, Trunk).leaves[0].path == Path("a")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["leaves", "best", "path", "size", "x"]), inner)
    ),
)


@given(values)
def test_no_value_breaks_the_reader_and_silence_means_it_converts(value: object) -> None:
    if not list(toml.mistakes(value, Trunk)):
        toml.convert(value, Trunk)
