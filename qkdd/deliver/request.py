"""From an HTTP request to what is asked, or to the error that the standard prescribes.

Pure: the caller's SAE ID comes from its certificate, never from anything read here.
"""

from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit
from uuid import UUID

import msgspec

from qkdd.deliver.errors import NOT_A_BYTE, HttpError
from qkdd.deliver.extensions import most_relays
from qkdd.deliver.messages import KeyId, KeyIds, KeyRequest
from qkdd.deliver.settings import DeliverySettings
from qkdd.keys.settings import StoreSettings

T = TypeVar("T", bound=msgspec.Struct)

PREFIX = "/api/v1/keys/"
VERBS = {
    "status": ("GET",),
    "enc_keys": ("GET", "POST"),
    "dec_keys": ("GET", "POST"),
    "epoch_keys": ("GET",),
}
MAX_EPOCH = 2**62


@dataclass(frozen=True, slots=True)
class StatusRequest:
    master: str
    slave: str


@dataclass(frozen=True, slots=True)
class EncRequest:
    """Get key: ``number`` keys of ``size_bits`` for ``master`` and every one of ``slaves``."""

    master: str
    slaves: tuple[str, ...]
    number: int
    size_bits: int
    max_relays: int | None = None
    """Keys that trust more are refused; None: any number."""
    sized: bool = field(default=True, compare=False)
    """Whether the master named the size; else it is the default, and a lane has its own."""


@dataclass(frozen=True, slots=True)
class DecRequest:
    """Get key with key IDs."""

    master: str
    slave: str
    key_ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class EpochRequest:
    """The key that a lane has for ``caller`` and ``other`` in one epoch. Not of the standard."""

    caller: str
    other: str
    epoch: int


Request = StatusRequest | EncRequest | DecRequest | EpochRequest


def parse_request(
    method: str,
    target: str,
    body: bytes,
    *,
    caller: str,
    settings: DeliverySettings,
    limits: StoreSettings,
) -> Request:
    """Read one request of ``caller``.

    Raises
    ------
    HttpError
        400 with the standard's messages (clauses 6.2, 6.4), 404 or 405 where it has none.
    """
    parts = _split(target)
    sae, call = _path(parts.path)
    if method not in VERBS[call]:
        allow = ", ".join(VERBS[call])
        raise HttpError(405, f"{call} takes {allow}, not {method[:16]}", allow=allow)
    _check_other(sae, caller, settings)
    query = _query(parts.query)
    if method == "POST" and query:
        raise HttpError(400, "a POST request takes its parameters in the body, not in the query")
    if call == "status":
        if query:
            raise HttpError(400, "status takes no parameters")
        return StatusRequest(caller, sae)
    if call == "enc_keys":
        asked = _from_query(query) if method == "GET" else _decode(body, KeyRequest)
        return _enc_request(asked, caller, sae, settings, limits)
    if call == "epoch_keys":
        return EpochRequest(caller, sae, _epoch(query))
    ids = _ids_from_query(query) if method == "GET" else _decode(body, KeyIds)
    return DecRequest(sae, caller, _uuids(ids, limits))


def _split(target: str) -> SplitResult:
    try:
        return urlsplit(target)
    except ValueError as error:
        raise HttpError(400, f"bad request target: {error}") from error


def _path(path: str) -> tuple[str, str]:
    """Split ``/api/v1/keys/{SAE_ID}/{call}``; the ID is percent-decoded, so it may hold ``/``."""
    if not path.startswith(PREFIX):
        raise HttpError(
            404, f"unknown path; this server has {PREFIX}{{SAE_ID}}/enc_keys and others"
        )
    quoted, _, call = path.removeprefix(PREFIX).partition("/")
    if call not in VERBS:
        raise HttpError(404, f"unknown call; known: {', '.join(VERBS)}")
    try:
        sae = unquote(quoted, errors="strict")
    except UnicodeDecodeError as error:
        raise HttpError(400, "the SAE ID in the path is not UTF-8") from error
    if not sae.strip():
        raise HttpError(400, "the SAE ID in the path is blank")
    return sae, call


