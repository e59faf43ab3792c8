int expand_supported(void);
void expand_states(const uint8_t *seed, const int64_t *index, int64_t n,
                   uint32_t key_end, uint32_t signal_end, uint32_t weak_end,
                   uint8_t *state);
