"""A simulated lab in a process of its own, as a daemon would meet it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BOARD_KEY = bytes(range(100, 132))
DARK_HZ = 1000.0

LINK = """
[[links]]
name = "{name}"
[links.fibre]
length_km = 1.0
loss_db = 12.0
misalignment = 0.01
[links.source]
wavelength_nm = 1550.12
threshold_ma = 10.0
slope_mw_per_ma = 0.1
fixed_loss_db = 40.0
[links.receiver]
loss_db = 3.0
key_basis_share = 0.84
efficiency = 0.8
dark_hz = {dark_hz}
recovery_ns = 30.0
jitter_ps = 50.0
clock_offset_ppm = 12.0
clock_drift_ppb_per_s = 1.0
delay_ns = 0.0
[links.instruments]
laser = {{ model = "koheron-ctl200", listen = "pty:laser-{name}" }}
attenuator = {{ model = "agilent-8156a", listen = "tcp:127.0.0.1:0" }}
encoder = {{ model = "qmse-1", listen = "tcp:127.0.0.1:0", key_file = "board.key" }}
tagger = {{ model = "s15-tdc1", listen = "{tagger}", fifo_words = 65536 }}
"""
LAB = (
    "seed = 7\n"
    + LINK.format(name="tcp", tagger="tcp:127.0.0.1:0", dark_hz=DARK_HZ)
    + LINK.format(name="pty", tagger="pty:tagger", dark_hz=0.0)
)

Resources = dict[str, dict[str, str]]


@contextmanager
def simulated_lab(folder: Path, text: str = LAB) -> Iterator[Resources]:
    """Serve a lab, by default of two links, ``tcp`` with dark counts and ``pty`` without; yield
    their resources.
    """
    (folder / "board.key").write_bytes(BOARD_KEY)
    (folder / "lab.toml").write_text(text)
    command = [sys.executable, "-P", "-m", "drivers.sim", str(folder / "lab.toml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, f"the lab ended with {process.wait()}"
            yield json.loads(line)["instruments"]
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