def _check_other(sae: str, caller: str, settings: DeliverySettings) -> None:
    if sae not in settings.homes:
        raise HttpError(400, "the SAE ID in the path is not known here")
    if sae == caller:
        raise HttpError(400, "master and slave SAE are the same")


def _query(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), errors="strict")
    except ValueError as error:
        raise HttpError(400, "the query is malformed") from error
    if len(dict(pairs)) != len(pairs):
        raise HttpError(400, "a query parameter is given twice; several need POST")
    return dict(pairs)


def _from_query(query: dict[str, str]) -> KeyRequest:
    if unknown := query.keys() - {"number", "size"}:
        raise HttpError(
            400, f"unknown query parameter {sorted(unknown)[0][:40]!r}; others need POST"
        )
    numbers = {name: _integer(name, text) for name, text in query.items()}
    return KeyRequest(number=numbers.get("number", 1), size=numbers.get("size"))


def _integer(name: str, text: str, *, n_digits: int = 11) -> int:
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) <= n_digits):
        raise HttpError(400, f"{name} is not an integer")
    return int(text)


def _epoch(query: dict[str, str]) -> int:
    if query.keys() != {"epoch"}:
        raise HttpError(
            400, "epoch_keys takes exactly one parameter, epoch: the number of a period"
        )
    epoch = _integer("epoch", query["epoch"], n_digits=20)
    if not 0 <= epoch <= MAX_EPOCH:
        raise HttpError(400, f"epoch {epoch} is outside 0 to {MAX_EPOCH}")
    return epoch


def _ids_from_query(query: dict[str, str]) -> KeyIds:
    if query.keys() != {"key_ID"}:
        raise HttpError(400, "GET dec_keys takes exactly one key_ID; more need POST")
    return KeyIds(key_IDs=[KeyId(key_ID=query["key_ID"])])


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HttpError(400, f"bad request format: {error}"[:300]) from error


def _enc_request(
    asked: KeyRequest,
    master: str,
    slave: str,
    settings: DeliverySettings,
    limits: StoreSettings,
) -> EncRequest:
    size_bits = limits.key_size_bits if asked.size is None else asked.size
    max_relays = most_relays(asked)
    if size_bits % 8:
        raise HttpError(400, NOT_A_BYTE)
    least, most = limits.min_key_size_bits, limits.max_key_size_bits
    if not least <= size_bits <= most:
        raise HttpError(400, f"size {size_bits} is outside {least} to {most} bits")
    if not 1 <= asked.number <= limits.max_keys_per_request:
        raise HttpError(
            400, f"number {asked.number} is outside 1 to {limits.max_keys_per_request} keys"
        )
    additional = _additional(asked, master, slave, settings)
    return EncRequest(
        master,
        (slave, *additional),
        asked.number,
        size_bits,
        max_relays,
        sized=asked.size is not None,
    )


def _additional(
    asked: KeyRequest, master: str, slave: str, settings: DeliverySettings
) -> list[str]:
    additional = asked.additional_slave_SAE_IDs
    if additional is None:
        return []
    if not additional:
        raise HttpError(400, "additional_slave_SAE_IDs is empty: leave it out")
    if len(additional) > settings.max_sae_id_count:
        raise HttpError(
            400,
            f"{len(additional)} additional_slave_SAE_IDs, at most {settings.max_sae_id_count}",
        )
    if len({*additional, slave, master}) != len(additional) + 2:
        raise HttpError(
            400, "additional_slave_SAE_IDs names an SAE twice, or the master, or the slave"
        )
    if any(one not in settings.homes for one in additional):
        raise HttpError(400, "additional_slave_SAE_IDs names an SAE that is not known here")
    return additional


def _uuids(asked: KeyIds, limits: StoreSettings) -> tuple[UUID, ...]:
    ids = [one.key_ID for one in asked.key_IDs]
    if not 1 <= len(ids) <= limits.max_keys_per_request:
        raise HttpError(400, f"{len(ids)} key_IDs, allowed 1 to {limits.max_keys_per_request}")
    try:
        uuids = tuple(UUID(one) for one in ids)
    except ValueError as error:
        raise HttpError(400, "a key_ID is not a UUID") from error
    if len(set(uuids)) != len(uuids):
        raise HttpError(400, "a key_ID is given twice")
    return uuids
