"""Files of secrets: whole, of the right length, and closed to strangers."""

from pathlib import Path

import pytest

from qkdd.base.errors import ConfigError
from qkdd.daemon.secret_files import read_secret


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620, 0o666])
def test_a_key_file_open_to_others_is_refused_with_the_cure(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(bytes(range(32)))
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o}.*chmod 600"):
        read_secret(path, 32, "master key")
    path.chmod(0o440)
    read_secret(path, 32, "master key").wipe()


def test_a_key_file_of_zeros_is_refused_as_what_destroying_leaves(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(bytes(32))
    path.chmod(0o600)
    for guarded in (True, False):
        with pytest.raises(ConfigError, match="holds zeros: it was destroyed"):
            read_secret(path, 32, "master key", guarded=guarded)
