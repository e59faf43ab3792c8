"""The description of key delivery is of the types that are read and written, and is current."""

import json
from pathlib import Path

import msgspec
from click.testing import CliRunner

from qkdd.cli.openapi import openapi
from qkdd.deliver.messages import KeyContainer, KeyRequest, Status
from qkdd.deliver.openapi import document

FILE = Path(__file__).parent.parent.parent / "docs/openapi.json"


def test_the_file_in_the_documents_is_current(tmp_path: Path) -> None:
    made = tmp_path / "openapi.json"
    assert CliRunner().invoke(openapi, [str(made)]).exit_code == 0
    assert made.read_bytes() == FILE.read_bytes(), "run: qkdd openapi docs/openapi.json"


def test_a_file_that_cannot_be_written_is_said_and_is_exit_status_1(tmp_path: Path) -> None:
    result = CliRunner().invoke(openapi, [str(tmp_path / "nowhere" / "openapi.json")])
    assert result.exit_code == 1
    assert "cannot write" in result.output


def test_every_field_of_the_bodies_and_every_reference_is_described() -> None:
    text = json.dumps(document("1"))
    schemas = json.loads(text)["components"]["schemas"]
    for kind in (Status, KeyRequest, KeyContainer):
        names = {field.encode_name for field in msgspec.structs.fields(kind)}
        assert set(schemas[kind.__name__]["properties"]) == names
    wanted = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert wanted <= schemas.keys()
