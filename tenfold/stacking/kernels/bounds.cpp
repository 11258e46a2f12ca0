// Whether all numbers of some tensors are small. Follows products.cpp.

namespace {

constexpr Size LOOKED_AT_ALONE = 1 << 15;  // numbers that one thread looks at sooner than two

// The largest magnitude as the bits of a float, whose order is that of magnitudes; NaN comes after infinity.
int largest_bits(const float* from, Size count) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  __m512i largest[4] = {};
  Size at = 0;
  for (; at + 4 * LANES <= count; at += 4 * LANES)
    for (int part = 0; part < 4; part++) {
      const __m512i bits = _mm512_loadu_si512(from + at + part * LANES);
      largest[part] = _mm512_max_epi32(largest[part], _mm512_and_si512(bits, magnitude));
    }
  for (; at < count; at += LANES) {
    const __m512i bits = _mm512_maskz_loadu_epi32(lanes_of(count - at), from + at);
    largest[0] = _mm512_max_epi32(largest[0], _mm512_and_si512(bits, magnitude));
  }
  return _mm512_reduce_max_epi32(
      _mm512_max_epi32(_mm512_max_epi32(largest[0], largest[1]), _mm512_max_epi32(largest[2], largest[3])));
}

}  // namespace

extern "C" bool tenfold_are_below(Size count, const float* const* tensors, const Size* numbers, float bound) {
  Size whole = 0;
  for (Size i = 0; i < count; i++) whole += numbers[i];
  int largest = 0;
#pragma omp parallel num_threads(omp_get_max_threads()) if (whole > LOOKED_AT_ALONE) reduction(max : largest)
  {
    // As Adam's step shares them out, which reads them next.
    const Size threads = omp_get_num_threads(), own = omp_get_thread_num();
    for (Size i = 0; i < count; i++) {
      const Size first = numbers[i] * own / threads, end = numbers[i] * (own + 1) / threads;
      largest = std::max(largest, largest_bits(tensors[i] + first, end - first));
    }
  }
  float magnitude;
  std::memcpy(&magnitude, &largest, sizeof magnitude);
  return magnitude < bound;  // not if it is NaN
}
