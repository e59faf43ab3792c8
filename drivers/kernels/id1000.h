void id1000_check(const uint8_t *data, int64_t n_times, uint64_t *found);
void id1000_merge(const uint8_t *const *streams, const int64_t *n_times, const uint8_t *inputs,
                  int64_t n_streams, int64_t offset_ps, int64_t *times_ps, uint8_t *channels);
