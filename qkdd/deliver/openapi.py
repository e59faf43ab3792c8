"""The OpenAPI 3.1 description of key delivery, made of the very types that are read and written.

Numbers are those of a relay with default settings.
"""

from typing import Any

import msgspec

from qkdd.deliver.messages import ErrorBody, KeyContainer, KeyIds, KeyRequest, Status
from qkdd.deliver.request import MAX_EPOCH, PREFIX, VERBS
from qkdd.deliver.settings import Name
from qkdd.keys.settings import StoreSettings

Json = dict[str, Any]
TYPES = (Status, KeyRequest, KeyIds, KeyContainer, ErrorBody)
REFERENCE = "#/components/schemas/{name}"
UUID_PATTERN = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
WHAT = {
    "status": "What there is for the calling application and the one in the path.",
    "enc_keys": "New keys for the caller, the master, and its slaves.",
    "dec_keys": "The caller's copies of keys that the SAE in the path got.",
    "epoch_keys": "The key of one epoch of a lane, the same to both. Not of 014.",
}


def document(version: str) -> Json:
    """Build the whole description; ``version`` is the program's."""
    _, components = msgspec.json.schema_components(
        TYPES, ref_template="#/components/schemas/{name}"
    )
    _limit(components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Key delivery of qkdd: ETSI GS QKD 014 V1.1.1, and the keys of epochs",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "https://localhost:8443"}],
        "security": [{"certificate": []}],
        "paths": {f"{PREFIX}{{SAE_ID}}/{call}": _path(call) for call in VERBS},
        "components": {
            "schemas": components,
            "securitySchemes": {
                "certificate": {
                    "type": "mutualTLS",
                    "description": "Names the calling SAE; nothing in a request does.",
                }
            },
        },
    }


def _default(name: str) -> int:
    value = next(one.default for one in msgspec.structs.fields(StoreSettings) if one.name == name)
    assert isinstance(value, int)
    return value


def _number() -> Json:
    return {"type": "integer", "minimum": 1, "maximum": _default("max_keys_per_request")}


def _size() -> Json:
    return {
        "type": "integer",
        "minimum": _default("min_key_size_bits"),
        "maximum": _default("max_key_size_bits"),
        "multipleOf": 8,
    }


def _limit(components: Json) -> None:
    """Write in what the settings allow, and the types do not say."""
    asked = components["KeyRequest"]["properties"]
    asked["size"] = {"anyOf": [_size(), {"type": "null"}], "default": None}
    asked["number"] |= _number()
    ids = components["KeyIds"]["properties"]["key_IDs"]
    ids |= {"minItems": 1, "maxItems": _default("max_keys_per_request")}
    components["KeyId"]["properties"]["key_ID"] |= {"pattern": UUID_PATTERN, "format": "uuid"}


def _path(call: str) -> Json:
    answer: type[msgspec.Struct] = KeyContainer if call != "status" else Status
    path: Json = {
        "parameters": [
            {
                "name": "SAE_ID",
                "in": "path",
                "required": True,
                "description": "The other application: the slave, or for dec_keys the master.",
                "schema": msgspec.json.schema(Name),
            }
        ]
    }
    for verb in VERBS[call]:
        path[verb.lower()] = {
            "operationId": f"{verb.lower()}_{call}",
            "summary": WHAT[call],
            "parameters": _query(call) if verb == "GET" else [],
            **({"requestBody": _body(call)} if verb == "POST" else {}),
            "responses": _responses(answer),
        }
    return path


def _body(call: str) -> Json:
    kind: type[msgspec.Struct] = KeyRequest if call == "enc_keys" else KeyIds
    return {"required": call == "dec_keys", "content": _json(kind)}


def _query(call: str) -> list[Json]:
    if call == "enc_keys":
        request = {"number": _number(), "size": _size()}
        return [_parameter(name, schema, required=False) for name, schema in request.items()]
    if call == "dec_keys":
        schema: Json = {"type": "string", "format": "uuid", "pattern": UUID_PATTERN}
        return [_parameter("key_ID", schema, required=True)]
    if call == "epoch_keys":
        schema = {"type": "integer", "minimum": 0, "maximum": MAX_EPOCH}
        return [_parameter("epoch", schema, required=True)]
    return []


def _parameter(name: str, schema: Json, *, required: bool) -> Json:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _responses(answer: type[msgspec.Struct]) -> Json:
    no_store = {"Cache-Control": {"schema": {"const": "no-store"}}}
    retry = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}}
    return {
        "200": {"description": "as asked", "headers": no_store, "content": _json(answer)},
        "400": {"description": "malformed, out of limits, not found", "content": _json(ErrorBody)},
        "401": {"description": "not this application's to ask for: no body, or an error"},
        "503": {"description": "not now", "headers": retry, "content": _json(ErrorBody)},
    }


def _json(kind: type[msgspec.Struct]) -> Json:
    return {"application/json": {"schema": {"$ref": REFERENCE.format(name=kind.__name__)}}}
