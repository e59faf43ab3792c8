"""A WebSQ of two detectors on a desk: what it is asked, and what it tells."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from drivers.alongside import alongside
from drivers.detector.sq_websq import SqWebSq
from drivers.transports.scripted import Reply, ScriptedTransport, expect

STATE = {
    "NumberOfDetectors": 2,
    "DetectorEnable": False,
    "BiasCurrent": [12.0, 8.5],
    "TriggerLevel": [23.0, 24.0],
    "InptMeasurementPeriod": 100,
}


def asks(request: str = "labelProps") -> bytes:
    question = {"request": request}
    if request == "labelProps":
        question["value"] = "None"
    return json.dumps(question).encode()


def commands(command: str, value: object, label: str | None = None) -> bytes:
    named = {"command": command} if label is None else {"command": command, "label": label}
    return json.dumps({**named, "value": value}).encode()


def props(**changed: object) -> bytes:
    """The properties of all labels, glued."""
    state = {**STATE, **changed}
    told = [{"label": label, "value": {"value": v, "unit": ""}} for label, v in state.items()]
    return "".join(map(json.dumps, told)).encode() + b"\x17"


def tells(label: str, value: object) -> bytes:
    return json.dumps({"label": label, "value": value}).encode() + b"\x17"


@asynccontextmanager
async def websq(
    *script: tuple[bytes, Reply],
) -> AsyncIterator[tuple[SqWebSq, ScriptedTransport, ScriptedTransport]]:
    """Yield the driver, its control connection and its counts; the script is for the first."""
    with expect(*script) as control, expect() as counts:
        box = SqWebSq(control, counts)
        async with alongside(box.listen):
            yield box, control, counts
