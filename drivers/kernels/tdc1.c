/* Words of a TDC1 to tags: bits 31..5 time in ticks of 2 ns, bit 4 dummy, bits 3..0 inputs. */

#include <stdint.h>
#include <string.h>

enum { TICK_PS = 2000 };

static const uint32_t TIME_MASK = (1u << 27) - 1;

/* How many tags a word has, by its low five bits: one per input, none in a dummy event. */
static const uint8_t TAGS[32] = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4};

/* The lowest input of a pattern, counted from 1. */
static const uint8_t LOWEST[32] = {0, 1, 2, 1, 3, 1, 2, 1, 4, 1, 2, 1, 3, 1, 2, 1};

static inline uint32_t word_at(const uint8_t *data, int64_t index)
{
    uint32_t word; /* the wire is little-endian, whatever the host is */
    memcpy(&word, data + 4 * index, sizeof word);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap32(word);
#endif
    return word;
}

/* How many tags the words hold. */
int64_t tdc1_count(const uint8_t *data, int64_t n_words)
{
    int64_t n_tags = 0;
    for (int64_t i = 0; i < n_words; i++)
        n_tags += TAGS[data[4 * i] & 31];
    return n_tags;
}

/* state: [0] tick of the last word, in and out; [1] longest step in ticks, out; [2] words that
 * are neither dummy nor have an input, out. times_ps and channels have tdc1_count() places. */
void tdc1_decode(const uint8_t *data, int64_t n_words, int64_t *state,
                 int64_t *times_ps, uint8_t *channels)
{
    int64_t tick = state[0];
    uint32_t last = (uint32_t)tick & TIME_MASK;
    uint32_t longest = 0;
    int64_t n_hollow = 0;
    int64_t n_tags = 0;
    for (int64_t i = 0; i < n_words; i++) {
        const uint32_t word = word_at(data, i);
        const uint32_t time = word >> 5;
        const uint32_t step = (time - last) & TIME_MASK;
        uint32_t pattern = word & 31;
        last = time;
        tick += step;
        longest = step > longest ? step : longest;
        n_hollow += pattern == 0;
        for (uint32_t left = TAGS[pattern]; left > 0; left--) {
            times_ps[n_tags] = tick * TICK_PS;
            channels[n_tags] = LOWEST[pattern];
            n_tags++;
            pattern &= pattern - 1;
        }
    }
    state[0] = tick;
    state[1] = longest;
    state[2] = n_hollow;
}
