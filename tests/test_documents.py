"""The documents name what the code has: settings, messages, dependencies, files, example pair."""

import ast
import re
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from msgspec import NODEFAULT, Meta

from drivers.sim.config import Lab
from qkdd.base.agreement import agreement
from qkdd.base.toml import convert
from qkdd.cli.__main__ import COMMANDS
from qkdd.cli.demo.summary import Summary
from qkdd.cli.optimise.answer import Answer, Prediction
from qkdd.config import Link, Relay, mistakes
from qkdd.daemon.snapshot import BlockFacts, LinkSnapshot, RelaySnapshot
from qkdd.net.codec import MESSAGES
from qkdd.network.settings import Network
from qkdd.reconcile.codes import CODE_FAMILY
from qkdd.reconcile.tight import TIGHT_FAMILY

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "hil/README.md"])
PAIR = (ROOT / "configs/pair/relay-a.toml", ROOT / "configs/pair/relay-b.toml")


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


def limits(kind: Any) -> str:
    """Say what a field allows, as the tables of the documents spell it."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return limits(next(arg for arg in get_args(kind) if arg is not type(None)))
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if origin is tuple:
        return "list of " + limits(get_args(kind)[0])
    if origin is Annotated:
        base, *metas = get_args(kind)
        parts = [part for meta in metas if isinstance(meta, Meta) for part in bounds(meta)]
        return " ".join([limits(base), *parts])
    names = {Path: "path", bool: "true or false", int: "whole number", float: "number", str: "text"}
    return names[kind]


def bounds(meta: Meta) -> Iterator[str]:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "multiple_of": "multiple of"}
    for name, sign in signs.items():
        value = getattr(meta, name)
        if value is not None:
            yield f"{sign} {value}"


def shown(value: object) -> str:
    if value is NODEFAULT:
        return "required"
    if value is None:
        return "-"
    if value in (CODE_FAMILY, TIGHT_FAMILY):
        return "the release's own"
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


def tables(
    kind: type[msgspec.Struct], name: str, package: str = ""
) -> Iterator[tuple[str, list[str]]]:
    """Yield each table of a TOML file by its dotted name, with the head of each of its rows.

    Only tables that ``package`` defines: the others stand in another document.
    """
    rows, below = [], []
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        inner = structs_in(hints[field.name])
        path = f"{name}.{field.encode_name}" if name else field.encode_name
        if get_origin(hints[field.name]) is dict:
            path += ".NAME"
        if not inner:
            rows.append(
                f"| `{field.encode_name}` | {shown(field.default)} | {limits(hints[field.name])} |"
            )
        for struct in inner:
            below += list(tables(struct, path, package))
    if config := msgspec.inspect.type_info(kind).tag:  # type: ignore[union-attr]
        rows.insert(0, f"| `model` | required | `{config}` |")
    if kind.__module__.startswith(package):
        yield name, rows
    yield from below


def structs_in(kind: Any) -> list[type[msgspec.Struct]]:
    """Find the structs that a field is, may be, or lists."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [kind]
    found = [structs_in(arg) for arg in get_args(kind) if not isinstance(arg, Meta)]
    return [struct for structs in found for struct in structs]


SETTINGS = [
    (document, table, row)
    for document, kind, package in (
        ("docs/operating.md", Relay, ""),
        ("docs/lab.md", Lab, ""),
        ("docs/trunk.md", Network, "qkdd.network"),
    )
    for table, rows in tables(kind, "", package)
    for row in rows
]


@pytest.mark.parametrize(("document", "table", "row"), SETTINGS)
def test_every_setting_stands_in_its_table_with_default_and_limits(
    document: str, table: str, row: str
) -> None:
    headings = (f"`[{table}]`", f"`[[{table}]]`") if table else ("Top level",)
    sections = re.split(r"^#+ ", text_of(document), flags=re.MULTILINE)
    section = next((one for one in sections if one.startswith(headings)), None)
    assert section is not None, f"{document} has no section {headings[0]}"
    assert row in section, f"{document}, section {headings[0]}, lacks: {row}"


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
def test_every_message_and_its_fields_stand_in_the_protocol(
    message: type[msgspec.Struct],
) -> None:
    text = text_of("docs/protocol.md")
    fields = ", ".join(field.name for field in msgspec.structs.fields(message))
    assert f"| `{message.__name__}` |" in text
    row = text.partition(f"| `{message.__name__}` |")[2].partition("\n")[0]
    assert fields in row, f"{message.__name__} has the fields {fields}"


def test_every_dependency_stands_in_its_decision_record() -> None:
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.match(r"[\w-]+", one)[0] for one in wanted}  # type: ignore[index]
    record = text_of("docs/decisions/0002-dependencies.md")
    rows = set(re.findall(r"^\| ([\w-]+) \| [^|]+ \| [^|]+ \|$", record, re.MULTILINE))
    assert names == rows - {"package"}


