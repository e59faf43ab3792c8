/* Records of an ID1000, one list of uint64 ps per input, merged into one list of tags. */

#include <stdint.h>
#include <string.h>

enum { MAX_STREAMS = 8 };

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
