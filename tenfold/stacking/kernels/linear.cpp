// Linear layers of many members, with the ReLU that follows where there is one. Follows products.cpp.

namespace {

// M members, B rows of D features, K outputs; strides of the member, of a row and of a column.
struct Linear {
  Size M, B, D, K;
  const float* x;
  Size x_member, x_row, x_col;
  const float* weight;  // (M, K, D)
  Size weight_member, weight_row, weight_col;
};

// A part of a whole, one of `parts` of nearly equal size.
struct Part {
  Size first, size;
};

Part part_of(Size whole, Size part, Size parts) {
  const Size first = whole * part / parts;
  return {first, whole * (part + 1) / parts - first};
}

// Calls `take(at, count)` for vectors that cover `size` numbers.
template <typename Take>
void by_vectors(Size size, Take take) {
  for (Size at = 0; at < size; at += LANES) take(at, static_cast<int>(std::min(size - at, LANES)));
}

// Has numbers that lie one after another come into the cache all at once. A product goes through a dozen rows of a
// matrix side by side, each too short for the processor to see what comes next.
void fetch(const float* from, Size numbers) {
  for (Size at = 0; at < numbers; at += LANES) __builtin_prefetch(from + at);
}

void fetch_rows(const Linear& call, Size m, Part rows) {
  if (call.x_col == 1 && call.x_row == call.D)
    fetch(call.x + m * call.x_member + rows.first * call.D, rows.size * call.D);
}

void fetch_weight(const Linear& call, Size m) {
  if (call.weight_row + call.weight_col == 1 + (call.weight_col == 1 ? call.D : call.K))
    fetch(call.weight + m * call.weight_member, call.K * call.D);
}

// Adds a bias, shape (K,), to rows of K numbers, and leaves what is above zero of them.
void finish(float* rows, Size count, Size K, const float* bias, bool relu) {
  for (Size b = 0; b < count; b++)
    by_vectors(K, [&](Size k, int lanes) {
      float* at = rows + b * K + k;
      Vec value = Vec::loadu(at, lanes);
      if (bias != nullptr) value = value + Vec::loadu(bias + k, lanes);
      if (relu) value = at::vec::clamp_min(value, Vec(0.0f));
      value.store(at, lanes);
    });
}

// What a ReLU lets through of a gradient: as PyTorch has it, all but where its output is not above zero.
void let_through(const float* grad, const float* output, float* masked, Size size) {
  by_vectors(size, [&](Size at, int lanes) {
    const Vec gradient = Vec::loadu(grad + at, lanes), out = Vec::loadu(output + at, lanes);
    Vec::blendv(gradient, Vec(0.0f), out <= Vec(0.0f)).store(masked + at, lanes);
  });
}

// The sums of B rows over some columns.
void sum_rows(const float* rows, Size B, Size K, Part columns, float* sums) {
  by_vectors(columns.size, [&](Size at, int lanes) {
    const Size k = columns.first + at;
    Vec sum(0.0f);
    for (Size b = 0; b < B; b++) sum = sum + Vec::loadu(rows + b * K + k, lanes);
    sum.store(sums + k, lanes);
  });
}

}  // namespace

// `out` is (M, B, K), `bias` (M, K) with a stride of its members, or null.
extern "C" void tenfold_linear(const Linear& call, const float* bias, Size bias_member, bool relu, float* out) {
  const auto [M, B, D, K, x, x_member, x_row, x_col, weight, weight_member, weight_row, weight_col] = call;
  const int threads = threads_for(M * B * D * K);
  const Size parts = pieces(M, threads);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (Size work = 0; work < M * parts; work++) {
    const Size m = work / parts;
    const Part rows = part_of(B, work % parts, parts);
    fetch_rows(call, m, rows);
    fetch_weight(call, m);
    float* to = out + (m * B + rows.first) * K;
    member_product(rows.size, K, D, x + m * x_member + rows.first * x_row, x_row, x_col, weight + m * weight_member,
                   weight_col, weight_row, to);
    finish(to, rows.size, K, bias == nullptr ? nullptr : bias + m * bias_member, relu);
  }
}

// Gradients of those that are not null. `grad` is (M, B, K); where a ReLU follows, `output` is what it gave. The weights'
// gradient is (M, K, D), or (M, D, K) if it is to lie so.
extern "C" void tenfold_linear_backward(const Linear& call, const float* grad, const float* output, float* of_x,
                                        float* of_weight, bool lies_transposed, float* of_bias) {
  static thread_local std::vector<float> own_masked;
  const Size M = call.M, B = call.B, D = call.D, K = call.K;
  const int threads = threads_for(M * B * D * K);
  const Size parts = pieces(M, threads);
  // What the ReLU let through: of one member after another while it stays in the cache, or of all for all threads.
  std::vector<float> all_masked(output != nullptr && parts > 1 ? M * B * K : 0);
  auto masked = [&](Size m) { return parts > 1 ? all_masked.data() + m * B * K : own_masked.data(); };
  auto through = [&](Size m) { return output == nullptr ? grad + m * B * K : masked(m); };
  auto mask = [&](Size m, Size part) {
    if (output == nullptr) return;
    if (parts == 1 && static_cast<Size>(own_masked.size()) < B * K) own_masked.resize(B * K);
    const Part rows = part_of(B, part, parts);
    const Size first = rows.first * K, at = m * B * K + first;
    let_through(grad + at, output + at, masked(m) + first, rows.size * K);
  };
  auto weights = [&](Size m, Size part) {
    const float *own = through(m), *x = call.x + m * call.x_member;
    if (of_bias != nullptr) sum_rows(own, B, K, part_of(K, part, parts), of_bias + m * K);
    if (of_weight == nullptr) return;
    fetch_rows(call, m, {0, B});
    float* to = of_weight + m * K * D;
    if (lies_transposed) {
      const Part rows = part_of(D, part, parts);
      member_product(rows.size, K, B, x + rows.first * call.x_col, call.x_col, call.x_row, own, K, 1,
                     to + rows.first * K);
    } else {
      const Part rows = part_of(K, part, parts);
      member_product(rows.size, D, B, own + rows.first, 1, K, x, call.x_row, call.x_col, to + rows.first * D);
    }
  };
  auto inputs = [&](Size m, Size part) {
    if (of_x == nullptr) return;
    fetch_weight(call, m);
    const Part rows = part_of(B, part, parts);
    member_product(rows.size, D, K, through(m) + rows.first * K, K, 1, call.weight + m * call.weight_member,
                   call.weight_row, call.weight_col, of_x + (m * B + rows.first) * D);
  };
#pragma omp parallel num_threads(threads)
  {
    if (parts == 1) {
#pragma omp for schedule(static)
      for (Size m = 0; m < M; m++) mask(m, 0), weights(m, 0), inputs(m, 0);
    } else {
#pragma omp for schedule(static)
      for (Size work = 0; work < M * parts; work++) mask(work / parts, work % parts);
#pragma omp for schedule(static)
      for (Size work = 0; work < M * parts; work++)
        weights(work / parts, work % parts), inputs(work / parts, work % parts);
    }
  }
}
