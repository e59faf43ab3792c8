int64_t tdc1_count(const uint8_t *data, int64_t n_words);
int tdc1_supported(const char *variant);
void tdc1_decode(const char *variant, const uint8_t *data, int64_t n_words, int64_t *state,
                 int64_t *times_ps, uint8_t *channels);
