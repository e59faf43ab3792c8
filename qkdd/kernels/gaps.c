/* Slots of clicks as gaps of two bytes: the form is in qkdd/sift/gaps.py, the twin in gaps.py. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { ESCAPE = 65535 };

/* Returns how many words were written, or -1 if the slots do not rise. */
int64_t gaps_encode(const uint32_t *slots, int64_t n_slots, int64_t previous, uint8_t *words,
                    int64_t room)
{
    int64_t at = 0;
    for (int64_t i = 0; i < n_slots; i++) {
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
