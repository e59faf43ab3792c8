"""Key delivery against its own description: schemathesis asks two relays without light.

    python -m benchmarks.openapi_fuzz [--examples 200] [--st PATH]

``st`` of schemathesis 4 must be in the PATH (``pip install schemathesis``; the project does not
need it). The SAE in the path is one that the relay knows: for all others the answer is 400, which
the description cannot say. Exit status: that of ``st``.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import trio

from qkdd.cli.demo.files import ALICE, SAE_A, SAE_B
from qkdd.cli.openapi import text
from tests.whole.site import open_site
from tests.whole.stock import lay_stock

STOCK_BYTES = 24 * 1024 * 1024
AUTH_BYTES = 4 * 1024 * 1024
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "missing_required_header",
    "use_after_free",
    "ensure_resource_availability",
)
"""All but two: a well-formed request may well be refused (a key that is not there, 400), and there
is no authentication to leave out, as the certificate is the connection's."""


def described(folder: Path, port: int) -> Path:
    """Write the description with the address of a relay and the names of its applications."""
    document = msgspec.json.decode(text())
    document["servers"] = [{"url": f"https://127.0.0.1:{port}"}]
    for path in document["paths"].values():
        path["parameters"][0]["schema"] = {"enum": [SAE_B]}
    file = folder / "openapi.json"
    file.write_bytes(msgspec.json.encode(document))
    return file


async def run(folder: Path, examples: int, program: str) -> int:
    async with open_site(folder, lit=False) as site:
        lay_stock(site, STOCK_BYTES, auth_bytes=AUTH_BYTES)
        await site.start()
        await site.wait_up()
        port, pki = site.relays[ALICE].delivery_port, folder / "pki"
        done = await trio.run_process(
            [
                str(Path(program).absolute()) if "/" in program else program,
                "run",
                str(described(folder, port)),
                f"--url=https://127.0.0.1:{port}",
                f"--request-cert={pki / f'{SAE_A}.pem'}",
                f"--request-cert-key={pki / f'{SAE_A}.key'}",
                f"--tls-verify={pki / 'ca.pem'}",
                f"--max-examples={examples}",
                f"--checks={','.join(CHECKS)}",
                "--seed=1",
                "--suppress-health-check=all",
            ],
            check=False,
            cwd=folder,  # where it leaves its cache
        )
        return done.returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--examples", type=int, default=200, help="of each operation and phase")
    parser.add_argument("--st", default="st", help="the program of schemathesis")
    options = parser.parse_args()
    if shutil.which(options.st) is None:
        parser.error(f"no program {options.st!r} here: pip install schemathesis, or give --st PATH")
    with tempfile.TemporaryDirectory(prefix="qkdd-openapi-") as name:
        try:
            return trio.run(run, Path(name), options.examples, options.st)
        except subprocess.SubprocessError as error:
            print(error)
            return 1


if __name__ == "__main__":
    sys.exit(main())
