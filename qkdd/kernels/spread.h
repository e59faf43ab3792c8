void spread_join(const uint8_t *plane, size_t n_bits, uint8_t *joined, size_t at_bit);
void spread_unpack(const uint8_t *bits, const uint8_t *low, const uint8_t *high, size_t n_bits,
                   uint8_t *key_bits, uint8_t *intensities);
