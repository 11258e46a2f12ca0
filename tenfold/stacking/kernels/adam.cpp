// One pass of Adam over the parameters of many members, each with values of its own. Follows products.cpp.

namespace {

constexpr Size NUMBERS_ALONE = 1 << 15;  // that one thread moves sooner than two

// A number for all members, or one for each.
struct Values {
  const double* at;
  Size step;  // 0 or 1

  double operator[](Size m) const { return at[m * step]; }
};

// Of one parameter of all members: what is moved, its gradient, and the means of that and of its square.
struct Moved {
  float *parameter, *mean, *square;
  const float* gradient;
};

struct Adam {
  Size M, count;
  float *const *parameters, *const *means, *const *squares;
  const float* const* gradients;
  const Size* numbers;  // of a parameter of all members
  Values lr, weight_decay, beta1, beta2, eps, steps;
};

// What the arithmetic of one member needs, rounded once.
struct Rate {
  float shrink, mean, keep, square, root, eps, step;
};

Rate rate_of(const Adam& call, Size m) {
  const double lr = call.lr[m], beta1 = call.beta1[m], beta2 = call.beta2[m], steps = call.steps[m];
  return {static_cast<float>(1 - lr * call.weight_decay[m]),
          static_cast<float>(1 - beta1),
          static_cast<float>(beta2),
          static_cast<float>(1 - beta2),
          static_cast<float>(std::sqrt(1 - std::pow(beta2, steps))),
          static_cast<float>(call.eps[m]),
          static_cast<float>(-lr / (1 - std::pow(beta1, steps)))};
}

// Some numbers of one member, `count` of them: as many as there are lanes, or the last few.
inline void move_lanes(const Rate& rate, const Moved& moved, Size at, int count) {
  const Vec gradient = Vec::loadu(moved.gradient + at, count);
  Vec mean = Vec::loadu(moved.mean + at, count), square = Vec::loadu(moved.square + at, count);
  const Vec weight(rate.mean);
  mean = rate.mean < 0.5f ? at::vec::fmadd(weight, gradient - mean, mean)  // as `torch.lerp`
                          : at::vec::fmadd(weight - Vec(1.0f), gradient - mean, gradient);
  square = at::vec::fmadd(Vec(rate.square) * gradient, gradient, square * Vec(rate.keep));
  const Vec divisor = square.sqrt() / Vec(rate.root) + Vec(rate.eps);
  const Vec parameter = Vec::loadu(moved.parameter + at, count) * Vec(rate.shrink);
  mean.store(moved.mean + at, count);
  square.store(moved.square + at, count);
  (parameter + Vec(rate.step) * mean / divisor).store(moved.parameter + at, count);
}

void move_row(const Rate& rate, const Moved& moved, Size at, Size end) {
  for (; at + LANES <= end; at += LANES) move_lanes(rate, moved, at, LANES);
  if (at < end) move_lanes(rate, moved, at, end - at);
}

}  // namespace

extern "C" void tenfold_adam(const Adam& call) {
  std::vector<Rate> rates(call.M);
  for (Size m = 0; m < call.M; m++) rates[m] = rate_of(call, m);
  Size whole = 0;
  for (Size i = 0; i < call.count; i++) whole += call.numbers[i];
  // A share of the numbers of each parameter: the members whose gradients this thread has made, and whose weights it
  // will read, where there are several a thread.
  auto move_share = [&](Size own, Size threads) {
    const TinyAreZero guard;
    for (Size i = 0; i < call.count; i++) {
      const Moved moved = {call.parameters[i], call.means[i], call.squares[i], call.gradients[i]};
      const Size n = call.numbers[i] / call.M, to = call.numbers[i] * (own + 1) / threads;
      for (Size at = call.numbers[i] * own / threads, row_end; at < to; at = row_end) {
        row_end = std::min((at / n + 1) * n, to);
        move_row(rates[at / n], moved, at, row_end);
      }
    }
  };
  if (whole < NUMBERS_ALONE) {
    move_share(0, 1);
    return;
  }
#pragma omp parallel num_threads(omp_get_max_threads())
  move_share(omp_get_thread_num(), omp_get_num_threads());
}
