"""A light client of key delivery: many keep-alive connections in one epoll loop, a process apart.

    python -P -m benchmarks.https_load PLACES.json

Reads phases as JSON lines on stdin and answers each with one line of JSON: how long every request
took, what failed, and whether any key came twice or differed between the two applications. In a
closed phase every connection asks again as soon as it is answered; in an open one the requests
begin at the moments of a Poisson process, and the time a request waits for a free connection is
part of what it took.
"""

import random
import selectors
import socket
import ssl
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

import msgspec

RECEIVE_BYTES = 16 * 1024
DRAIN_S = 10.0
SEED = 1


class Place(msgspec.Struct, frozen=True):
    """An application and the relay it asks."""

    sae: str
    other: str
    port: int
    pki: str


class Phase(msgspec.Struct, frozen=True):
    masters: tuple[str, ...]
    """The applications that ask for new keys."""
    connections: int
    """Of each master; its slave has as many of its own."""
    seconds: float
    fetch: bool
    """Whether the slave fetches each key, too."""
    per_s: float = 0.0
    """Requests for new keys in all; 0 is a closed loop."""


class Result(msgspec.Struct):
    seconds: float
    cpu_s: float = 0.0
    enc_ms: list[float] = []
    dec_ms: list[float] = []
    failures: dict[str, int] = {}
    keys: int = 0
    """Different keys so far, over all phases."""


class Connection:
    """One TLS connection with at most one request on its way."""

    def __init__(self, place: Place, context: ssl.SSLContext) -> None:
        raw = socket.create_connection(("127.0.0.1", place.port))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(raw, server_hostname="127.0.0.1")
        self.socket.setblocking(False)
        self.pool: deque[Connection] = deque()
        self.since_s = 0.0
        self.key_id = b""
        self._text = b""

    def ask(self, request: bytes, since_s: float, key_id: bytes = b"") -> None:
        self.since_s, self.key_id = since_s, key_id
        self.socket.send(request)

    def answer(self) -> tuple[int, bytes] | None:
        """Return status and body once they are all there."""
        try:
            received = self.socket.recv(RECEIVE_BYTES)
        except ssl.SSLWantReadError:
            return None
        if not received:
            raise SystemExit("a relay closed a connection")
        self._text += received
        head, found, body = self._text.partition(b"\r\n\r\n")
        if not found:
            return None
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) < length:
            return None
        self._text = b""
        return int(head[9:12]), body


class Load:
    """The connections and everything that was ever received; :meth:`run` is one phase."""

    def __init__(self, places: list[Place]) -> None:
        self._places = {place.sae: place for place in places}
        self._contexts = {place.sae: _context(place) for place in places}
        self._idle: dict[tuple[str, str], deque[Connection]] = {}
        self._selector = selectors.DefaultSelector()
        self._keys: dict[bytes, bytes] = {}
        self._distinct: set[bytes] = set()
        self._fetched: set[bytes] = set()

    def _pool(self, sae: str, call: str, number: int) -> deque[Connection]:
        pool = self._idle.setdefault((sae, call), deque())
        while len(pool) < number:
            connection = Connection(self._places[sae], self._contexts[sae])
            connection.pool = pool
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)
            pool.append(connection)
        return pool

    def run(self, phase: Phase) -> Result:
        """Ask for ``phase.seconds``, then wait for what is on its way."""
        result = Result(phase.seconds, failures=Counter())
        for master in phase.masters:
            self._pool(master, "enc", phase.connections)
            if phase.fetch:
                self._pool(self._places[master].other, "dec", phase.connections)
        begin_cpu_s, begin_s = time.process_time(), time.perf_counter()
        turn = _Turn(self, phase, result, begin_s)
        while not turn.over(time.perf_counter()):
            turn.ask()
            for key, _ in self._selector.select(turn.patience_s(time.perf_counter())):
                answer = key.data.answer()
                if answer is not None:
                    turn.answered(key.data, *answer)
        result.seconds = time.perf_counter() - begin_s
        result.cpu_s = time.process_time() - begin_cpu_s
        result.keys = len(self._keys)
        return result

    def came(self, key_id: bytes, key: bytes, *, fetched: bool) -> str:
        """Note a key; return what is wrong with it, if anything."""
        if fetched:
            if key_id in self._fetched:
                return "a key was fetched twice"
            self._fetched.add(key_id)
            return "" if self._keys[key_id] == key else "the two ends differ"
        if key_id in self._keys or key in self._distinct:
            return "a key was delivered twice"
        self._keys[key_id] = key
        self._distinct.add(key)
        return ""

    def request(self, master: str, key_id: bytes = b"") -> bytes:
        """Write a request for a new key, or for the slave's copy of a known one."""
        slave = self._places[master].other
        if key_id:
            target = f"/api/v1/keys/{master}/dec_keys?key_ID={key_id.decode()}"
        else:
            target = f"/api/v1/keys/{slave}/enc_keys?number=1"
        return f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()

    def idle(self, sae: str, call: str) -> deque[Connection]:
        return self._idle[sae, call]

    def slave(self, master: str) -> str:
        return self._places[master].other


