/* Choices of the state encoder at sparse pulse indices (docs/encoder-protocol.md), and dice.
 *
 * AES-256 by AES-NI, eight registers in flight: one block costs 14 rounds of 3 to 4 cycles of
 * latency, which independent blocks hide. With VAES a register holds two blocks. Where the CPU has
 * no AES the NumPy twin serves.
 */
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>

#define LANES 8
#define ROUNDS 14
#define AES_TARGET __attribute__((target("aes,sse4.1")))

#define VAES_TARGET __attribute__((target("aes,vaes,avx2")))

int expand_supported(int wide) {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("aes") || !__builtin_cpu_supports("sse4.1"))
        return 0;
    return !wide || (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("vaes"));
}

/* FIPS 197, 5.2: the shift-and-add ladder of one round key. */
AES_TARGET static inline __m128i ladder(__m128i key) {
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    return _mm_xor_si128(key, _mm_slli_si128(key, 4));
}

#define EVEN_KEY(i, rcon)                                                            \
    rk[i] = _mm_xor_si128(                                                           \
        ladder(rk[(i) - 2]),                                                         \
        _mm_shuffle_epi32(_mm_aeskeygenassist_si128(rk[(i) - 1], rcon), 0xff))
#define ODD_KEY(i)                                                                   \
    rk[i] = _mm_xor_si128(                                                           \
        ladder(rk[(i) - 2]),                                                         \
        _mm_shuffle_epi32(_mm_aeskeygenassist_si128(rk[(i) - 1], 0), 0xaa))

AES_TARGET static void round_keys(const uint8_t *seed, __m128i rk[ROUNDS + 1]) {
    rk[0] = _mm_loadu_si128((const __m128i *)seed);
    rk[1] = _mm_loadu_si128((const __m128i *)(seed + 16));
    EVEN_KEY(2, 0x01);
    ODD_KEY(3);
    EVEN_KEY(4, 0x02);
    ODD_KEY(5);
    EVEN_KEY(6, 0x04);
    ODD_KEY(7);
    EVEN_KEY(8, 0x08);
    ODD_KEY(9);
    EVEN_KEY(10, 0x10);
    ODD_KEY(11);
    EVEN_KEY(12, 0x20);
    ODD_KEY(13);
    EVEN_KEY(14, 0x40);
}

static inline uint8_t choose(uint32_t w, uint32_t key_end, uint32_t signal_end,
                             uint32_t weak_end) {
    uint32_t high = w >> 16;
    uint32_t basis = ((w >> 1) & 0x7fff) >= key_end;
    uint32_t intensity = (high >= signal_end) + (high >= weak_end);
    return (uint8_t)((w & 1) | basis << 1 | intensity << 2);
}

/* States of eight indices at once: the blocks are independent, so their rounds overlap. */
AES_TARGET static inline void eight(const __m128i rk[ROUNDS + 1], const int64_t *index,
                                    uint32_t key_end, uint32_t signal_end, uint32_t weak_end,
                                    uint8_t *state) {
    __m128i block[LANES];
    for (int lane = 0; lane < LANES; lane++)
        block[lane] = _mm_xor_si128(_mm_cvtsi64_si128(index[lane] >> 2), rk[0]);
    for (int round = 1; round < ROUNDS; round++)
        for (int lane = 0; lane < LANES; lane++)
            block[lane] = _mm_aesenc_si128(block[lane], rk[round]);
    for (int lane = 0; lane < LANES; lane++) {
        uint32_t words[4];
        _mm_storeu_si128((__m128i *)words, _mm_aesenclast_si128(block[lane], rk[ROUNDS]));
        state[lane] = choose(words[index[lane] & 3], key_end, signal_end, weak_end);
    }
}

/* States of sixteen indices, two in each register: 0 and 2 of four in one, 1 and 3 in the next. */
VAES_TARGET static inline void sixteen(const __m256i rk[ROUNDS + 1], const int64_t *index,
                                       uint32_t key_end, uint32_t signal_end, uint32_t weak_end,
                                       uint8_t *state) {
    const __m256i zero = _mm256_setzero_si256();
    __m256i block[LANES];
    uint32_t words[LANES][8], word[2 * LANES];
    for (int lane = 0; lane < LANES; lane += 2) {
        __m256i four = _mm256_loadu_si256((const __m256i *)(index + 2 * lane));
        four = _mm256_srli_epi64(four, 2);
        block[lane] = _mm256_xor_si256(_mm256_unpacklo_epi64(four, zero), rk[0]);
        block[lane + 1] = _mm256_xor_si256(_mm256_unpackhi_epi64(four, zero), rk[0]);
    }
    for (int round = 1; round < ROUNDS; round++)
        for (int lane = 0; lane < LANES; lane++)
            block[lane] = _mm256_aesenc_epi128(block[lane], rk[round]);
    for (int lane = 0; lane < LANES; lane++)
        _mm256_storeu_si256((__m256i *)words[lane],
                            _mm256_aesenclast_epi128(block[lane], rk[ROUNDS]));
    for (int i = 0; i < 2 * LANES; i++)
        word[i] = words[i / 4 * 2 + (i & 1)][(i & 2) * 2 + (index[i] & 3)];
    for (int i = 0; i < 2 * LANES; i++)
        state[i] = choose(word[i], key_end, signal_end, weak_end);
}

