/* Slots of clicks as gaps of two bytes: the form is in qkdd/sift/gaps.py, the twin in gaps.py. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { ESCAPE = 65535, TOGETHER = 8 };

/* --- eight at once, where no gap needs an escape --- */

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi" /* no vector is passed: what takes one is inlined */
#endif
#define INLINE static inline __attribute__((always_inline))

typedef uint32_t wide __attribute__((vector_size(4 * TOGETHER)));
typedef uint16_t narrow __attribute__((vector_size(2 * TOGETHER)));

INLINE void swap(narrow *words) /* the wire is little-endian, whatever the host is */
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    *words = *words << 8 | *words >> 8;
#endif
}

/* Returns 0 if a gap to the slot before is not 1 to ESCAPE - 1. */
INLINE int encode_eight(const uint32_t *slots, uint8_t *words)
{
    wide here, before;
    memcpy(&here, slots, sizeof here);
    memcpy(&before, slots - 1, sizeof before);
    const wide gap = here - before;
    const wide not_so = ((gap + 1) | (gap - 1)) >> 16 | (wide)(here <= before);
    uint64_t two[4];
    memcpy(two, &not_so, sizeof two);
    if (two[0] | two[1] | two[2] | two[3])
        return 0;
    narrow found = __builtin_convertvector(gap, narrow);
    swap(&found);
    memcpy(words, &found, sizeof found);
    return 1;
}

/* Returns the sum of the gaps, or 0 if one is 0 or goes on. */
INLINE int64_t decode_eight(const uint8_t *words, int64_t slot, int64_t *slots)
{
    narrow gaps;
    memcpy(&gaps, words, sizeof gaps);
    swap(&gaps);
    const narrow not_so = (narrow)(gaps == 0) | (narrow)(gaps == ESCAPE);
    uint64_t two[2];
    memcpy(two, &not_so, sizeof two);
    if (two[0] | two[1])
        return 0;
    const int64_t previous = slot;
    for (int i = 0; i < TOGETHER; i++)
        slots[i] = slot += gaps[i];
    return slot - previous;
}

/* --- whole lists --- */

/* Returns how many words were written, or -1 if the slots do not rise. */
int64_t gaps_encode(const uint32_t *slots, int64_t n_slots, int64_t previous, uint8_t *words,
                    int64_t room)
{
    int64_t at = 0;
    for (int64_t i = 0; i < n_slots; i++) {
        while (i > 0 && i + TOGETHER <= n_slots && at + TOGETHER <= room &&
               encode_eight(slots + i, words + 2 * at)) {
            i += TOGETHER;
            at += TOGETHER;
            previous = slots[i - 1];
        }
        if (i == n_slots)
            break;
        int64_t gap = (int64_t)slots[i] - previous;
        if (gap < 1)
            return -1;
        previous = slots[i];
        if (gap >= ESCAPE) {
            const int64_t n_escapes = gap / ESCAPE;
            if (n_escapes >= room - at)
                return -1;
            memset(words + 2 * at, 0xff, 2 * (size_t)n_escapes);
            at += n_escapes;
            gap %= ESCAPE;
        }
        if (at >= room)
            return -1;
        words[2 * at] = (uint8_t)gap;
        words[2 * at + 1] = (uint8_t)(gap >> 8);
        at++;
    }
    return at;
}

/* Returns the lowest place of a click in its frame (INT64_MAX: no clicks), or -1 if the words are
 * not exactly n_clicks gaps above 0. */
int64_t gaps_decode(const uint8_t *words, int64_t n_words, int64_t previous, int64_t n_clicks,
                    int64_t frame_pulses, int64_t *slots)
{
    int64_t slot = previous, gap = 0, n = 0, lowest = INT64_MAX;
    int64_t place = previous < 0 ? previous : previous % frame_pulses;
    for (int64_t i = 0; i < n_words; i++) {
        while (gap == 0 && i + TOGETHER <= n_words && n + TOGETHER <= n_clicks &&
               place < frame_pulses - TOGETHER * ESCAPE) {
            const int64_t sum = decode_eight(words + 2 * i, slot, slots + n);
            if (sum == 0)
                break;
            const int64_t first = place + slots[n] - slot;
            lowest = first < lowest ? first : lowest;
            slot += sum;
            place += sum;
            i += TOGETHER;
            n += TOGETHER;
        }
        if (i == n_words)
            break;
        const int64_t word = words[2 * i] | words[2 * i + 1] << 8;
        gap += word;
        if (word == ESCAPE)
            continue;
        if (gap == 0 || n == n_clicks)
            return -1;
        slot += gap;
        place += gap;
        if (place >= frame_pulses)
            place %= frame_pulses;
        lowest = place < lowest ? place : lowest;
        slots[n++] = slot;
        gap = 0;
    }
    return gap || n != n_clicks ? -1 : lowest;
}
