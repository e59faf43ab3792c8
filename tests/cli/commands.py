"""A command of ``qkdd``, run in this process."""

from click.testing import CliRunner, Result

from qkdd.cli.__main__ import main


def run(*words: object) -> Result:
    """Run it; any exception that is not an exit is the test's."""
    done = CliRunner().invoke(main, [str(word) for word in words], prog_name="qkdd")
    if not isinstance(done.exception, SystemExit | None):
        raise done.exception
    return done
