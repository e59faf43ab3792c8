"""Which form of each kernel this process runs with, told once at the start."""

import structlog

from drivers.kernels import tdc1
from qkdd.kernels import assign, choices, gaps, ldpc, sifting, spread, toeplitz

log = structlog.get_logger(__name__)

TWIN = "numpy"


def kernel_backends() -> dict[str, str]:
    """Kernel -> the variant in use on this machine."""
    rooms = {
        "assign": assign,
        "choices": choices,
        "gaps": gaps,
        "ldpc": ldpc,
        "sifting": sifting,
        "spread": spread,
        "toeplitz": toeplitz,
        "tdc1": tdc1,
    }
    return {name: str(room.backend()) for name, room in rooms.items()}


def tell_backends() -> None:
    """Warn once if NumPy twins serve in the place of compiled kernels."""
    backends = kernel_backends()
    twins = sorted(name for name, backend in backends.items() if backend == TWIN)
    if twins:
        log.warning(
            "NumPy twins serve where compiled kernels are missing: too slow for a fast link",
            kernels=twins,
            cure="apt install gcc python3-dev, then pip install again",
        )
    else:
        log.info("compiled kernels", **backends)
