int64_t gaps_encode(const uint32_t *slots, int64_t n_slots, int64_t previous, uint8_t *words,
                    int64_t room);
int64_t gaps_decode(const uint8_t *words, int64_t n_words, int64_t previous, int64_t n_clicks,
                    int64_t frame_pulses, int64_t *slots);
