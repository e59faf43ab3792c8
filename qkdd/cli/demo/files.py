"""Everything the demonstration needs, written into one folder as an engineer would.

    FOLDER/lab/       the simulated laboratory: its file and its side of the encoder's board key
    FOLDER/pki/       a test authority and everybody's certificates
    FOLDER/<relay>/   one relay: its configuration, master key, store, status socket

The fibre, the seed and the attack are in ``lab/lab.toml`` and nowhere else: a relay's folder holds
the resource strings of its instruments, as it would in a laboratory.
"""

import datetime
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

from qkdd.cli.ports import lasting_ports
from qkdd.net.pki import Authority

ALICE, BOB, LINK = "relay-a", "relay-b", "a-b"
SAE_A, SAE_B = "sae-a", "sae-b"

LASER_MA = 150.0
SIGNAL_MU = 0.5
PULSE_RATE_HZ = 100_000_000
WAVELENGTH_NM = 1550.12
THRESHOLD_MA, SLOPE_MW_PER_MA, FIXED_LOSS_DB = 10.0, 0.1, 40.0
PLANCK_J_S, LIGHT_M_PER_S = 6.626_070_15e-34, 299_792_458.0
BIAS_UA, MAX_BIAS_VOLTAGE = 18.0, 3.0
"""Of a nanowire that latches at 20 uA; it shows 0.9 when it is well."""
LOSS_DB_PER_KM, PATCHING_DB = 0.22, 1.0


@dataclass(frozen=True, slots=True)
class Experiment:
    """What may be chosen; fibre, seed and attack reach the lab's file only."""

    folder: Path
    km: float
    seed: int
    attack: tuple[str, float] | None
    pulse_rate_hz: int = PULSE_RATE_HZ
    """Reaches the relays' files, as it would: the encoder's host tells it."""


@dataclass(frozen=True, slots=True)
class RelayFiles:
    name: str
    config: Path
    delivery_port: int


def attenuation_db(pulse_rate_hz: int = PULSE_RATE_HZ, signal_mu: float = SIGNAL_MU) -> float:
    """Attenuation at which a signal pulse leaves with ``signal_mu`` photons."""
    power_w = 1e-3 * SLOPE_MW_PER_MA * (LASER_MA - THRESHOLD_MA)
    photon_j = PLANCK_J_S * LIGHT_M_PER_S / (WAVELENGTH_NM * 1e-9)
    photons_per_pulse = power_w / pulse_rate_hz / photon_j
    return 10 * math.log10(photons_per_pulse / signal_mu) - FIXED_LOSS_DB


def private_file(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def write_lab(experiment: Experiment) -> Path:
    """Write the laboratory and the board key; return LAB.toml."""
    folder = experiment.folder / "lab"
    board_key = os.urandom(32)
    private_file(folder / "board.key", board_key)
    private_file(experiment.folder / ALICE / "board.key", board_key)
    attack = ""
    if experiment.attack is not None:
        kind, fraction = experiment.attack
        attack = f"[links.attack]\nkind = {json.dumps(kind)}\nfraction = {fraction!r}\n"
    path = folder / "lab.toml"
    path.write_text(
        f"""seed = {experiment.seed}

[[links]]
name = "{LINK}"
[links.fibre]
length_km = {float(experiment.km)!r}
loss_db = {LOSS_DB_PER_KM * experiment.km + PATCHING_DB!r}
[links.source]
wavelength_nm = {WAVELENGTH_NM}
threshold_ma = {THRESHOLD_MA}
slope_mw_per_ma = {SLOPE_MW_PER_MA}
fixed_loss_db = {FIXED_LOSS_DB}
{attack}
[links.instruments]
laser = {{ model = "koheron-ctl200", listen = "pty:laser" }}
attenuator = {{ model = "agilent-8156a", listen = "tcp:127.0.0.1:0" }}
encoder = {{ model = "qmse-1", listen = "tcp:127.0.0.1:0", key_file = "board.key" }}
tagger = {{ model = "s15-tdc1", listen = "tcp:127.0.0.1:0" }}
detector = {{ model = "sq-websq", listen = "tcp:127.0.0.1:0" }}
"""
    )
    return path


def write_pki(folder: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    authority = Authority.open_or_create(folder / "pki", now=now, days=30)
    for node in (ALICE, BOB):
        authority.issue_node(node, now=now, days=30)
    for sae in (SAE_A, SAE_B):
        authority.issue_sae(sae, now=now, days=30)


def write_relays(
    folder: Path, resources: dict[str, str], pulse_rate_hz: int = PULSE_RATE_HZ
) -> tuple[RelayFiles, RelayFiles]:
    """Write both relays' configurations around the instruments' resource strings."""
    link_port, port_a, port_b = lasting_ports(3)
    light = ""
    if pulse_rate_hz != PULSE_RATE_HZ:
        light = f"[links.light]\npulse_rate_hz = {pulse_rate_hz}\n"
    transmitter = light + "\n".join(
        (
            "[links.transmitter]",
            _inline("laser", "koheron-ctl200", resources["laser"], f"current_ma = {LASER_MA}"),
            _inline(
                "attenuator",
                "agilent-8156a",
                resources["attenuator"],
                f"loss_db = {attenuation_db(pulse_rate_hz):.3f}",
            ),
            _inline("encoder", "qmse-1", resources["encoder"], 'key_file = "board.key"'),
        )
    )
    tagger = _inline("tagger", "s15-tdc1", resources["tagger"])
    receiver = f"{light}[links.receiver]\n{tagger}"
    if "detector" in resources:
        counts_port = resources["counts"].rpartition(":")[2]
        settings = f"bias_ua = {[BIAS_UA] * 4}, max_voltage = {MAX_BIAS_VOLTAGE}, set_bias = true"
        way = f"{resources['detector']}?counts={counts_port}"
        receiver += "\n" + _inline("detector", "sq-websq", way, settings)
    alice = _write_relay(
        folder, ALICE, BOB, port_a, f'connect = "127.0.0.1:{link_port}"', transmitter
    )
    bob = _write_relay(folder, BOB, ALICE, port_b, f'listen = "127.0.0.1:{link_port}"', receiver)
    return alice, bob


def _inline(name: str, model: str, resource: str, more: str = "") -> str:
    fields = [f"model = {json.dumps(model)}", f"resource = {json.dumps(resource)}"]
    return f"{name} = {{ {', '.join([*fields, more] if more else fields)} }}"


def _write_relay(
    folder: Path, name: str, peer: str, port: int, address: str, end: str
) -> RelayFiles:
    private_file(folder / name / "master.key", os.urandom(32))
    path = folder / name / "relay.toml"
    role = "transmitter" if name == ALICE else "receiver"
    path.write_text(
        f"""[node]
id = "{name}"
certificate = "../pki/{name}.pem"
key = "../pki/{name}.key"
ca = "../pki/ca.pem"

[store]
path = "keys.sqlite"
master_key = "master.key"

[delivery]
listen = "127.0.0.1:{port}"
saes = [
    {{ id = "{SAE_A}", node = "{ALICE}" }},
    {{ id = "{SAE_B}", node = "{BOB}" }},
]

[[links]]
name = "{LINK}"
peer = "{peer}"
role = "{role}"
{address}
{end}
"""
    )
    return RelayFiles(name, path, port)