class _Turn:
    """One phase under way."""

    def __init__(self, load: Load, phase: Phase, result: Result, begin_s: float) -> None:
        self._load, self._phase, self._result = load, phase, result
        self._end_s = begin_s + phase.seconds
        self._moments = _poisson(phase.per_s, begin_s) if phase.per_s else None
        self._next_s = next(self._moments) if self._moments else begin_s
        self._due: dict[str, deque[float]] = {master: deque() for master in phase.masters}
        self._to_fetch: dict[str, deque[tuple[bytes, float]]] = {m: deque() for m in self._due}
        self._masters = {load.slave(master): master for master in phase.masters}
        self._masters_of: dict[int, str] = {}
        self._requests = {master: load.request(master) for master in phase.masters}
        self._turn = 0
        self._open = 0

    def over(self, now_s: float) -> bool:
        if now_s > self._end_s + DRAIN_S:
            raise SystemExit(f"{self._open} requests have no answer after {DRAIN_S:g} s")
        waiting = any(self._due.values()) or any(self._to_fetch.values())
        return now_s >= self._end_s and not self._open and not waiting

    def patience_s(self, now_s: float) -> float:
        if self._moments is not None and self._next_s < self._end_s:
            return max(0.0, self._next_s - now_s)
        return 0.05

    def ask(self) -> None:
        """Send all that is due and has a connection."""
        now_s = time.perf_counter()
        self._arrive(now_s)
        for master in self._phase.masters:
            idle, due = self._load.idle(master, "enc"), self._due[master]
            while idle and (due or (self._moments is None and now_s < self._end_s)):
                self._send(idle.popleft(), master, due.popleft() if due else now_s)
            if self._phase.fetch:
                idle, ids = self._load.idle(self._load.slave(master), "dec"), self._to_fetch[master]
                while idle and ids:
                    self._send(idle.popleft(), master, ids[0][1], ids.popleft()[0])

    def _arrive(self, now_s: float) -> None:
        while self._moments is not None and self._next_s <= min(now_s, self._end_s):
            master = self._phase.masters[self._turn % len(self._phase.masters)]
            self._due[master].append(self._next_s)
            self._next_s = next(self._moments)
            self._turn += 1

    def _send(self, connection: Connection, master: str, since_s: float, key: bytes = b"") -> None:
        request = self._load.request(master, key) if key else self._requests[master]
        self._masters_of[id(connection)] = master
        self._open += 1
        connection.ask(request, since_s, key)

    def answered(self, connection: Connection, status: int, body: bytes) -> None:
        now_s = time.perf_counter()
        self._open -= 1
        connection.pool.append(connection)
        master = self._masters_of[id(connection)]
        if status != 200:
            self._result.failures[f"{status} {body[:80].decode()}"] += 1
            return
        (one,) = msgspec.json.decode(body)["keys"]
        key_id, key = one["key_ID"].encode(), one["key"].encode()
        wrong = self._load.came(key_id, key, fetched=bool(connection.key_id))
        if wrong:
            raise SystemExit(wrong)
        took_ms = 1e3 * (now_s - connection.since_s)
        if connection.key_id:
            self._result.dec_ms.append(took_ms)
        else:
            self._result.enc_ms.append(took_ms)
            if self._phase.fetch:
                self._to_fetch[master].append((key_id, now_s))


def _poisson(per_s: float, begin_s: float) -> Iterator[float]:
    dice = random.Random(SEED)
    while True:
        begin_s += dice.expovariate(per_s)
        yield begin_s


def _context(place: Place) -> ssl.SSLContext:
    pki = Path(place.pki)
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=pki / "ca.pem")
    context.load_cert_chain(pki / f"{place.sae}.pem", pki / f"{place.sae}.key")
    return context


def main() -> None:
    places = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=list[Place])
    load = Load(places)
    for line in sys.stdin.buffer:
        result = load.run(msgspec.json.decode(line, type=Phase))
        sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
