/* Sifting, 64 clicks at a time, on packed bits (bit 0 of byte 0 first).
 *
 * What a click's basis, intensity and place are is public once the block is sifted; its bits are
 * not, and are only ever shifted and masked. Rules and twin: qkdd/kernels/sifting.py.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

typedef uint64_t (*extract_fn)(uint64_t value, uint64_t mask);

/* --- little-endian memory, whatever the host is --- */

INLINE uint64_t swapped(uint64_t value)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

/* Up to eight bytes from place `at` on; what lies behind `size` reads as 0. */
INLINE uint64_t load(const uint8_t *data, size_t at, size_t size)
{
    uint64_t value = 0;
    if (at + 8 <= size)
        memcpy(&value, data + at, 8);
    else if (at < size)
        memcpy(&value, data + at, size - at);
    return swapped(value);
}

INLINE uint64_t ones(unsigned n)
{
    return n < 64 ? ((uint64_t)1 << n) - 1 : ~(uint64_t)0;
}

INLINE unsigned count(uint64_t value)
{
    return (unsigned)__builtin_popcountll(value);
}

/* --- streams of bits --- */

typedef struct {
    uint8_t *to;
    uint64_t held;
    unsigned n_held;
} writer;

INLINE void store(uint8_t *to, uint64_t value)
{
    value = swapped(value);
    memcpy(to, &value, 8);
}

/* Append the low n <= 64 bits of `value`; the others are 0. */
INLINE void put(writer *w, uint64_t value, unsigned n)
{
    w->held |= value << w->n_held;
    if (w->n_held + n < 64) {
        w->n_held += n;
        return;
    }
    store(w->to, w->held);
    w->to += 8;
    w->held = w->n_held ? value >> (64 - w->n_held) : 0;
    w->n_held = w->n_held + n - 64;
}

INLINE void finish(writer *w)
{
    if (w->n_held)
        store(w->to, w->held);
}

typedef struct {
    const uint8_t *from;
    size_t size, at_bit;
} reader;

INLINE uint64_t take(reader *r, unsigned n)
{
    const size_t at = r->at_bit / 8;
    const unsigned shift = r->at_bit % 8;
    uint64_t value = load(r->from, at, r->size) >> shift;
    if (shift)
        value |= load(r->from, at + 8, r->size) << (64 - shift);
    r->at_bit += n;
    return value & ones(n);
}

/* --- the bits of `value` under `mask`, moved together (PEXT) --- */

static inline uint64_t extract_plain(uint64_t value, uint64_t mask)
{
    uint64_t found = 0;
    for (unsigned at = 0; mask; at++, mask &= mask - 1)
        found |= (value >> __builtin_ctzll(mask) & 1) << at;
    return found;
}

#if defined(__x86_64__)
__attribute__((target("bmi2"))) static inline uint64_t extract_bmi2(uint64_t value, uint64_t mask)
{
    return _pext_u64(value, mask);
}
#endif

/* --- Alice --- */

enum { A_KEPT, A_WEAK, A_VACUUM, A_TEST, A_KEY, A_LOW, A_HIGH, A_PLANES };
enum { A_N_KEPT, A_N_TEST, A_KEY_WEAK, A_KEY_VACUUM, A_TEST_WEAK, A_TEST_VACUUM };

/* Bit `plane` of each of eight bytes, moved together: no two products of the factors meet. */
INLINE uint64_t gathered(uint64_t bytes, unsigned plane)
{
    return (bytes >> plane & 0x0101010101010101u) * 0x0102040810204080u >> 56;
}

/* detectors: (n,) bit | basis << 1; of bases and bits a byte for each eight. */
void sifting_split(const uint8_t *detectors, size_t n, uint8_t *bases, uint8_t *bits)
{
    for (size_t i = 0; i < n; i += 8) {
        const uint64_t eight = load(detectors, i, n);
        bits[i / 8] = (uint8_t)gathered(eight, 0);
        bases[i / 8] = (uint8_t)gathered(eight, 1);
    }
}

INLINE void alice(const uint8_t *states, const uint8_t *bases, size_t n, uint8_t *planes,
                  size_t plane_bytes, int64_t *sums, extract_fn extract)
{
    const size_t n_bytes = (n + 7) / 8;
    writer out[A_PLANES];
    for (int plane = 0; plane < A_PLANES; plane++)
        out[plane] = (writer){planes + plane * plane_bytes, 0, 0};
    for (size_t i = 0; i < n; i += 64) {
        const unsigned m = n - i < 64 ? (unsigned)(n - i) : 64;
        uint64_t bit = 0, basis = 0, weak = 0, vacuum = 0;
        for (unsigned j = 0; j < m; j += 8) {
            const uint64_t eight = load(states, i + j, n);
            bit |= gathered(eight, 0) << j;
            basis |= gathered(eight, 1) << j;
            weak |= gathered(eight, 2) << j;
            vacuum |= gathered(eight, 3) << j;
        }
        const uint64_t theirs = load(bases, i / 8, n_bytes);
        const uint64_t kept = ~(basis ^ theirs) & ones(m);
        const uint64_t test = kept & theirs, key = kept & ~theirs;
        const unsigned n_kept = count(kept), n_test = count(test), n_key = n_kept - n_test;
        put(&out[A_KEPT], kept, m);
        put(&out[A_WEAK], extract(weak, kept), n_kept);
        put(&out[A_VACUUM], extract(vacuum, kept), n_kept);
        put(&out[A_TEST], extract(bit, test), n_test);
        put(&out[A_KEY], extract(bit, key), n_key);
        put(&out[A_LOW], extract(weak, key), n_key);
        put(&out[A_HIGH], extract(vacuum, key), n_key);
        sums[A_N_KEPT] += n_kept;
        sums[A_N_TEST] += n_test;
        sums[A_KEY_WEAK] += count(weak & key);
        sums[A_KEY_VACUUM] += count(vacuum & key);
        sums[A_TEST_WEAK] += count(weak & test);
        sums[A_TEST_VACUUM] += count(vacuum & test);
    }
    for (int plane = 0; plane < A_PLANES; plane++)
        finish(&out[plane]);
}

