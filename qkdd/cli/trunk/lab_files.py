"""The laboratory's file: what the light of each link meets."""

from collections.abc import Sequence

from qkdd.cli.demo.files import (
    FIXED_LOSS_DB,
    SLOPE_MW_PER_MA,
    THRESHOLD_MA,
    WAVELENGTH_NM,
)
from qkdd.cli.trunk.site import Site, board_key_of
from qkdd.cli.trunk.toml_text import toml_text
from qkdd.network.laid_out import LaidLink

ANY_PORT = "tcp:127.0.0.1:0"
TICK_MS = 100.0
"""A step costs Python the same however long it is: many links cost half of what they do at the
usual 10 ms. Records end once a second; of the TDC1's FIFO a step fills a quarter at most."""


def write_lab(site: Site, number: int, links: Sequence[LaidLink]) -> None:
    """Write the file of laboratory ``number``, which serves ``links``."""
    path = site.lab(number)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {
        "seed": site.network.network.seed,
        "tick_ms": TICK_MS,
        "links": [_link(link) for link in links],
    }
    path.write_text(toml_text(table))


def _link(link: LaidLink) -> dict[str, object]:
    receiver = link.receiver
    return {
        "name": link.name,
        "fibre": {
            "length_km": link.km,
            "loss_db": link.loss_db,
            "misalignment": receiver.misalignment,
        },
        "source": {
            "wavelength_nm": WAVELENGTH_NM,
            "threshold_ma": THRESHOLD_MA,
            "slope_mw_per_ma": SLOPE_MW_PER_MA,
            "fixed_loss_db": FIXED_LOSS_DB,
        },
        "receiver": {
            "loss_db": receiver.loss_db,
            "key_basis_share": receiver.key_basis_share,
            "efficiency": receiver.efficiency,
            "dark_hz": receiver.dark_hz,
            "recovery_ns": receiver.recovery_ns,
            "jitter_ps": receiver.jitter_ps,
        },
        "instruments": {
            "laser": {"model": "koheron-ctl200", "listen": f"pty:{link.name}.laser"},
            "attenuator": {"model": "agilent-8156a", "listen": ANY_PORT},
            "encoder": {"model": "qmse-1", "listen": ANY_PORT, "key_file": board_key_of(link)},
            "tagger": {
                "model": link.tagger,
                "listen": ANY_PORT,
                "datalink": ANY_PORT if link.tagger == "idq-id1000" else None,
            },
        },
    }
