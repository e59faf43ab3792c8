int64_t tdc1_words(const int64_t *time_ps, const uint8_t *channel, int64_t n, int64_t start,
                   int64_t stop, int64_t until, int64_t *last, uint32_t *word);