/* --- Bob --- */

enum { B_KEY, B_LOW, B_HIGH, B_PLANES };
enum {
    B_N_KEY, B_KEY_WEAK, B_KEY_VACUUM, B_N_TEST, B_TEST_WEAK, B_TEST_VACUUM,
    B_WRONG, B_WRONG_WEAK, B_WRONG_VACUUM, B_BOTH
};

INLINE void bob(const uint8_t *bases, const uint8_t *bits, const uint8_t *kept, size_t n,
                reader *weak, reader *vacuum, reader *test_bits, uint8_t *planes,
                size_t plane_bytes, int64_t *sums, extract_fn extract)
{
    const size_t n_bytes = (n + 7) / 8;
    writer out[B_PLANES];
    for (int plane = 0; plane < B_PLANES; plane++)
        out[plane] = (writer){planes + plane * plane_bytes, 0, 0};
    for (size_t i = 0; i < n; i += 64) {
        const uint64_t stays = load(kept, i / 8, n_bytes);
        const unsigned n_kept = count(stays);
        const uint64_t test = extract(load(bases, i / 8, n_bytes), stays);
        const uint64_t key = ~test & ones(n_kept);
        const uint64_t bit = extract(load(bits, i / 8, n_bytes), stays);
        const uint64_t is_weak = take(weak, n_kept), is_vacuum = take(vacuum, n_kept);
        const unsigned n_test = count(test), n_key = n_kept - n_test;
        const uint64_t wrong = extract(bit, test) ^ take(test_bits, n_test);
        const uint64_t test_weak = extract(is_weak, test), test_vacuum = extract(is_vacuum, test);
        put(&out[B_KEY], extract(bit, key), n_key);
        put(&out[B_LOW], extract(is_weak, key), n_key);
        put(&out[B_HIGH], extract(is_vacuum, key), n_key);
        sums[B_N_KEY] += n_key;
        sums[B_KEY_WEAK] += count(is_weak & key);
        sums[B_KEY_VACUUM] += count(is_vacuum & key);
        sums[B_N_TEST] += n_test;
        sums[B_TEST_WEAK] += count(test_weak);
        sums[B_TEST_VACUUM] += count(test_vacuum);
        sums[B_WRONG] += count(wrong);
        sums[B_WRONG_WEAK] += count(wrong & test_weak);
        sums[B_WRONG_VACUUM] += count(wrong & test_vacuum);
        sums[B_BOTH] += count(is_weak & is_vacuum);
    }
    for (int plane = 0; plane < B_PLANES; plane++)
        finish(&out[plane]);
}

/* --- variants --- */

#if defined(__x86_64__)
__attribute__((target("bmi2,popcnt"))) static void alice_bmi2(
    const uint8_t *states, const uint8_t *bases, size_t n, uint8_t *planes, size_t plane_bytes,
    int64_t *sums)
{
    alice(states, bases, n, planes, plane_bytes, sums, extract_bmi2);
}

__attribute__((target("bmi2,popcnt"))) static void bob_bmi2(
    const uint8_t *bases, const uint8_t *bits, const uint8_t *kept, size_t n, reader *weak,
    reader *vacuum, reader *test_bits, uint8_t *planes, size_t plane_bytes, int64_t *sums)
{
    bob(bases, bits, kept, n, weak, vacuum, test_bits, planes, plane_bytes, sums, extract_bmi2);
}
#endif

int sifting_supported(const char *variant)
{
    if (!strcmp(variant, "c"))
        return 1;
#if defined(__x86_64__)
    if (!strcmp(variant, "bmi2"))
        return __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
#endif
    return 0;
}

/* states: (n,) bit | basis << 1 | weak << 2 | vacuum << 3. sums: six zeros. */
void sifting_alice(const char *variant, const uint8_t *states, const uint8_t *bases, size_t n,
                   uint8_t *planes, size_t plane_bytes, int64_t *sums)
{
#if defined(__x86_64__)
    if (!strcmp(variant, "bmi2")) {
        alice_bmi2(states, bases, n, planes, plane_bytes, sums);
        return;
    }
#endif
    alice(states, bases, n, planes, plane_bytes, sums, extract_plain);
}

/* sums: ten zeros. */
void sifting_bob(const char *variant, const uint8_t *bases, const uint8_t *bits,
                 const uint8_t *kept, size_t n, const uint8_t *weak, const uint8_t *vacuum,
                 size_t kept_bytes, const uint8_t *test_bits, size_t test_bytes, uint8_t *planes,
                 size_t plane_bytes, int64_t *sums)
{
    reader weaks = {weak, kept_bytes, 0}, vacua = {vacuum, kept_bytes, 0};
    reader tests = {test_bits, test_bytes, 0};
#if defined(__x86_64__)
    if (!strcmp(variant, "bmi2")) {
        bob_bmi2(bases, bits, kept, n, &weaks, &vacua, &tests, planes, plane_bytes, sums);
        return;
    }
#endif
    bob(bases, bits, kept, n, &weaks, &vacua, &tests, planes, plane_bytes, sums, extract_plain);
}
