"""Tags through the ID1000's driver: 9 million a second without a loss, and how many more fit.

The peer is a generator in a process of its own, which speaks the device's SCPI, the data link's
JSON and its four streams on this host's loopback. The limits are the device's own 10 million a
second (manual page 48), and one core: 111 ns per tag at the promised rate.
"""

import multiprocessing as mp
import resource
import time
from multiprocessing.connection import Connection

import numpy as np
import trio
import zmq

from drivers import catalogue
from drivers.kernels import id1000
from drivers.timetagger import TimeTagger
from drivers.timetagger.id1000_settings import parse_resource

RECORD_S = 0.2
SECONDS = 5
PROMISED_HZ = 9_000_000
INPUTS = (1, 2, 3, 4)


class Generator:
    """Sends the same record again and again, at ``rate_hz`` or (0) as fast as it is taken."""

    def __init__(self, rate_hz: int) -> None:
        rng = np.random.default_rng(1)
        self.pace_s = RECORD_S if rate_hz else 0.0
        n_times = int((rate_hz or PROMISED_HZ) * RECORD_S / len(INPUTS))
        self.messages = {
            n: np.sort(rng.integers(0, 200 * 10**9, n_times)).astype("<u8").tobytes()
            for n in INPUTS
        }
        self.n_times = n_times
        self.n_ended = dict.fromkeys(INPUTS, 0)
        self.playing = False
        self.start_s = 0.0
        self.context = zmq.Context()
        self.scpi, self.dlt = (self.context.socket(zmq.REP) for _ in range(2))
        self.streams: dict[int, zmq.Socket[bytes]] = {}

    def serve(self, pipe: Connection) -> None:
        ports = [one.bind_to_random_port("tcp://127.0.0.1") for one in (self.scpi, self.dlt)]
        pipe.send(ports)
        poller = zmq.Poller()
        for one in (self.scpi, self.dlt):
            poller.register(one, zmq.POLLIN)
        while not pipe.poll():
            for one, _ in poller.poll(0 if self.playing and not self.pace_s else 2):
                answer = self.scpi_answer if one is self.scpi else self.dlt_answer
                one.send_string(answer(one.recv_string()))
            self.advance()
        self.context.destroy(linger=0)

    def scpi_answer(self, line: str) -> str:
        if line in ("REC:PLAY", "REC:STOP"):
            self.playing, self.start_s = line.endswith("PLAY"), time.monotonic()
        if line == "REC:STAGe?":
            return "PLAYING" if self.playing else "IDLE"
        return {"*IDN?": "generator Serial : 1"}.get(line, "0" if "?" in line else "")

    def dlt_answer(self, line: str) -> str:
        words = line.split()
        if words[0] == "list":
            return "[]"
        if words[0] == "start-stream":
            number = int(words[4])
            stream = self.streams[number] = self.context.socket(zmq.PAIR)
            stream.setsockopt(zmq.SNDHWM, 8)
            stream.bind(f"tcp://127.0.0.1:{words[6]}")
            return f'{{"id": "{number}"}}'
        n_ended = self.n_ended[int(words[2])]
        counts = (
            f'{{"acquisitions_count": {n_ended}, "timestamps_count": {n_ended * self.n_times}, '
            '"errors": [], "inactivity": 0}'
        )
        return f'{{"status": {counts}}}' if words[0] == "stop" else counts

    def advance(self) -> None:
        for number, stream in self.streams.items():
            due_s = self.start_s + (self.n_ended[number] + 1) * self.pace_s
            if self.playing and time.monotonic() >= due_s and stream.poll(0, zmq.POLLOUT):
                stream.send(self.messages[number])
                self.n_ended[number] += 1


def generate(rate_hz: int, pipe: Connection) -> None:
    Generator(rate_hz).serve(pipe)


async def acquire(tagger: TimeTagger, seconds: float) -> tuple[int, int, int, float]:
    """Return tags, records, records with a loss or a wrong sum, and the time that it took."""
    await tagger.start()
    begin_s = time.perf_counter()
    n_tags = n_records = n_wrong = 0
    first: int | None = None
    while time.perf_counter() - begin_s < seconds:
        block = await tagger.read()
        start_ps = block.until_ps - parse_resource("zmq://x").period_ps
        content = int(np.sum((block.times_ps - start_ps) * block.channels))
        first = content if first is None else first
        n_wrong += block.lost or content != first or bool(np.any(np.diff(block.times_ps) < 0))
        n_tags += block.times_ps.size
        n_records += 1
    took_s = time.perf_counter() - begin_s
    n_wrong += (await tagger.stop()).lost
    return n_tags, n_records, n_wrong, took_s


async def measure(rate_hz: int, seconds: float) -> None:
    ours, theirs = mp.Pipe()
    process = mp.get_context("spawn").Process(target=generate, args=(rate_hz, theirs))
    process.start()
    scpi, dlt = await trio.to_thread.run_sync(ours.recv)
    address = f"zmq://127.0.0.1:{scpi}?dlt=127.0.0.1:{dlt}"
    async with catalogue.open_time_tagger("idq-id1000", address) as tagger:
        cpu_s = time.process_time()
        n_tags, n_records, n_wrong, took_s = await acquire(tagger, seconds)
        cpu_s = time.process_time() - cpu_s
    ours.send("end")
    process.join()
    wanted = f"{rate_hz / 1e6:.0f} Mtag/s" if rate_hz else "no limit"
    print(
        f"{wanted:>9} asked, {id1000.backend():5} kernel: {n_tags / took_s / 1e6:5.2f} Mtag/s, "
        f"{n_records} records, {n_wrong} wrong; {cpu_s / n_tags * 1e9:4.1f} ns of CPU per tag "
        f"with the check, {cpu_s / took_s:.0%} of a core"
    )


def kernel_ns() -> dict[str, float]:
    generator = Generator(PROMISED_HZ)
    generator.context.destroy(linger=0)
    streams = [np.frombuffer(one, np.uint8) for one in generator.messages.values()]
    found = {}
    for name in id1000.variants():
        id1000.force(name)
        best = float("inf")
        for _ in range(5):
            begin_ns = time.process_time_ns()
            for stream in streams:
                id1000.check(stream)
            id1000.merge(streams, INPUTS, 0)
            best = min(best, time.process_time_ns() - begin_ns)
        found[name] = best / (4 * generator.n_times)
    id1000.force(id1000.variants()[0])
    return found


def main() -> None:
    found = kernel_ns()
    for name, spent in found.items():
        print(
            f"kernel {name:5} {spent:5.1f} ns per tag, {found['numpy'] / spent:.1f} times the twin"
        )
    for rate_hz in (1_000_000, PROMISED_HZ):
        trio.run(measure, rate_hz, SECONDS)
        print(f"          most memory in use so far {peak_mb():.0f} MB")
    id1000.force("numpy")
    trio.run(measure, PROMISED_HZ, SECONDS)
    id1000.force(id1000.variants()[0])
    trio.run(measure, 0, SECONDS)
    found = kernel_ns()
    for name, spent in found.items():
        ratio = found["numpy"] / spent
        print(f"kernel {name:5} {spent:5.1f} ns per tag, {ratio:.1f} times as fast as the twin")
    print("          (without a limit the generator stops between inputs: a last record is lost)")
    print(f"          most memory in use so far {peak_mb():.0f} MB")


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