AES_TARGET static void narrow(const __m128i rk[ROUNDS + 1], const int64_t *index, int64_t n,
                              uint32_t key_end, uint32_t signal_end, uint32_t weak_end,
                              uint8_t *state) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        eight(rk, index + i, key_end, signal_end, weak_end, state + i);
    if (i < n) {
        int64_t last_index[LANES] = {0};
        uint8_t last_state[LANES];
        memcpy(last_index, index + i, (size_t)(n - i) * sizeof *index);
        eight(rk, last_index, key_end, signal_end, weak_end, last_state);
        memcpy(state + i, last_state, (size_t)(n - i));
    }
}

VAES_TARGET static int64_t wide_part(const __m128i rk[ROUNDS + 1], const int64_t *index,
                                     int64_t n, uint32_t key_end, uint32_t signal_end,
                                     uint32_t weak_end, uint8_t *state) {
    __m256i twice[ROUNDS + 1];
    int64_t i = 0;
    for (int round = 0; round <= ROUNDS; round++)
        twice[round] = _mm256_broadcastsi128_si256(rk[round]);
    for (; i + 2 * LANES <= n; i += 2 * LANES)
        sixteen(twice, index + i, key_end, signal_end, weak_end, state + i);
    memset(twice, 0, sizeof twice);
    __asm__ volatile("" : : "r"(twice) : "memory");
    return i;
}

AES_TARGET void expand_states(int wide, const uint8_t *seed, const int64_t *index, int64_t n,
                              uint32_t key_end, uint32_t signal_end, uint32_t weak_end,
                              uint8_t *state) {
    __m128i rk[ROUNDS + 1];
    int64_t i = 0;
    round_keys(seed, rk);
    if (wide)
        i = wide_part(rk, index, n, key_end, signal_end, weak_end, state);
    narrow(rk, index + i, n - i, key_end, signal_end, weak_end, state + i);
    memset(rk, 0, sizeof rk);
    __asm__ volatile("" : : "r"(rk) : "memory"); /* keeps the wipe of the round keys */
}

/* The dice: blocks `first`, `first` + 1, ... of AES-256 in counter mode, two words each. */
AES_TARGET static int64_t dice_narrow(const __m128i rk[ROUNDS + 1], uint64_t first, int64_t i,
                                      int64_t n_blocks, int lanes, uint64_t *word) {
    for (; i + lanes <= n_blocks; i += lanes) {
        __m128i block[LANES];
        for (int lane = 0; lane < lanes; lane++)
            block[lane] = _mm_xor_si128(_mm_cvtsi64_si128((int64_t)(first + i + lane)), rk[0]);
        for (int round = 1; round < ROUNDS; round++)
            for (int lane = 0; lane < lanes; lane++)
                block[lane] = _mm_aesenc_si128(block[lane], rk[round]);
        for (int lane = 0; lane < lanes; lane++)
            _mm_storeu_si128((__m128i *)(word + 2 * (i + lane)),
                             _mm_aesenclast_si128(block[lane], rk[ROUNDS]));
    }
    return i;
}

VAES_TARGET static int64_t dice_wide(const __m128i rk[ROUNDS + 1], uint64_t first,
                                     int64_t n_blocks, uint64_t *word) {
    const __m256i two = _mm256_set_epi64x(0, 2, 0, 2);
    __m256i counter = _mm256_set_epi64x(0, (int64_t)(first + 1), 0, (int64_t)first);
    __m256i twice[ROUNDS + 1];
    int64_t i = 0;
    for (int round = 0; round <= ROUNDS; round++)
        twice[round] = _mm256_broadcastsi128_si256(rk[round]);
    for (; i + 2 * LANES <= n_blocks; i += 2 * LANES) {
        __m256i block[LANES];
        for (int lane = 0; lane < LANES; lane++) {
            block[lane] = _mm256_xor_si256(counter, twice[0]);
            counter = _mm256_add_epi64(counter, two);
        }
        for (int round = 1; round < ROUNDS; round++)
            for (int lane = 0; lane < LANES; lane++)
                block[lane] = _mm256_aesenc_epi128(block[lane], twice[round]);
        for (int lane = 0; lane < LANES; lane++)
            _mm256_storeu_si256((__m256i *)(word + 2 * i + 4 * lane),
                                _mm256_aesenclast_epi128(block[lane], twice[ROUNDS]));
    }
    return i;
}

AES_TARGET void expand_dice(int wide, const uint8_t *key, uint64_t first, int64_t n_blocks,
                            uint64_t *word) {
    __m128i rk[ROUNDS + 1];
    round_keys(key, rk);
    int64_t i = wide ? dice_wide(rk, first, n_blocks, word) : 0;
    i = dice_narrow(rk, first, i, n_blocks, LANES, word);
    dice_narrow(rk, first, i, n_blocks, 1, word);
}

#else

void expand_dice(int wide, const uint8_t *key, uint64_t first, int64_t n_blocks, uint64_t *word) {}
int expand_supported(int wide) { return 0; }
void expand_states(int wide, const uint8_t *seed, const int64_t *index, int64_t n, uint32_t key_end,
                   uint32_t signal_end, uint32_t weak_end, uint8_t *state) {}

#endif
