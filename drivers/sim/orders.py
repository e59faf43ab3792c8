"""The command line of a running lab: ``dark``, ``attack``, ``fault``, ``kick``, ``status``."""

import argparse
import json
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec

from drivers.sim.config import Attack
from drivers.sim.control import (
    Answer,
    AttackOrder,
    ControlRefused,
    DarkOrder,
    FaultOrder,
    KickOrder,
    Order,
    StatusOrder,
    ask,
)
from drivers.sim.mishaps import FaultKind

COMMANDS = ("dark", "attack", "fault", "kick", "status")
FAULTS: tuple[str, ...] = get_args(FaultKind)
KINDS: tuple[str, ...] = get_args(get_type_hints(Attack)["kind"])


def give_order(words: list[str]) -> int:
    """Pass an order on, and print the lab's state after it as one line of JSON.

    Exit status: 0 done, 1 the lab refuses or does not answer, 2 usage.
    """
    arguments = parser().parse_args(words)
    try:
        answer = ask(arguments.lab, order_of(arguments))
    except (ControlRefused, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    say(answer)
    return 0


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="python -P -m drivers.sim")
    commands = root.add_subparsers(dest="command", required=True)
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--lab", type=Path, default=Path("lab.toml"), metavar="LAB.toml")
    dark = commands.add_parser("dark", parents=[where], help="Cut a fibre for some time.")
    dark.add_argument("link")
    dark.add_argument("--seconds", type=float, required=True, help="0 mends it at once")
    attack = commands.add_parser("attack", parents=[where], help="Attack from now on.")
    attack.add_argument("name", choices=KINDS)
    attack.add_argument("--strength", type=float, required=True, help="0 ends every attack")
    attack.add_argument("--link", action="append", default=[], help="every link if left out")
    fault = commands.add_parser("fault", parents=[where], help="Have an instrument be at fault.")
    fault.add_argument("link")
    fault.add_argument("instrument")
    fault.add_argument("kind", choices=FAULTS)
    fault.add_argument("--seconds", type=float, required=True, help="0 ends it at once")
    kick = commands.add_parser("kick", parents=[where], help="Turn a fibre's polarisation.")
    kick.add_argument("link")
    kick.add_argument("--turn", type=float, nargs=3, required=True, metavar="RAD")
    commands.add_parser("status", parents=[where], help="What is being done to each link.")
    return root


def order_of(arguments: argparse.Namespace) -> Order:
    """The order that a command line means; ValueError if a number is out of range."""
    if arguments.command == "dark":
        fields = {"link": arguments.link, "seconds": arguments.seconds}
        return msgspec.convert(fields | {"type": "dark"}, DarkOrder)
    if arguments.command == "fault":
        names = ("link", "instrument", "seconds")
        fields = {name: getattr(arguments, name) for name in names}
        return msgspec.convert(fields | {"type": "fault", "fault": arguments.kind}, FaultOrder)
    if arguments.command == "kick":
        fields = {"link": arguments.link, "turn_rad": arguments.turn}
        return msgspec.convert(fields | {"type": "kick"}, KickOrder)
    if arguments.command == "attack":
        chosen = {"kind": arguments.name, "fraction": arguments.strength}
        attack = msgspec.convert(chosen, Attack)
        return AttackOrder(attack if arguments.strength else None, tuple(arguments.link))
    return StatusOrder()


def say(answer: Answer) -> None:
    sys.stdout.write(json.dumps(msgspec.to_builtins(answer)) + "\n")
