"""The key container of ETSI GS QKD 014, built where it can be wiped.

``base64.b64encode`` and a JSON encoder would leave immutable copies of the key in freed memory;
this writes each key's base64 text straight into one bytearray, which the edge wipes after sending.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from qkdd.base.secret import Secret
from qkdd.deliver.delivered import DeliveredKey
from qkdd.deliver.messages import KeyExtension

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_ALPHABET = np.frombuffer(_LETTERS, np.uint8)
_PADDING = ord("=")
SHORT_BYTES = 96
"""Up to this a loop is faster than NumPy's dozen calls."""
_DIRECT = msgspec.json.encode(KeyExtension.of(0))


def base64_into(key: memoryview, out: memoryview) -> None:
    """Write the padded base64 (RFC 4648, section 4) of ``key`` into ``out``.

    Raises
    ------
    ValueError
        If ``out`` is not exactly as long as the text.
    """
    n_groups = -(-len(key) // 3)
    if len(out) != 4 * n_groups:
        raise ValueError(f"{len(key)} bytes are {4 * n_groups} characters, not {len(out)}")
    if len(key) <= SHORT_BYTES:
        _short_into(key, out)
        return
    padded = np.zeros((n_groups, 3), np.uint8)
    padded.reshape(-1)[: len(key)] = np.frombuffer(key, np.uint8)
    sextets = np.empty((n_groups, 4), np.uint8)
    sextets[:, 0] = padded[:, 0] >> 2
    sextets[:, 1] = (padded[:, 0] & 3) << 4 | padded[:, 1] >> 4
    sextets[:, 2] = (padded[:, 1] & 15) << 2 | padded[:, 2] >> 6
    sextets[:, 3] = padded[:, 2] & 63
    text = np.frombuffer(out, np.uint8).reshape(n_groups, 4)
    np.take(_ALPHABET, sextets, out=text, mode="clip")
    n_padding = 3 * n_groups - len(key)
    if n_padding:
        text[-1, 4 - n_padding :] = _PADDING
    padded.fill(0)
    sextets.fill(0)


def _short_into(key: memoryview, out: memoryview) -> None:
    """As :func:`base64_into`. Python keeps all numbers below 256 for ever: none is a copy."""
    whole = len(key) - len(key) % 3
    place = 0
    for start in range(0, whole, 3):
        first, second, third = key[start], key[start + 1], key[start + 2]
        out[place] = _LETTERS[first >> 2]
        out[place + 1] = _LETTERS[(first & 3) << 4 | second >> 4]
        out[place + 2] = _LETTERS[(second & 15) << 2 | third >> 6]
        out[place + 3] = _LETTERS[third & 63]
        place += 4
    if whole < len(key):
        first = key[whole]
        second = key[whole + 1] if whole + 1 < len(key) else 0
        out[place] = _LETTERS[first >> 2]
        out[place + 1] = _LETTERS[(first & 3) << 4 | second >> 4]
        out[place + 2] = _LETTERS[(second & 15) << 2] if whole + 1 < len(key) else _PADDING
        out[place + 3] = _PADDING


def key_container(keys: Sequence[DeliveredKey]) -> bytearray:
    """Build the JSON of Table 11. The caller wipes the result, and the secrets."""
    # The text is laid out first and the keys filled in last: a bytearray that grows with a key in
    # it would leave a copy behind.
    body = bytearray(b'{"keys":[')
    starts: list[int] = []
    for number, one in enumerate(keys):
        body += b'%s{"key_ID":"%s","key":"' % (b"," if number else b"", str(one.key_id).encode())
        starts.append(len(body))
        body += bytes(_text_bytes(one.key)) + b'"' + _extensions(one) + b"}"
    body += b"]}"
    with memoryview(body) as view:
        for start, one in zip(starts, keys, strict=True):
            base64_into(one.key.reveal(), view[start : start + _text_bytes(one.key)])
    return body


def _extensions(one: DeliveredKey) -> bytes:
    text = _DIRECT if one.n_relays == 0 else msgspec.json.encode(one.extension)
    text = b',"key_extension":' + text
    if one.id_extension is not None:
        text += b',"key_ID_extension":' + msgspec.json.encode(one.id_extension)
    return text


def _text_bytes(key: Secret) -> int:
    return 4 * -(-len(key) // 3)
