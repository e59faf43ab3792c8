"""What is said to an ID1000 and to its data link target service, and how replies are read.

Both take one text message and answer every one. The device speaks SCPI; the reply to a setting is
empty or some text. The service (DLT) answers with JSON, failures as
``{"error": {"description": ...}}`` (user manual pages 77, 90 and 91; vendor's example programs).
"""

import re
from typing import Annotated, Protocol, TypeVar

import msgspec
import trio
from msgspec import Meta

from drivers.errors import BadReply, NoReply, Refused

T = TypeVar("T")

MODEL = "ID1000"
UNREADABLE = (msgspec.MsgspecError, RecursionError)
"""What JSON raises that is none, or that is nested to make us fall over."""
REPLY_TIMEOUT_S = 2.0

_COMPLAINT = re.compile(r"\b(error|invalid|unknown|undefined|denied|illegal)\b", re.IGNORECASE)
_NO_COMPLAINT = re.compile(r"\bno errors?\b", re.IGNORECASE)
_NUMBER = re.compile(r"\s*(-?[0-9]{1,18})(?:\.0*)?\s*(?:TB|ps)?\s*\Z", re.IGNORECASE)


class Asker(Protocol):
    async def ask(self, question: str) -> str:
        """Return the reply; a question that is cut spoils none that follows."""
        ...


class Started(msgspec.Struct, frozen=True):
    id: Annotated[str, Meta(min_length=1)]


class StreamStatus(msgspec.Struct, frozen=True):
    """What the DLT knows of one acquisition, by ``status`` or, the last time, ``stop``."""

    acquisitions_count: Annotated[int, Meta(ge=0)]
    """Records that have ended."""
    timestamps_count: Annotated[int, Meta(ge=0)]
    """Times passed on, of all records."""
    errors: list[msgspec.Raw] = []
    error: msgspec.Raw | None = None

    @property
    def n_errors(self) -> int:
        return len(self.errors) + (self.error not in (None, b"null"))


class Wrapped(msgspec.Struct, frozen=True):
    status: StreamStatus


class Description(msgspec.Struct, frozen=True):
    description: str = "no description"


class Failure(msgspec.Struct, frozen=True):
    error: Description


class Scpi:
    """The device's side."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    async def ask(self, query: str) -> str:
        """Raises NoReply after `REPLY_TIMEOUT_S`."""
        return (await _ask(self._asker, MODEL, query)).strip()

    async def set(self, *commands: str) -> None:
        """Send settings one by one.

        Raises
        ------
        Refused
            If a reply reads like a complaint: the manual does not say how they look.
        """
        for command in commands:
            reply = await self.ask(command)
            if _COMPLAINT.search(reply) and not _NO_COMPLAINT.search(reply):
                raise Refused(f"{MODEL}: {command!r} is answered by {reply[:200]!r}")

    async def number(self, query: str) -> int:
        """Ask for a whole number; the unit of the time base may follow it."""
        reply = await self.ask(query)
        match = _NUMBER.match(reply)
        if match is None:
            raise BadReply(f"{MODEL}: {query!r} is answered by {reply[:200]!r}, not by a number")
        return int(match[1])


class DataLink:
    """The service's side."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    async def running(self) -> list[str]:
        """Return the ids of the acquisitions that it serves, of all devices."""
        return await self._exchange("list", list[str])

    async def start_stream(self, address: str, number: int, port: int) -> str:
        command = f"start-stream --address {address} --channel {number} --stream-port {port}"
        return (await self._exchange(command, Started)).id

    async def status(self, acquisition: str) -> StreamStatus:
        """Accept the status by itself or wrapped like that of `stop`: only the latter is seen."""
        reply = await self._exchange(f"status --id {acquisition}", dict[str, msgspec.Raw])
        inner = reply.get("status")
        raw = msgspec.json.encode(reply) if inner is None else bytes(inner)
        return _parse(f"status --id {acquisition}", raw, StreamStatus)

    async def stop(self, acquisition: str) -> StreamStatus:
        return (await self._exchange(f"stop --id {acquisition}", Wrapped)).status

    async def forget(self, acquisition: str) -> None:
        """Stop an acquisition of which nobody wants to know anything."""
        await self._exchange(f"stop --id {acquisition}", msgspec.Raw)

    async def _exchange(self, command: str, kind: type[T]) -> T:
        reply = await _ask(self._asker, f"{MODEL}'s data link", command)
        try:
            failure = msgspec.json.decode(reply, type=Failure)
        except UNREADABLE:
            return _parse(command, reply.encode(), kind)
        raise Refused(f"{MODEL}'s data link: {command!r}: {failure.error.description}")


async def _ask(asker: Asker, who: str, question: str) -> str:
    with trio.move_on_after(REPLY_TIMEOUT_S):
        return await asker.ask(question)
    raise NoReply(f"{who}: no reply to {question!r} within {REPLY_TIMEOUT_S:g} s")


def _parse(command: str, reply: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(reply, type=kind)
    except UNREADABLE as error:
        raise BadReply(
            f"{MODEL}'s data link: {command!r} is answered by {reply[:200]!r}: {error}"
        ) from error
