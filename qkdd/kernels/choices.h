int choices_supported(const char *variant);
int choices_states(const char *variant, const uint8_t seed[32], const void *pulses,
                   int pulse_bytes, size_t n, uint32_t key_threshold, uint32_t signal_threshold,
                   uint32_t weak_threshold, uint8_t *states);
