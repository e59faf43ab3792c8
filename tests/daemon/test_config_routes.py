"""Routes of keys outside lanes: what stands in the file leads over links, or is refused by name."""

from pathlib import Path

import pytest

from qkdd.config import load
from tests.daemon.relay_files import relay_file
from tests.daemon.test_config_lanes import mistakes_of


def route(*nodes: str) -> str:
    return f"[[routes]]\nnodes = {list(nodes)}\n"


def test_routes_through_here_and_elsewhere_are_accepted(tmp_path: Path) -> None:
    text = route("a", "b", "c") + route("d", "b", "a") + route("x", "y", "z")
    assert mistakes_of(tmp_path, text) == []
    config = relay_file(tmp_path)
    config.write_text(config.read_text() + text)
    assert [one.nodes for one in load(config).routes][1] == ("d", "b", "a")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (route("a", "c", "b"), "route a-c-b: there is no link to c, which is next in it"),
        (route("c", "a", "b"), "route c-a-b: there is no link to c"),
        (route("a", "b", "a"), "route a-b-a: a node stands twice in it"),
        (route("a"), "nodes"),
        (route("a", "not a name"), "nodes"),
        (route("a", "b") + "via = 1\n", "via"),
    ],
)
def test_a_route_that_cannot_be_is_named(tmp_path: Path, text: str, said: str) -> None:
    (line,) = mistakes_of(tmp_path, text)
    assert said in line
