/* Words of a TDC1 to tags: bits 31..5 time in ticks of 2 ns, bit 4 dummy, bits 3..0 inputs. */

#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { TICK_PS = 2000, TIME_MASK = (1 << 27) - 1 };

/* How many tags a word has, by its low five bits: one per input, none in a dummy event. */
static const uint8_t TAGS[32] = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4};

/* The lowest input of a pattern, counted from 1. */
static const uint8_t LOWEST[32] = {0, 1, 2, 1, 3, 1, 2, 1, 4, 1, 2, 1, 3, 1, 2, 1};

INLINE uint32_t word_at(const uint8_t *data, int64_t index)
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
    while (n_words > 0) { /* counted in 32 bits, which the compiler adds four and more at a time */
        const int64_t here = n_words < 1 << 20 ? n_words : 1 << 20;
        uint32_t n_here = 0;
        for (int64_t i = 0; i < here; i++) {
            const uint32_t word = word_at(data, i);
            const uint32_t inputs = word & ((word >> 4 & 1) - 1);
            n_here += (inputs & 1) + (inputs >> 1 & 1) + (inputs >> 2 & 1) + (inputs >> 3 & 1);
        }
        n_tags += n_here;
        data += 4 * here;
        n_words -= here;
    }
    return n_tags;
}

/* --- eight words at once --- */

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi" /* no vector is passed: what takes one is inlined */
#endif

enum { TOGETHER = 8 };

typedef uint32_t words __attribute__((vector_size(4 * TOGETHER)));
typedef int64_t times __attribute__((vector_size(8 * TOGETHER)));
typedef uint8_t bytes __attribute__((vector_size(TOGETHER)));

INLINE words words_at(const uint8_t *data)
{
    words w;
    memcpy(&w, data, sizeof w);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    for (int i = 0; i < TOGETHER; i++)
        w[i] = __builtin_bswap32(w[i]);
#endif
    return w;
}

INLINE int any(const words *w)
{
    uint64_t two[TOGETHER / 2];
    memcpy(two, w, sizeof two);
    return (two[0] | two[1] | two[2] | two[3]) != 0;
}

/* Decode eight words of one input each, within one turn of the tagger's counter, behind another
 * word; *longest is of each place by itself. Returns 0, and does nothing, if they are not so. */
INLINE int eight(const uint8_t *data, int64_t tick, words *longest, int64_t *times_ps,
                 uint8_t *channels)
{
    const uint32_t last = word_at(data, -1) >> 5;
    const words here = words_at(data), pattern = here & 31;
    const words since = ((here >> 5) - last) & TIME_MASK;
    const words before = ((words_at(data - 4) >> 5) - last) & TIME_MASK;
    const words step = since - before; /* above 2^31 where the counter turns once more */
    const words not_so = ((pattern | (pattern - 1)) & 16) | (pattern & (pattern - 1)) | step >> 31;
    if (any(&not_so))
        return 0;
    const words more = (words)(step > *longest);
    *longest = (step & more) | (*longest & ~more);
    const times ticks = __builtin_convertvector(since, times) + tick;
    const times ps = ((ticks << 7) - (ticks << 1) - ticks) << 4;
    const bytes channel = __builtin_convertvector(1 + (pattern >> 1) - (pattern >> 3), bytes);
    memcpy(times_ps, &ps, sizeof ps);
    memcpy(channels, &channel, sizeof channel);
    return 1;
}

_Static_assert(((1 << 7) - (1 << 1) - 1) << 4 == TICK_PS, "eight() multiplies by shifts");

INLINE void decode(const uint8_t *data, int64_t n_words, int64_t *state, int64_t *times_ps,
                   uint8_t *channels)
{
    int64_t tick = state[0];
    uint32_t last = (uint32_t)(tick & TIME_MASK);
    uint32_t longest = 0;
    words steps = {0};
    int64_t n_hollow = 0;
    int64_t n_tags = 0;
    for (int64_t i = 0; i < n_words;) {
        if (i > 0 && n_words - i >= TOGETHER) {
            if (eight(data + 4 * i, tick, &steps, times_ps + n_tags, channels + n_tags)) {
                i += TOGETHER;
                n_tags += TOGETHER;
                const uint32_t time = word_at(data, i - 1) >> 5;
                tick += (time - last) & TIME_MASK;
                last = time;
                continue;
            }
        }
        const int64_t stop = i == 0 ? 1 : n_words - i < TOGETHER ? n_words : i + TOGETHER;
        for (; i < stop; i++) {
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
    }
    for (int i = 0; i < TOGETHER; i++)
        longest = steps[i] > longest ? steps[i] : longest;
    state[0] = tick;
    state[1] = longest;
    state[2] = n_hollow;
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void decode_avx2(const uint8_t *data, int64_t n_words,
                                                        int64_t *state, int64_t *times_ps,
                                                        uint8_t *channels)
{
    decode(data, n_words, state, times_ps, channels);
}
#endif

int tdc1_supported(const char *variant)
{
    if (!strcmp(variant, "c"))
        return 1;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!strcmp(variant, "avx2"))
        return __builtin_cpu_supports("avx2") != 0;
#endif
    return 0;
}

/* state: [0] tick of the last word, in and out; [1] longest step in ticks, out; [2] words that
 * are neither dummy nor have an input, out. times_ps and channels have tdc1_count() places. */
void tdc1_decode(const char *variant, const uint8_t *data, int64_t n_words, int64_t *state,
                 int64_t *times_ps, uint8_t *channels)
{
#if defined(__x86_64__)
    if (!strcmp(variant, "avx2")) {
        decode_avx2(data, n_words, state, times_ps, channels);
        return;
    }
#endif
    decode(data, n_words, state, times_ps, channels);
}
