int arrivals_supported(int variant);
int64_t arrivals_place(int variant, const uint64_t *word, int64_t n_words, double *at,
                       double per_pulse, int64_t n_pulses, int64_t *out_pulse);
