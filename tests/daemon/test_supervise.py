"""A service is restarted after what it may fail at, with patience; a bug ends everything."""

from itertools import pairwise

import pytest
import trio
from structlog.testing import capture_logs

from qkdd.base.errors import LinkLost, SecurityAlarm
from qkdd.daemon.supervise import CALM_S, supervise


async def test_patience_doubles_up_to_its_limit_and_reasons_are_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    starts_s: list[float] = []
    reasons: list[str] = []
    begin_s = trio.current_time()

    async def service() -> None:
        starts_s.append(trio.current_time() - begin_s)
        if len(starts_s) < 8:
            raise LinkLost(f"failure {len(starts_s)}")

    await supervise("x", service, restart_on=(LinkLost,), failed=reasons.append)
    assert starts_s == [0, 0.5, 1.5, 3.5, 7.5, 12.5, 17.5, 22.5]
    assert reasons == [f"failure {n}" for n in range(1, 8)]


async def test_patience_starts_afresh_after_a_calm_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    starts_s: list[float] = []

    async def service() -> None:
        starts_s.append(trio.current_time())
        if len(starts_s) == 3:
            await trio.sleep(CALM_S + 1)
        if len(starts_s) < 5:
            raise LinkLost

    await supervise("x", service, restart_on=(LinkLost,))
    gaps_s = [later - earlier for earlier, later in pairwise(starts_s)]
    assert gaps_s == [0.5, 1.0, CALM_S + 1 + 0.5, 1.0]


async def test_a_bug_beside_an_allowed_failure_goes_up() -> None:
    async def service() -> None:
        raise ExceptionGroup("both", [LinkLost("lost"), ZeroDivisionError()])

    with pytest.raises(ExceptionGroup) as caught:
        await supervise("x", service, restart_on=(LinkLost,))
    assert caught.group_contains(ZeroDivisionError)


@pytest.mark.parametrize(
    ("failure", "level"), [(LinkLost("away"), "warning"), (SecurityAlarm("forged"), "error")]
)
async def test_an_alarm_is_for_the_operator(
    failure: Exception, level: str, autojump_clock: trio.testing.MockClock
) -> None:
    failures = [failure]

    async def service() -> None:
        if failures:
            raise failures.pop()

    with capture_logs() as logs:
        await supervise("x", service, restart_on=(LinkLost, SecurityAlarm))
    assert [(line["log_level"], line["reason"]) for line in logs] == [(level, str(failure))]
