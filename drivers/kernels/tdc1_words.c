/* Pulses at a TDC1's inputs to its 32-bit words (drivers/sim/s15_tdc1.py). */
#include <stdint.h>

enum { TICK_PS = 2000, DUMMY = 1 << 4, DUMMY_TICKS = 1 << 26 };

/* Words of ticks start <= tick < stop, each tick once with all inputs hit in it, and a dummy where
 * DUMMY_TICKS pass without a word, the last not after until. *last is the tick of the last word.
 * times do not fall. The caller has room for a word of each pulse and each dummy. */
int64_t tdc1_words(const int64_t *time_ps, const uint8_t *channel, int64_t n, int64_t start,
                   int64_t stop, int64_t until, int64_t *last, uint32_t *word) {
    int64_t written = 0;
    int64_t i = 0;
    while (i < n) {
        int64_t tick = time_ps[i] / TICK_PS;
        uint32_t pattern = 0;
        for (; i < n && time_ps[i] < (tick + 1) * TICK_PS; i++)
            pattern |= 1u << (channel[i] - 1);
        if (tick < start)
            continue;
        if (tick >= stop)
            break;
        tick = tick > *last ? tick : *last;
        for (; tick - *last > DUMMY_TICKS; *last += DUMMY_TICKS)
            word[written++] = (uint32_t)((*last + DUMMY_TICKS) << 5) | DUMMY;
        word[written++] = (uint32_t)(tick << 5) | pattern;
        *last = tick;
    }
    for (; until - *last >= DUMMY_TICKS; *last += DUMMY_TICKS)
        word[written++] = (uint32_t)((*last + DUMMY_TICKS) << 5) | DUMMY;
    return written;
}
