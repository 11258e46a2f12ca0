// Batch norm in training of rows of numbers, one a channel of a member. Follows products.cpp.

namespace {

constexpr Size AT_ONCE = 4096;  // numbers that are summed in float32; their sums are added in float64

// Sums over `length` numbers of what `of` makes of each vector: `of(at, count)` gives K vectors, of which `count` lanes
// count.
template <int K, typename Of>
std::array<double, K> sums_over(Size length, Of of) {
  std::array<double, K> whole = {};
  for (Size first = 0; first < length; first += AT_ONCE) {
    const Size end = std::min(first + AT_ONCE, length);
    Vec sums[K][4];
    for (auto& four : sums) std::fill_n(four, 4, Vec(0.0f));
    Size n = first;
    for (; n + 4 * LANES <= end; n += 4 * LANES)
#pragma GCC unroll 4
      for (int v = 0; v < 4; v++) {
        const std::array<Vec, K> found = of(n + v * LANES, LANES);
        for (int k = 0; k < K; k++) sums[k][v] = sums[k][v] + found[k];
      }
    for (; n + LANES <= end; n += LANES) {
      const std::array<Vec, K> found = of(n, LANES);
      for (int k = 0; k < K; k++) sums[k][0] = sums[k][0] + found[k];
    }
    for (int k = 0; k < K; k++) whole[k] += sum_of((sums[k][0] + sums[k][1]) + (sums[k][2] + sums[k][3]));
    if (n == end) continue;
    const std::array<Vec, K> found = of(n, end - n);
    for (int k = 0; k < K; k++) {
      float last[LANES] = {};
      found[k].store(last, end - n);
      whole[k] += sum_of(Vec::loadu(last));
    }
  }
  return whole;
}

// What becomes of a channel's numbers: (x - mean) * by + to, and what a ReLU leaves of it.
struct Line {
  Vec mean, by, to;
  bool relu;

  Vec operator()(Vec x) const { return at::vec::fmadd(x - mean, by, to); }

  // The gradient that goes on beyond the ReLU: as PyTorch has it, all but where its output is not above zero.
  Vec through(Vec grad, Vec x) const { return relu ? Vec::blendv(grad, Vec(0.0f), (*this)(x) <= Vec(0.0f)) : grad; }
};

Line line_of(Size r, float mean, float scale, const float* weight, const float* bias, bool relu) {
  return {Vec(mean), Vec(scale * (weight == nullptr ? 1.0f : weight[r])), Vec(bias == nullptr ? 0.0f : bias[r]), relu};
}

}  // namespace

// y = (x - mean) * scale * weight + bias, where scale = 1 / sqrt(biased variance + eps); `variance` is the unbiased one.
extern "C" void tenfold_norm(Size rows, Size length, double eps, const float* x, const float* weight, const float* bias,
                             bool relu, float* y, float* mean, float* scale, float* variance) {
#pragma omp parallel for schedule(static) num_threads(omp_get_max_threads())
  for (Size r = 0; r < rows; r++) {
    const float* row = x + r * length;
    using One = std::array<Vec, 1>;
    const double middle = sums_over<1>(length, [&](Size n, int count) { return One{Vec::loadu(row + n, count)}; })[0] / length;
    const Vec around(static_cast<float>(middle));
    const double squares = sums_over<1>(length, [&](Size n, int count) {
      const Vec from = Vec::loadu(row + n, count) - around;
      return One{from * from};
    })[0];
    mean[r] = middle;
    scale[r] = 1.0 / std::sqrt(squares / length + eps);
    variance[r] = squares / (length - 1);
    const Line line = line_of(r, mean[r], scale[r], weight, bias, relu);
    for (Size n = 0; n < length; n += LANES) {
      const int count = std::min(length - n, LANES);
      const Vec value = line(Vec::loadu(row + n, count));
      (relu ? at::vec::clamp_min(value, Vec(0.0f)) : value).store(y + r * length + n, count);
    }
  }
}

// Gradients of those that are not null; `mean` and `scale` are what the forward pass gave. Whether a ReLU let a number
// through is computed anew.
extern "C" void tenfold_norm_backward(Size rows, Size length, const float* grad, const float* x, const float* weight,
                                      const float* bias, const float* mean, const float* scale, bool relu, float* of_x,
                                      float* of_weight, float* of_bias) {
#pragma omp parallel for schedule(static) num_threads(omp_get_max_threads())
  for (Size r = 0; r < rows; r++) {
    const float *own_grad = grad + r * length, *row = x + r * length;
    const Line line = line_of(r, mean[r], scale[r], weight, bias, relu);
    const auto [sum, product] = sums_over<2>(length, [&](Size n, int count) {
      const Vec value = Vec::loadu(row + n, count), through = line.through(Vec::loadu(own_grad + n, count), value);
      return std::array<Vec, 2>{through, through * (value - line.mean)};
    });
    if (of_weight != nullptr) of_weight[r] = product * scale[r];
    if (of_bias != nullptr) of_bias[r] = sum;
    if (of_x == nullptr) continue;
    const Vec mean_grad(static_cast<float>(sum / length)), slope(static_cast<float>(product * scale[r] * scale[r] / length));
    for (Size n = 0; n < length; n += LANES) {
      const int count = std::min(length - n, LANES);
      const Vec value = Vec::loadu(row + n, count), through = line.through(Vec::loadu(own_grad + n, count), value);
      (line.by * (through - mean_grad - (value - line.mean) * slope)).store(of_x + r * length + n, count);
    }
  }
}
