// Cross-entropy of rows of logits and its gradient. Follows products.cpp.

namespace {

constexpr Size LOGITS_ALONE = 1 << 11;  // that one thread does sooner than two

Vec masked(const float* from, Size count, float rest) {
  return _mm512_mask_loadu_ps(_mm512_set1_ps(rest), lanes_of(count), from);
}

// The loss of one row, and its gradient times `share` if there is room for it. The target counts but for `even`, which
// is spread over all classes.
double row_loss(const float* row, Size classes, Size target, double even, float share, float* grad) {
  constexpr float LEAST = -std::numeric_limits<float>::infinity();
  Vec most(LEAST);
  for (Size k = 0; k < classes; k += LANES) most = at::vec::maximum(most, masked(row + k, classes - k, LEAST));
  const float largest = _mm512_reduce_max_ps(most);
  const Vec top(largest);
  Vec sums(0.0f);
  for (Size k = 0; k < classes; k += LANES) {
    const Vec powers = (masked(row + k, classes - k, LEAST) - top).exp();
    sums = sums + powers;
    if (grad != nullptr) powers.store(grad + k, std::min(classes - k, LANES));
  }
  const float sum = _mm512_reduce_add_ps(sums);
  if (grad != nullptr) {
    const Vec by(share / sum), less(static_cast<float>(even * share / classes));
    for (Size k = 0; k < classes; k += LANES) {
      const int count = std::min(classes - k, LANES);
      (Vec::loadu(grad + k, count) * by - less).store(grad + k, count);
    }
    grad[target] -= static_cast<float>((1 - even) * share);
  }
  const double all = static_cast<double>(largest) + std::log(sum);
  if (even == 0) return all - row[target];
  Vec total(0.0f);
  for (Size k = 0; k < classes; k += LANES) total = total + masked(row + k, classes - k, 0.0f);
  return (1 - even) * (all - row[target]) + even * (all - _mm512_reduce_add_ps(total) / classes);
}

}  // namespace

// `target` is (M, B), with the steps that are given; `smoothing` is (M,), or null. Returns -1, or the place of a target that is no class.
extern "C" Size tenfold_cross_entropy(Size members, Size batch, Size classes, const float* logits, const int64_t* target,
                                      Size target_member, Size target_row, int64_t ignored,
                                      const double* smoothing, float* loss, float* grad) {
  std::vector<Size> counted(members);
  for (Size m = 0; m < members; m++)
    for (Size b = 0; b < batch; b++) {
      const int64_t own = target[m * target_member + b * target_row];
      if (own == ignored) continue;
      if (own < 0 || own >= classes) return m * batch + b;
      counted[m]++;
    }
  std::vector<double> losses(members * batch);
  auto even_of = [&](Size m) { return smoothing == nullptr ? 0.0 : smoothing[m]; };
  auto rows = [&](Size first, Size end) {
    for (Size i = first; i < end; i++) {
      const Size m = i / batch;
      const int64_t own = target[m * target_member + i % batch * target_row];
      float* to = grad == nullptr ? nullptr : grad + i * classes;
      if (own != ignored) losses[i] = row_loss(logits + i * classes, classes, own, even_of(m), 1.0f / counted[m], to);
      else if (to != nullptr) std::fill_n(to, classes, 0.0f);
    }
  };
  if (members * batch * classes < LOGITS_ALONE) {
    rows(0, members * batch);
  } else {
#pragma omp parallel num_threads(omp_get_max_threads())
    {
      const Size threads = omp_get_num_threads(), own = omp_get_thread_num(), all = members * batch;
      rows(all * own / threads, all * (own + 1) / threads);
    }
  }
  for (Size m = 0; m < members; m++) {
    double sum = 0.0;
    for (Size b = 0; b < batch; b++) sum += losses[m * batch + b];
    loss[m] = sum / counted[m];
  }
  return -1;
}
