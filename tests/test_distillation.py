"""The page about distillation: its tables are what the code gives, and have their places."""

import pytest

from benchmarks.distillation import DOCUMENT, PARTS, PICTURES, bounds, put


def test_the_table_of_bounds_is_the_one_that_the_code_gives() -> None:
    """The parts that take longer are made by `python -m benchmarks.distillation` alone."""
    (table,) = bounds().values()
    assert table in DOCUMENT.read_text()


def test_every_picture_that_is_made_is_shown_and_there() -> None:
    text = DOCUMENT.read_text()
    shown = {path.name for path in PICTURES.iterdir() if f"({PICTURES.name}/{path.name})" in text}
    assert shown == {"disclosure.svg", "distance.svg", "cpu.svg"}
    assert len(PARTS) == 4


def test_a_table_takes_the_place_of_the_one_before() -> None:
    text = "a\n<!-- t -->\nold\n<!-- end t -->\nb\n"
    once = put(text, "t", "| new |\n")
    assert once == "a\n<!-- t -->\n\n| new |\n\n<!-- end t -->\nb\n"
    assert put(once, "t", "| new |\n") == once
    with pytest.raises(ValueError, match="no place for the table 'u'"):
        put(text, "u", "")
