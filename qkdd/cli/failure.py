"""What a command says of an error, in one line: the file, and what is wrong with it."""

import click


def reason(error: Exception) -> str:
    """Say an error without the number that the system has for it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def failed(error: Exception) -> click.ClickException:
    """End a command with status 1 and the reason on stderr."""
    return click.ClickException(reason(error))
