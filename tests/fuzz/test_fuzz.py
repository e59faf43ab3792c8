"""A bounded share of the fuzzing: each parser meets a few hundred inputs that are nearly right.

``python -m benchmarks.fuzz`` feeds the same targets with ten million.
"""

import itertools
import random
import warnings

import pytest

from tests.fuzz.drive import drive, inputs
from tests.fuzz.everything import all_targets
from tests.fuzz.mutate import Mutator
from tests.fuzz.target import Kept, Target

TARGETS = {target.name: target for target in all_targets()}
N_INPUTS, N_SLOW = 200, 20


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_what_is_documented_comes_of_an_input(name: str) -> None:
    target = TARGETS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cryptography's, of certificates that it will refuse
        score = drive(target, inputs(target, 1), N_SLOW if target.slow else N_INPUTS)
    if score.broken is not None:
        error = score.broken.error
        pytest.fail(f"{error!r} of {score.broken.data.hex()}")
    assert score.n_accepted, "not even the seeds were accepted"


def test_the_same_seed_gives_the_same_inputs_and_another_one_others() -> None:
    target = TARGETS["hello"]
    once, again, other = (list(itertools.islice(inputs(target, seed), 200)) for seed in (5, 5, 6))
    assert once == again != other


@pytest.mark.parametrize("form", ["bytes", "msgpack", "json"])
def test_most_inputs_are_changed_and_none_is_too_long(form: str) -> None:
    seed = {"bytes": b"abcdefgh", "msgpack": b"\x93\x01\xa1a\xc4\x01b", "json": b'{"a":[1,"b"]}'}[
        form
    ]
    target = Target("it", "file", (seed,), lambda data: True, form, max_bytes=500)
    mutator = Mutator(target, random.Random(1))
    made = [mutator.next() for _ in range(2_000)]
    assert max(map(len, made)) <= 500
    assert sum(one != seed for one in made) > 1_700
    assert len(set(made)) > 500


class Machine:
    def __init__(self) -> None:
        self.heard = [b"nothing"]


def test_an_error_that_nobody_documented_is_found_with_its_input() -> None:
    def feed(data: bytes) -> bool:
        return bool({b"a": 1}[data])

    broken = drive(Target("it", "file", (b"a",), feed), iter([b"a", b"b", b"a"]), 3)
    assert broken.n_inputs == 2
    assert broken.broken is not None
    assert (broken.broken.data, type(broken.broken.error)) == (b"b", KeyError)


def test_a_machine_that_is_changed_by_what_it_refuses_is_found() -> None:
    machine = Kept(Machine)

    def feed(data: bytes) -> bool:
        machine.get().heard += [data] if data == b"b" else []
        machine.refused()
        return False

    broken = drive(Target("it", "peer", (b"a",), feed), iter([b"a", b"b"]), 2).broken
    assert broken is not None
    assert broken.data == b"b"


def test_an_input_that_takes_very_long_or_very_much_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.fuzz.drive.HANGS_AFTER_S", 0.05)
    monkeypatch.setattr("tests.fuzz.drive.MAX_GROWTH_KIB", 1 << 10)

    def feed(data: bytes) -> bool:
        while data == b"long":
            pass
        return bool(b"x" * (256 << 20))

    for data in (b"much", b"long"):
        broken = drive(Target("it", "file", (b"a",), feed), iter([data]), 1).broken
        assert broken is not None, data
