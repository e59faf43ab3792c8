const char *ldpc_best(void);
int ldpc_supports(const char *variant);
void ldpc_syndrome(const char *variant, int32_t z, int32_t n_columns, int32_t n_rows,
                   const int32_t *row_start, const int32_t *column, const int32_t *shift,
                   const uint8_t *bits, uint8_t *twice, uint8_t *syndrome);
int32_t ldpc_decode(const char *variant, int32_t z, int32_t n_columns, int32_t n_rows,
                    const int32_t *row_start, const int32_t *column, const int32_t *shift,
                    const int32_t *order, const int32_t *window, const int8_t *llr,
                    const uint8_t *syndrome, const uint16_t *phi, const uint8_t *inverse,
                    const uint8_t *near, int32_t max_iterations, int32_t patience, int32_t warm_rows, int8_t *message,
                    uint8_t *errors, void *workspace);
