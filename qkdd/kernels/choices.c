/* Sparse lookup of the state encoder's choices: AES-256 of a pulse's number, eight at a time.
 *
 * Wire form: docs/encoder-protocol.md, "Choice of a pulse". The key schedule follows FIPS 197
 * section 5.2 by way of AESKEYGENASSIST; it lives on the stack of one call and is wiped there.
 * Without AES instructions nothing here runs, and the twin (OpenSSL) serves: table-driven AES
 * would leak the seed through the cache.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LANES 8

#if defined(__x86_64__)
#include <immintrin.h>

typedef struct {
    uint32_t key, signal, weak;
} thresholds;

static void wipe(void *memory, size_t n)
{
    memset(memory, 0, n);
    __asm__ volatile("" : : "r"(memory) : "memory");
}

static inline uint64_t pulse_number(const void *pulses, int pulse_bytes, size_t i)
{
    return pulse_bytes == 4 ? ((const uint32_t *)pulses)[i] : ((const uint64_t *)pulses)[i];
}

static inline uint8_t state_of(uint32_t word, const thresholds *t)
{
    uint32_t high = word >> 16;
    uint32_t basis = ((word >> 1) & 0x7fff) >= t->key;
    uint32_t intensity = (high >= t->signal) + (high >= t->signal + t->weak);
    return (uint8_t)((word & 1) | basis << 1 | intensity << 2);
}

__attribute__((target("aes,sse4.1"))) static inline __m128i fold(__m128i key)
{
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
    return key;
}

__attribute__((target("aes,sse4.1"))) static void expand(const uint8_t seed[32], __m128i k[15])
{
    __m128i even = _mm_loadu_si128((const __m128i *)seed);
    __m128i odd = _mm_loadu_si128((const __m128i *)(seed + 16));
    k[0] = even;
    k[1] = odd;
#define ROUND_PAIR(i, rcon)                                                                       \
    even = _mm_xor_si128(fold(even),                                                              \
                         _mm_shuffle_epi32(_mm_aeskeygenassist_si128(odd, rcon), 0xff));          \
    k[i] = even;
#define ODD_KEY(i)                                                                                \
    odd = _mm_xor_si128(fold(odd),                                                                \
                        _mm_shuffle_epi32(_mm_aeskeygenassist_si128(even, 0), 0xaa));             \
    k[i] = odd;
    ROUND_PAIR(2, 0x01) ODD_KEY(3)
    ROUND_PAIR(4, 0x02) ODD_KEY(5)
    ROUND_PAIR(6, 0x04) ODD_KEY(7)
    ROUND_PAIR(8, 0x08) ODD_KEY(9)
    ROUND_PAIR(10, 0x10) ODD_KEY(11)
    ROUND_PAIR(12, 0x20) ODD_KEY(13)
    ROUND_PAIR(14, 0x40)
#undef ROUND_PAIR
#undef ODD_KEY
}

/* Eight independent blocks hide the latency of AESENC. */
__attribute__((target("aes,sse4.1"))) static inline void words_aes(const __m128i k[15],
                                                                   const uint64_t i[LANES],
                                                                   uint32_t words[LANES])
{
    __m128i x[LANES];
    uint32_t block[LANES][4];
    for (int lane = 0; lane < LANES; lane++)
        x[lane] = _mm_xor_si128(_mm_set_epi64x(0, (long long)(i[lane] >> 2)), k[0]);
    for (int round = 1; round < 14; round++)
        for (int lane = 0; lane < LANES; lane++)
            x[lane] = _mm_aesenc_si128(x[lane], k[round]);
    for (int lane = 0; lane < LANES; lane++) {
        x[lane] = _mm_aesenclast_si128(x[lane], k[14]);
        _mm_storeu_si128((__m128i *)block[lane], x[lane]);
        words[lane] = block[lane][i[lane] & 3];
    }
}

__attribute__((target("aes,sse4.1"))) static void states_aes(const uint8_t seed[32],
                                                             const void *pulses, int pulse_bytes,
                                                             size_t n, const thresholds *t,
                                                             uint8_t *states)
{
    __m128i k[15];
    uint64_t i[LANES] = {0};
    uint32_t words[LANES];
    expand(seed, k);
    for (size_t start = 0; start < n; start += LANES) {
        size_t here = n - start < LANES ? n - start : LANES;
        for (size_t lane = 0; lane < here; lane++)
            i[lane] = pulse_number(pulses, pulse_bytes, start + lane);
        words_aes(k, i, words);
        for (size_t lane = 0; lane < here; lane++)
            states[start + lane] = state_of(words[lane], t);
    }
    wipe(k, sizeof k);
    wipe(words, sizeof words);
}