@pytest.mark.parametrize(
    "snapshot", [RelaySnapshot, LinkSnapshot, BlockFacts, Summary, Answer, Prediction]
)
def test_every_field_that_a_command_prints_stands_in_the_operators_document(
    snapshot: type[msgspec.Struct],
) -> None:
    text = text_of("docs/operating.md")
    names = [field.name for field in msgspec.structs.fields(snapshot)]
    assert not [name for name in names if f"`{name}`" not in text]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_stands_in_the_operators_document(command: str) -> None:
    assert f"`qkdd {command}" in text_of("docs/operating.md")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_document_names_is_there(document: Path) -> None:
    named = set(
        re.findall(
            r"(?:(?<=[\s(`])|^)((?:qkdd|drivers|tests|docs|benchmarks|hil|configs)/[\w./-]*\w/?)",
            document.read_text(),
        )
    )
    assert not sorted(name for name in named if not (ROOT / name).exists())


@pytest.mark.parametrize("path", PAIR, ids=lambda path: path.name)
def test_the_example_pair_lacks_nothing_but_its_key_files(path: Path) -> None:
    found = mistakes(path)
    assert found
    assert not [line for line in found if ": no such file " not in line]


def test_the_two_ends_of_the_example_pair_agree() -> None:
    ends = [convert(tomllib.loads(path.read_text()), Relay).links[0] for path in PAIR]

    def agreed(link: Link) -> bytes:
        return agreement(
            light=link.light,
            intensities=link.intensities,
            frames=link.frames,
            reconcile=link.reconcile,
            proof=link.proof,
        ).text

    assert agreed(ends[0]) == agreed(ends[1])
    assert ends[0].name == ends[1].name
    assert {ends[0].role, ends[1].role} == {"transmitter", "receiver"}


def reasons() -> list[str]:
    """Collect what the tables of reasons in the operator's document quote."""
    text = text_of("docs/operating.md")
    found: list[str] = []
    for table in re.findall(
        r"^\| (?:while `|a block without key).*?(?=^$)", text, re.MULTILINE | re.DOTALL
    ):
        for row in table.splitlines()[2:]:
            found += re.findall(r"`([^`]+)`", row.split(" | ")[0])
    return found


FOREIGN = ("all attempts to connect to", "database or disk is full")
"""Said by trio and sqlite3."""


@pytest.fixture(scope="module")
def source() -> str:
    """The whole code, with strings that go on in the next line joined."""
    files = sorted([*(ROOT / "qkdd").rglob("*.py"), *(ROOT / "drivers").rglob("*.py")])
    text = "\n".join(path.read_text() for path in files if "sim" not in path.parts)
    return re.sub(r'"\s*\n\s*f?"', "", text)


def test_there_are_reasons_to_look_for() -> None:
    assert len(reasons()) > 50


@pytest.mark.parametrize("reason", reasons())
def test_every_reason_that_an_operator_is_told_of_is_in_the_code(reason: str, source: str) -> None:
    parts = [part.strip() for part in re.split(r"\.\.\.|\b\d[\d.]*\b|\bN\b", reason)]
    wanted = [part for part in parts if len(part) > 3 and not part.startswith(FOREIGN)]
    assert wanted or reason.strip(". ").startswith(FOREIGN)
    for part in wanted:
        assert part in source, f"no code says {part!r}"


ALARMS = ("SecurityAlarm", "StoreError", "LinkLost", "BlockGone", "log.error", "log.critical")
"""Whose first argument an operator may read as a reason or an alarm."""
SHORTEST, SHARE = 8, 0.25
"""Characters of its own without which a text cannot be told from another; and how much of a text
a quotation must have."""


def own(text: str) -> int:
    """Count the characters that are not put in."""
    return len(text.replace("...", "").strip(" :"))


def said(call: ast.Call) -> str:
    """Return what a call says, with ... for what is put in; nothing if it passes on a text."""
    first = call.args[0] if call.args else None
    if isinstance(first, ast.Constant):
        return str(first.value)
    if isinstance(first, ast.JoinedStr):
        return "".join(
            str(one.value) if isinstance(one, ast.Constant) else put_in(ast.unparse(one))
            for one in first.values
        )
    return ""


def put_in(expression: str) -> str:
    return "audit log" if "OUR_OWN" in expression else "..."


def alarms() -> set[str]:
    """Collect every reason and alarm that the daemon's code has words of its own for."""
    texts = {
        said(node)
        for path in (ROOT / "qkdd").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ALARMS
    }
    return {text for text in texts if own(text) >= SHORTEST}


@pytest.fixture(scope="module")
def quoted() -> list[tuple[int, re.Pattern[str]]]:
    """What the tables of the operator's document quote: how much, and its pattern."""
    rows = re.findall(r"^\|.*$", text_of("docs/operating.md"), re.MULTILINE)
    quotes = {one for row in rows for one in re.findall(r"`([^`]+)`", row)}
    return [
        (own(one), re.compile(".*".join(map(re.escape, re.split(r" ?\.\.\. ?|\bN\b", one)))))
        for one in quotes
        if own(one) >= SHORTEST
    ]


def test_there_are_alarms_to_look_for() -> None:
    assert len(alarms()) > 70


@pytest.mark.parametrize("alarm", sorted(alarms()))
def test_every_alarm_and_every_reason_has_its_cure_in_the_operators_document(
    alarm: str, quoted: list[tuple[int, re.Pattern[str]]]
) -> None:
    assert any(
        length >= SHARE * own(alarm) and pattern.search(alarm) for length, pattern in quoted
    ), f"no table of docs/operating.md quotes {alarm!r}"
