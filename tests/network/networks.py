"""Networks for tests, as their files would say them."""

import tomllib
from pathlib import Path

from qkdd.base.toml import convert
from qkdd.network.settings import Network

CONFIGS = Path(__file__).parents[2] / "configs/trunk"
CHAIN = """
name = "chain"
nodes = ["a", "b", "c", "d"]
[[links]]
from = "a"
to = "b"
km = 10.0
[[links]]
from = "c"
to = "b"
km = 20.0
loss_db = 7.5
name = "middle"
[[links]]
from = "c"
to = "d"
km = 10.0
pulse_rate_mhz = 200.0
[[routes]]
name = "all"
nodes = ["a", "b", "c", "d"]
[[lanes]]
id = "there"
along = "all"
[[lanes]]
id = "back"
along = "all"
from = "c"
to = "b"
"""


def network_of(text: str) -> Network:
    return convert(tomllib.loads(text), Network)
