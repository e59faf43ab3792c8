"""The power is cut in the middle of anything; disks keep what they must and lose what they may."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.recorded_disk import why_not
from tests.whole.power_commands import record_commands
from tests.whole.power_cut import some_cuts
from tests.whole.power_record import record

SECONDS = 5.0
N_CUTS, N_REVIVED = 40, 2


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of a machine whose disks can be recorded."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    (tmp_path / "site").mkdir()
    return tmp_path / "site"


@pytest.mark.long
@pytest.mark.parametrize("lit", [False, True], ids=["from stock", "under light"])
async def test_after_a_power_cut_no_key_and_no_pad_comes_twice_and_both_ends_agree(
    folder: Path, lit: bool
) -> None:
    dice = random.Random(int(lit))
    recording = await record(folder, SECONDS, lit=lit)
    findings = recording.examine(folder / "after", N_CUTS, dice)
    assert not findings.faults
    assert findings.n_keys > N_CUTS
    assert findings.n_pads > N_CUTS
    for cut in some_cuts(recording.entries, recording.first, N_REVIVED, dice):
        await recording.revive(folder / "after", cut)


@pytest.mark.long
async def test_a_store_that_did_not_wait_for_its_disk_would_be_found_out(folder: Path) -> None:
    recording = await record(folder, SECONDS, lit=False, sync=False)
    faults = recording.examine(folder / "after", 10, random.Random(2)).faults
    assert any("was given again" in fault or "would be used again" in fault for fault in faults)


@pytest.mark.long
async def test_a_power_cut_in_a_command_leaves_each_key_in_one_place_and_none_once_zeroised(
    folder: Path,
) -> None:
    commands = await record_commands(folder)
    assert not list(commands.faults(N_CUTS, random.Random(3)))
