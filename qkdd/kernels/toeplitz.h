int toeplitz_init(void);
int toeplitz_supported(int variant);
void toeplitz_transform(int variant, int log2_points, const uint8_t *packed, uint64_t *spectrum);
void toeplitz_accumulate(int variant, size_t n_points, uint64_t *acc, const uint64_t *x,
                         const uint64_t *s);
void toeplitz_product(int variant, int log2_points, uint64_t *spectrum, uint8_t *packed);
