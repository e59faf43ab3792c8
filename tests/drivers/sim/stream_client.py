"""A client of the DataLinkTarget service, and the port between them, without a network."""


class Client:
    """A port and whoever is connected to it."""

    def __init__(self, *, present: bool = True) -> None:
        self.present, self.reads, self.open = present, True, True
        self.taken: list[bytes] = []
        self.unread = 0

    def put(self, message: memoryview) -> bool:
        if not (self.present and self.open):
            return False
        self.taken.append(bytes(message))
        self.unread += 0 if self.reads else message.nbytes
        return True

    def held_bytes(self) -> int:
        return self.unread

    def close(self) -> None:
        self.open = False
