int expand_supported(int wide);
void expand_states(int wide, const uint8_t *seed, const int64_t *index, int64_t n,
                   uint32_t key_end, uint32_t signal_end, uint32_t weak_end,
                   uint8_t *state);
void expand_dice(int wide, const uint8_t *key, uint64_t first, int64_t n_blocks, uint64_t *word);
