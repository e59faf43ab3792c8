"""A laser whose interlock has opened and closed again: driver and simulator in one process."""

import pytest

from drivers.errors import Refused
from drivers.laser.koheron_ctl200 import KoheronCtl200
from drivers.sim.koheron_ctl200 import CTL200
from drivers.transports.scripted import ScriptedTransport


async def test_what_ended_the_light_before_is_no_error_of_the_light_now(autojump_clock):
    """The error word remembers an interlock that has been closed again, until it is cleared."""
    ctl200 = CTL200()

    class Wire(ScriptedTransport):
        async def send(self, data: bytes) -> None:
            self.say(ctl200.receive(data) + ctl200.advance(0.01))

    laser = KoheronCtl200(Wire())
    await laser.set_output(on=True)
    ctl200.open_interlock(True)
    ctl200.advance(0.01)
    assert (await laser.status()).errors == ("interlock triggered",)
    with pytest.raises(Refused, match="interlock is open"):
        await laser.set_output(on=True)
    ctl200.open_interlock(False)
    await laser.set_output(on=True)
    status = await laser.status()
    assert (status.on, status.errors) == (True, ())
