/* Records of an ID1000, one list of uint64 ps per input, merged into one list of tags. */

#include <stdint.h>
#include <string.h>

enum { MAX_STREAMS = 8, PIECE = 1024 };

static inline uint64_t time_at(const uint8_t *data, int64_t index)
{
    uint64_t time; /* the wire is little-endian and aligned to nothing */
    memcpy(&time, data + 8 * index, sizeof time);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    time = __builtin_bswap64(time);
#endif
    return time;
}

/* found: [0] the largest time, [1] how often a time is smaller than the one before. */
void id1000_check(const uint8_t *data, int64_t n_times, uint64_t *found)
{
    uint64_t largest = 0;
    uint64_t n_falls = 0;
    uint64_t last = 0;
    for (int64_t i = 0; i < n_times; i++) {
        const uint64_t time = time_at(data, i);
        largest = time > largest ? time : largest;
        n_falls += time < last;
        last = time;
    }
    found[0] = largest;
    found[1] = n_falls;
}

/* Which of two lists comes next nobody can foresee: a branch on it would be missed half the time. */
static inline uint64_t either(uint64_t no, uint64_t yes, uint64_t is)
{
    return no ^ ((no ^ yes) & (0 - is));
}

typedef struct {
    const uint8_t *data;
    int64_t at, n;
    uint8_t input;
} stream;

/* The next tags of two streams, for as long as they stay in the caches. */
typedef struct {
    uint64_t times[PIECE];
    uint8_t inputs[PIECE];
    int64_t at, n;
} piece;

static void copy(piece *to, stream *from)
{
    for (; to->n < PIECE && from->at < from->n; to->n++, from->at++) {
        to->times[to->n] = time_at(from->data, from->at);
        to->inputs[to->n] = from->input;
    }
}

static void refill(piece *to, stream *a, stream *b)
{
    int64_t i = a->at, j = b->at, n = 0;
    for (; n < PIECE && i < a->n && j < b->n; n++) {
        const uint64_t time_a = time_at(a->data, i), time_b = time_at(b->data, j);
        const uint64_t is_b = time_b < time_a;
        to->times[n] = either(time_a, time_b, is_b);
        to->inputs[n] = (uint8_t)either(a->input, b->input, is_b);
        i += (int64_t)(is_b ^ 1);
        j += (int64_t)is_b;
    }
    to->at = 0, to->n = n, a->at = i, b->at = j;
    if (i == a->n || j == b->n) {
        copy(to, a);
        copy(to, b);
    }
}

/* Four inputs, as a receiver has: two by two, and then the two of them. */
static void merge_four(stream *streams, int64_t offset_ps, int64_t *times_ps, uint8_t *channels)
{
    piece ab, cd;
    ab.at = ab.n = cd.at = cd.n = 0;
    for (;;) {
        if (ab.at == ab.n)
            refill(&ab, streams, streams + 1);
        if (cd.at == cd.n)
            refill(&cd, streams + 2, streams + 3);
        if (ab.n == 0 && cd.n == 0)
            return;
        int64_t i = ab.at, j = cd.at;
        for (; i < ab.n && j < cd.n; times_ps++, channels++) {
            const uint64_t is_cd = cd.times[j] < ab.times[i];
            *times_ps = (int64_t)either(ab.times[i], cd.times[j], is_cd) + offset_ps;
            *channels = (uint8_t)either(ab.inputs[i], cd.inputs[j], is_cd);
            i += (int64_t)(is_cd ^ 1);
            j += (int64_t)is_cd;
        }
        for (; cd.n == 0 && i < ab.n; i++, times_ps++, channels++) {
            *times_ps = (int64_t)ab.times[i] + offset_ps;
            *channels = ab.inputs[i];
        }
        for (; ab.n == 0 && j < cd.n; j++, times_ps++, channels++) {
            *times_ps = (int64_t)cd.times[j] + offset_ps;
            *channels = cd.inputs[j];
        }
        ab.at = i, cd.at = j;
    }
}

/* Every stream is in time order and below 2^63; of equal times the earlier stream goes first.
 * times_ps and channels have as many places as all streams together; n_streams <= MAX_STREAMS. */
void id1000_merge(const uint8_t *const *streams, const int64_t *n_times, const uint8_t *inputs,
                  int64_t n_streams, int64_t offset_ps, int64_t *times_ps, uint8_t *channels)
{
    uint64_t head[MAX_STREAMS];
    int64_t next[MAX_STREAMS];
    int64_t n_tags = 0;
    if (n_streams > MAX_STREAMS)
        return;
    if (n_streams == 4) {
        stream four[4];
        for (int s = 0; s < 4; s++)
            four[s] = (stream){streams[s], 0, n_times[s], inputs[s]};
        merge_four(four, offset_ps, times_ps, channels);
        return;
    }
    for (int64_t s = 0; s < n_streams; s++) {
        head[s] = n_times[s] > 0 ? time_at(streams[s], 0) : UINT64_MAX;
        next[s] = 1;
    }
    for (;;) {
        uint64_t first = UINT64_MAX;
        int64_t from = 0;
        for (int64_t s = 0; s < n_streams; s++) {
            from = head[s] < first ? s : from;
            first = head[s] < first ? head[s] : first;
        }
        if (first == UINT64_MAX)
            return;
        times_ps[n_tags] = (int64_t)first + offset_ps;
        channels[n_tags] = inputs[from];
        n_tags++;
        head[from] = next[from] < n_times[from] ? time_at(streams[from], next[from]) : UINT64_MAX;
        next[from]++;
    }
}
