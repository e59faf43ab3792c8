int64_t clicks_split(const int64_t *pulse, const uint8_t *state, const uint64_t *word, int64_t n,
                     const uint64_t *rungs, const uint32_t *eve, uint32_t attacked_below, int how,
                     const uint64_t *her_rungs, int64_t *spent, int64_t *out_pulse,
                     uint8_t *out_detector);
void clicks_stamp(const int64_t *pulse, const uint8_t *detector, const uint64_t *word, int64_t n,
                  double period_ps, double origin_ps, double her_shift_ps, double sigma_ps,
                  const uint32_t *own_below, const uint16_t *alias, int64_t *key);
void clicks_tell(const int64_t *key, int64_t n, double fast, double half_drift, int64_t base_ps,
                 int64_t floor_ps, int64_t *time_ps, uint8_t *channel);
int64_t clicks_recover(const int64_t *key, int64_t n, int64_t recovery_ps, int64_t *last_ps,
                       int64_t *out_key);
void clicks_deal(const int64_t *time_ps, const uint8_t *channel, int64_t n, int64_t *out,
                 int64_t *found);
