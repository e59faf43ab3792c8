"""AES-256, written from FIPS 197 for tests alone: slow, and sharing nothing with the daemon."""


def xtime(a: int) -> int:
    return (a << 1) ^ (0x11B if a & 0x80 else 0)


def multiply(a: int, b: int) -> int:
    """FIPS 197, section 4.2."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a = xtime(a)
        b >>= 1
    return product


def substitute(a: int) -> int:
    """Inverse in GF(2^8), then the affine map: FIPS 197, section 5.1.1."""
    inverse = next((b for b in range(256) if multiply(a, b) == 1), 0)
    rotated = [inverse << n | inverse >> (8 - n) for n in range(5)]
    return (rotated[0] ^ rotated[1] ^ rotated[2] ^ rotated[3] ^ rotated[4] ^ 0x63) & 0xFF


SBOX = bytes(substitute(a) for a in range(256))


def round_keys(key: bytes) -> list[bytes]:
    """FIPS 197, section 5.2, Nk = 8."""
    words = [key[i : i + 4] for i in range(0, 32, 4)]
    rcon = 1
    for i in range(8, 60):
        word = words[i - 1]
        if i % 8 == 0:
            word = bytes(SBOX[b] for b in word[1:] + word[:1])
            word = bytes([word[0] ^ rcon]) + word[1:]
            rcon = xtime(rcon)
        elif i % 8 == 4:
            word = bytes(SBOX[b] for b in word)
        words.append(bytes(a ^ b for a, b in zip(words[i - 8], word, strict=True)))
    return [b"".join(words[i : i + 4]) for i in range(0, 60, 4)]


def aes256(key: bytes, block: bytes) -> bytes:
    """FIPS 197, section 5.1, Nr = 14."""
    keys = round_keys(key)
    state = bytes(a ^ b for a, b in zip(block, keys[0], strict=True))
    for turn in range(1, 15):
        state = bytes(SBOX[state[(i + 4 * (i % 4)) % 16]] for i in range(16))
        if turn < 14:
            mixed = bytearray()
            for column in range(0, 16, 4):
                c = state[column : column + 4]
                for row in range(4):
                    mixed.append(
                        multiply(c[row], 2)
                        ^ multiply(c[(row + 1) % 4], 3)
                        ^ c[(row + 2) % 4]
                        ^ c[(row + 3) % 4]
                    )
            state = bytes(mixed)
        state = bytes(a ^ b for a, b in zip(state, keys[turn], strict=True))
    return state
