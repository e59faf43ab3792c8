int sifting_supported(const char *variant);
void sifting_split(const uint8_t *detectors, size_t n, uint8_t *bases, uint8_t *bits);
void sifting_alice(const char *variant, const uint8_t *states, const uint8_t *bases, size_t n,
                   uint8_t *planes, size_t plane_bytes, int64_t *sums);
void sifting_bob(const char *variant, const uint8_t *bases, const uint8_t *bits,
                 const uint8_t *kept, size_t n, const uint8_t *weak, const uint8_t *vacuum,
                 size_t kept_bytes, const uint8_t *test_bits, size_t test_bytes, uint8_t *planes,
                 size_t plane_bytes, int64_t *sums);
