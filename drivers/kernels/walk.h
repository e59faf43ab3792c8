typedef struct {
    int64_t stop;
    int64_t base;
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
    double at;
    uint64_t pending;
    uint64_t n_thrown;
} walk_point;
int64_t walk_stretch(const walk_tools *tools, int place_variant, int expand_wide,
                     const walk_line *line, const walk_segment *segment, walk_point *point,
                     int64_t *key, int64_t room);
