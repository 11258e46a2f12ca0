// Random numbers that depend on a counter alone.

namespace {

constexpr Size DRAWN_AT_ONCE = 1 << 12;

}  // namespace

// out[s, n] = the upper 24 bits of SplitMix64 number n + 1 after start[s], as a number in [0, 1).
extern "C" void tenfold_uniform(Size streams, Size count, const int64_t* start, float* out) {
  const Size blocks = (count + DRAWN_AT_ONCE - 1) / DRAWN_AT_ONCE;
#pragma omp parallel for schedule(static) num_threads(omp_get_max_threads()) if (streams * count > ALONE)
  for (Size block = 0; block < streams * blocks; block++) {
    const Size stream = block / blocks, first = block % blocks * DRAWN_AT_ONCE;
    const Size end = std::min(first + DRAWN_AT_ONCE, count);
    const uint64_t from = static_cast<uint64_t>(start[stream]) + 1;
    float* to = out + stream * count;
    for (Size n = first; n < end; n++) {
      uint64_t bits = (from + static_cast<uint64_t>(n)) * 0x9E3779B97F4A7C15u;
      bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9u;
      bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EBu;
      bits ^= bits >> 31;
      to[n] = static_cast<float>(static_cast<int32_t>(bits >> 40)) * 0x1p-24f;
    }
  }
}