/* The same with two blocks in each 256-bit register. */
__attribute__((target("aes,vaes,avx2"))) static inline void words_vaes(const __m256i k[15],
                                                                       const uint64_t i[2 * LANES],
                                                                       uint32_t words[2 * LANES])
{
    __m256i x[LANES];
    uint32_t block[LANES][8];
    for (int lane = 0; lane < LANES; lane += 2) { /* of four, the first and third, then the others */
        const __m256i four = _mm256_srli_epi64(
            _mm256_loadu_si256((const __m256i *)(i + 2 * lane)), 2);
        const __m256i zero = _mm256_setzero_si256();
        x[lane] = _mm256_xor_si256(_mm256_unpacklo_epi64(four, zero), k[0]);
        x[lane + 1] = _mm256_xor_si256(_mm256_unpackhi_epi64(four, zero), k[0]);
    }
    for (int round = 1; round < 14; round++)
        for (int lane = 0; lane < LANES; lane++)
            x[lane] = _mm256_aesenc_epi128(x[lane], k[round]);
    for (int lane = 0; lane < LANES; lane++) {
        x[lane] = _mm256_aesenclast_epi128(x[lane], k[14]);
        _mm256_storeu_si256((__m256i *)block[lane], x[lane]);
        const int first = 2 * (lane & ~1) + (lane & 1);
        words[first] = block[lane][i[first] & 3];
        words[first + 2] = block[lane][4 + (i[first + 2] & 3)];
    }
}

/* state_of() of eight words, in 32 bits each. */
__attribute__((target("avx2"))) static inline __m256i eight_states(const uint32_t words[8],
                                                                   const thresholds *t)
{
    const __m256i word = _mm256_loadu_si256((const __m256i *)words);
    const __m256i key = _mm256_set1_epi32((int)t->key - 1);
    const __m256i signal = _mm256_set1_epi32((int)t->signal - 1);
    const __m256i weak = _mm256_set1_epi32((int)(t->signal + t->weak) - 1);
    const __m256i high = _mm256_srli_epi32(word, 16), four = _mm256_set1_epi32(4);
    const __m256i low = _mm256_and_si256(_mm256_srli_epi32(word, 1), _mm256_set1_epi32(0x7fff));
    const __m256i bit = _mm256_and_si256(word, _mm256_set1_epi32(1));
    const __m256i basis = _mm256_and_si256(_mm256_cmpgt_epi32(low, key), _mm256_set1_epi32(2));
    return _mm256_add_epi32(
        _mm256_or_si256(bit, basis),
        _mm256_add_epi32(_mm256_and_si256(_mm256_cmpgt_epi32(high, signal), four),
                         _mm256_and_si256(_mm256_cmpgt_epi32(high, weak), four)));
}

__attribute__((target("avx2"))) static inline void states_avx2(const uint32_t words[2 * LANES],
                                                               const thresholds *t,
                                                               uint8_t states[2 * LANES])
{
    __m256i all = _mm256_packus_epi32(eight_states(words, t), eight_states(words + 8, t));
    all = _mm256_permute4x64_epi64(all, 0xd8);
    all = _mm256_permute4x64_epi64(_mm256_packus_epi16(all, all), 0x08);
    _mm_storeu_si128((__m128i *)states, _mm256_castsi256_si128(all));
}

__attribute__((target("aes,vaes,avx2"))) static void states_vaes(const uint8_t seed[32],
                                                                 const void *pulses,
                                                                 int pulse_bytes, size_t n,
                                                                 const thresholds *t,
                                                                 uint8_t *states)
{
    __m128i narrow[15];
    __m256i k[15];
    uint64_t i[2 * LANES] = {0};
    uint32_t words[2 * LANES];
    uint8_t found[2 * LANES];
    expand(seed, narrow);
    for (int round = 0; round < 15; round++)
        k[round] = _mm256_broadcastsi128_si256(narrow[round]);
    for (size_t start = 0; start < n; start += 2 * LANES) {
        size_t here = n - start < 2 * LANES ? n - start : 2 * LANES;
        if (here == 2 * LANES && pulse_bytes == 8) {
            words_vaes(k, (const uint64_t *)pulses + start, words);
        } else {
            for (size_t lane = 0; lane < here; lane++)
                i[lane] = pulse_number(pulses, pulse_bytes, start + lane);
            words_vaes(k, i, words);
        }
        states_avx2(words, t, found);
        memcpy(states + start, found, here);
    }
    wipe(found, sizeof found);
    wipe(narrow, sizeof narrow);
    wipe(k, sizeof k);
    wipe(words, sizeof words);
}
#endif

int choices_supported(const char *variant)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("aes") || !__builtin_cpu_supports("sse4.1"))
        return 0;
    if (!strcmp(variant, "aesni"))
        return 1;
    if (!strcmp(variant, "vaes"))
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("vaes");
#endif
    (void)variant;
    return 0;
}

int choices_states(const char *variant, const uint8_t seed[32], const void *pulses,
                   int pulse_bytes, size_t n, uint32_t key_threshold, uint32_t signal_threshold,
                   uint32_t weak_threshold, uint8_t *states)
{
#if defined(__x86_64__)
    thresholds t = {key_threshold, signal_threshold, weak_threshold};
    if (!choices_supported(variant) || (pulse_bytes != 4 && pulse_bytes != 8))
        return -1;
    (strcmp(variant, "vaes") ? states_aes : states_vaes)(seed, pulses, pulse_bytes, n, &t, states);
    return 0;
#else
    return -1;
#endif
}
