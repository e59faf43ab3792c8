/* Packed key bits of a block, and their intensities, to a byte each in the order of spread.py.
 *
 * Key bits are only ever shifted, masked and multiplied.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { TOGETHER = 8, APART = 1024 };

static inline uint64_t load(const uint8_t *from)
{
    uint64_t value;
    memcpy(&value, from, sizeof value);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

static inline void store(uint8_t *to, uint64_t value)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    memcpy(to, &value, sizeof value);
}

/* Put the first n_bits of a plane behind the first at_bit bits of another, whose rest is 0; there
 * is room for 16 bytes more. */
void spread_join(const uint8_t *plane, size_t n_bits, uint8_t *joined, size_t at_bit)
{
    const unsigned shift = at_bit % 8;
    uint8_t *to = joined + at_bit / 8;
    for (size_t done = 0; done < n_bits; done += 64, to += 8) {
        const size_t here = n_bits - done < 64 ? n_bits - done : 64;
        uint8_t eight[8] = {0};
        memcpy(eight, plane + done / 8, (here + 7) / 8);
        const uint64_t value = load(eight) & (~(uint64_t)0 >> (64 - here));
        store(to, load(to) | value << shift);
        if (shift)
            to[8] = (uint8_t)(value >> (64 - shift));
    }
}

/* Bit i of a byte to byte i. */
static inline uint64_t apart(uint64_t byte)
{
    const uint64_t one_each = (byte * 0x0101010101010101u) & 0x8040201008040201u;
    return (one_each + 0x7f7f7f7f7f7f7f7fu) >> 7 & 0x0101010101010101u;
}

/* Bits are packed, bit 0 of byte 0 first, and padded with zeros. */
void spread_unpack(const uint8_t *bits, const uint8_t *low, const uint8_t *high, size_t n_bits,
                   uint8_t *key_bits, uint8_t *intensities)
{
    const size_t n_rows = n_bits / (TOGETHER * APART);
    /* Eight columns at a time: a word of each row is read, eight columns are written on. */
    for (size_t column = 0; column < APART; column += 8) {
        for (size_t row = 0; row < n_rows; row++) {
            const size_t at = row * APART + column;
            const uint64_t key = load(bits + at), lows = load(low + at), highs = load(high + at);
            for (size_t j = 0; j < 8; j++) {
                const size_t to = 8 * ((column + j) * n_rows + row);
                store(key_bits + to, apart(key >> 8 * j & 255));
                store(intensities + to,
                      apart(lows >> 8 * j & 255) | apart(highs >> 8 * j & 255) << 1);
            }
        }
    }
    for (size_t i = n_rows * TOGETHER * APART; i < n_bits; i++) {
        key_bits[i] = bits[i / 8] >> i % 8 & 1;
        intensities[i] = (low[i / 8] >> i % 8 & 1) | (high[i / 8] >> i % 8 & 1) << 1;
    }
}
