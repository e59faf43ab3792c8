/* A stretch of pulses from the dice to clicks, in pieces that stay in the processor's cache.
 *
 * The steps are kernels of their own modules and come as pointers, and so do the dice, two words a
 * block. The order in which blocks are taken is part of the result: the NumPy twin takes the same.
 */
#include <stdint.h>
#include <stddef.h>

#define PIECE 1024

typedef struct {
    int64_t stop; /* pulses before it are of this segment */
    int64_t base; /* the pulse that its seed counts from */
    const uint8_t *seed;
    uint32_t key_end, signal_end, weak_end;
} walk_segment;

typedef struct {
    void (*dice)(int, const uint8_t *, uint64_t, int64_t, uint64_t *);
    const uint8_t *dice_key;
    int64_t (*place)(int, const uint64_t *, int64_t, double *, double, int64_t, int64_t *);
    void (*expand)(int, const uint8_t *, const int64_t *, int64_t, uint32_t, uint32_t, uint32_t,
                   uint8_t *);
    int64_t (*split)(const int64_t *, const uint8_t *, const uint64_t *, int64_t, const uint64_t *,
                     const uint32_t *, uint32_t, int, const uint64_t *, int64_t *, int64_t *,
                     uint8_t *);
    void (*stamp)(const int64_t *, const uint8_t *, const uint64_t *, int64_t, double, double,
                  double, double, const uint32_t *, const uint16_t *, int64_t *);
    const uint32_t *own_below;
    const uint16_t *alias;
} walk_tools;

typedef struct {
    int64_t n_pulses;
    double per_pulse;
    const uint64_t *rungs;
    double period_ps, origin_ps, sigma_ps;
    uint32_t attacked_below;
    int how;
    const uint64_t *her_rungs;
    double her_shift_ps;
} walk_line;

typedef struct {
    double at; /* place of the next candidate, in means */
    uint64_t pending; /* its word */
    uint64_t n_thrown; /* blocks of the dice so far */
} walk_point;

typedef struct {
    int64_t pulse;
    uint32_t draw;
} last_draw;

/* Throw n words; of an odd number the last block's second word is left out. */
static void throw(const walk_tools *tools, int expand_wide, walk_point *point, int64_t n,
                  uint64_t *word) {
    int64_t n_blocks = (n + 1) / 2;
    tools->dice(expand_wide, tools->dice_key, point->n_thrown, n_blocks, word);
    point->n_thrown += (uint64_t)n_blocks;
}

/* The eavesdropper's draws; events of a pulse that the last piece began have its first one's. */
static void draw_eve(const uint64_t *dice, const int64_t *pulse, int64_t n, last_draw *last,
                     uint32_t *eve) {
    for (int64_t j = 0; j < n; j++)
        eve[j] = (uint32_t)(dice[j] >> 32);
    if (n && pulse[0] == last->pulse)
        eve[0] = last->draw;
    for (int64_t j = 0; j < n; j++)
        if (pulse[j] != last->pulse)
            *last = (last_draw){pulse[j], eve[j]};
}

/* Keys of clicks up to the end of the line, or until less than a piece of room is left; returns how
 * many. The last segment stops at the line's end or later. */
int64_t walk_stretch(const walk_tools *tools, int place_variant, int expand_wide,
                     const walk_line *line, const walk_segment *segment, walk_point *point,
                     int64_t *key, int64_t room) {
    uint64_t word[PIECE + 1], dice[PIECE];
    int64_t pulse[PIECE], other[PIECE];
    uint8_t state[PIECE], detector[PIECE];
    uint32_t eve[PIECE];
    const double end = line->per_pulse * (double)line->n_pulses;
    last_draw hers = {-1, 0};
    int64_t kept = 0, spent = -1;
    while (point->at < end && room - kept >= PIECE) {
        word[0] = point->pending;
        throw(tools, expand_wide, point, PIECE, word + 1);
        int64_t n = tools->place(place_variant, word, PIECE + 1, &point->at,
                                 line->per_pulse, line->n_pulses, pulse);
        point->pending = word[n];
        for (int64_t i = 0, stop; i < n; i = stop) {
            while (pulse[i] >= segment->stop)
                segment++;
            stop = n;
            if (pulse[n - 1] >= segment->stop)
                for (stop = i; pulse[stop] < segment->stop;)
                    stop++;
            for (int64_t j = i; j < stop; j++)
                other[j] = pulse[j] - segment->base;
            tools->expand(expand_wide, segment->seed, other + i, stop - i, segment->key_end,
                          segment->signal_end, segment->weak_end, state + i);
        }
        if (line->attacked_below) {
            throw(tools, expand_wide, point, n, dice);
            draw_eve(dice, pulse, n, &hers, eve);
        }
        int64_t m = tools->split(pulse, state, word, n, line->rungs,
                                 line->attacked_below ? eve : NULL, line->attacked_below, line->how,
                                 line->her_rungs, &spent, other, detector);
        throw(tools, expand_wide, point, m, dice);
        tools->stamp(other, detector, dice, m, line->period_ps, line->origin_ps,
                     line->her_shift_ps, line->sigma_ps, tools->own_below, tools->alias, key + kept);
        kept += m;
    }
    return kept;
}
