int assign_supported(const char *variant);
int64_t assign_window(
    const char *variant, const int64_t *times_ps, const uint8_t *detectors, int64_t n_tags,
    int64_t anchor_ps, double fraction_ps, double period_ps, int64_t n_slots,
    int64_t dead_time_ps, double half_gate_ps,
    uint32_t *slots, uint8_t *masks, int64_t *sums);
int64_t assign_detectors(const uint8_t *channels, int64_t n, const uint8_t *detector_of, uint8_t none,
                         uint8_t *detectors);
int64_t assign_falls(const int64_t *times_ps, int64_t n);
int64_t assign_single(const uint8_t *masks, int64_t n, uint8_t *detectors, int64_t *several);
