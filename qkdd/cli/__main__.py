"""``qkdd``: the command line. Each command has a file of its own; this one only gathers them."""

import importlib

import click

COMMANDS = {
    "audit": "qkdd.cli.audit",
    "check": "qkdd.cli.check",
    "demo": "qkdd.cli.demo.command",
    "doctor": "qkdd.cli.doctor.command",
    "openapi": "qkdd.cli.openapi",
    "optimise": "qkdd.cli.optimise.command",
    "pki": "qkdd.cli.pki",
    "plan": "qkdd.cli.plan",
    "psk": "qkdd.cli.psk",
    "reload": "qkdd.cli.reload",
    "run": "qkdd.cli.run",
    "safe": "qkdd.cli.safe",
    "status": "qkdd.cli.status",
    "store": "qkdd.cli.store",
    "top": "qkdd.cli.top",
    "zeroise": "qkdd.cli.zeroise",
    "trunk": "qkdd.cli.trunk.command",
}


class LazyGroup(click.Group):
    """Imports a command when it is used: ``qkdd status`` does not wait for NumPy."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = getattr(importlib.import_module(module), cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="qkdd")
def main() -> None:
    """Run and look after a relay of a quantum key distribution network.

    Exit status of every command: 0 done, 1 failed (the reason is on stderr), 2 wrong usage
    (doctor has a scale of its own).
    """


if __name__ == "__main__":
    main()
