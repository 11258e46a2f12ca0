// Batch norm in training of rows of numbers, one a channel of a member. Follows products.cpp.

namespace {

constexpr Size AT_ONCE = 4096;  // numbers that are summed in float32; their sums are added in float64

// The sum over a row of what `of` makes of a vector. `of` sees zeros behind the end, with the number that count.
template <typename Of>
double sum_of_row(const float* row, Size length, Of of) {
  double sum = 0.0;
  for (Size first = 0; first < length; first += AT_ONCE) {
    const Size end = std::min(first + AT_ONCE, length);
    Vec sums[4] = {Vec(0.0f), Vec(0.0f), Vec(0.0f), Vec(0.0f)};
    Size n = first;
    for (; n + 4 * LANES <= end; n += 4 * LANES)
#pragma GCC unroll 4
      for (int v = 0; v < 4; v++) sums[v] = sums[v] + of(Vec::loadu(row + n + v * LANES));
    for (; n + LANES <= end; n += LANES) sums[0] = sums[0] + of(Vec::loadu(row + n));
    float last[LANES] = {};
    if (n < end) of(Vec::loadu(row + n, end - n)).store(last, end - n);
    sum += sum_of((sums[0] + sums[1]) + (sums[2] + sums[3])) + sum_of(Vec::loadu(last));
  }
  return sum;
}

}  // namespace

// y = (x - mean) * scale * weight + bias, where scale = 1 / sqrt(biased variance + eps); `variance` is the unbiased one.
extern "C" void tenfold_norm(Size rows, Size length, double eps, const float* x, const float* weight, const float* bias,
                             float* y, float* mean, float* scale, float* variance) {
#pragma omp parallel for schedule(static) num_threads(omp_get_max_threads())
  for (Size r = 0; r < rows; r++) {
    const float* row = x + r * length;
    const double middle = sum_of_row(row, length, [](Vec value) { return value; }) / length;
    const Vec around(static_cast<float>(middle));
    const double squares = sum_of_row(row, length, [&](Vec value) { return (value - around) * (value - around); });
    mean[r] = middle;
    scale[r] = 1.0 / std::sqrt(squares / length + eps);
    variance[r] = squares / (length - 1);
    const Vec by(scale[r] * (weight == nullptr ? 1.0f : weight[r])), to(bias == nullptr ? 0.0f : bias[r]);
    for (Size n = 0; n < length; n += LANES) {
      const int count = std::min(length - n, LANES);
      at::vec::fmadd(Vec::loadu(row + n, count) - around, by, to).store(y + r * length + n, count);
    }
  }
}
