"""Run a relay, and stay when it is over, to be searched: ``python linger.py NOTE CONFIG``.

A program of the tests only. NOTE is written once the relay has ended; then it waits to be killed.
"""

import signal
import sys
from pathlib import Path

from qkdd.cli.__main__ import main

if __name__ == "__main__":
    try:
        main(["run", sys.argv[2]], standalone_mode=False)
    finally:
        Path(sys.argv[1]).write_text("over")
        signal.pause()
