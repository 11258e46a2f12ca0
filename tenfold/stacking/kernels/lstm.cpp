// One layer of LSTMs in one direction, forward and backward, a member after another on each thread. Follows products.cpp.
//
// Letters: M members, T steps, B batch, D inputs, H hidden; gates in PyTorch's order i, f, g, o.
//
// All that one step of one member touches stays in the second cache: no gates of all steps at once, neither of the
// input's share nor of the gradients. The gradients of the weights are summed step by step for the same reason.

namespace {

// A rational function, right to 5 units in the last place, in a quarter of the time of at::vec's (the coefficients are
// Eigen's, generic_fast_tanh_float). NaN stays NaN: clamp hands it on.
inline Vec fast_tanh(Vec x) {
  constexpr float ODD[] = {-2.76076847742355e-16f, 2.00018790482477e-13f, -8.60467152213735e-11f, 5.12229709037114e-08f,
                           1.48572235717979e-05f,  6.37261928875436e-04f, 4.89352455891786e-03f};
  constexpr float EVEN[] = {1.19825839466702e-06f, 1.18534705686654e-04f, 2.26843463243900e-03f, 4.89352518554385e-03f};
  x = at::vec::clamp(x, Vec(-7.99881172180175781f), Vec(7.99881172180175781f));
  const Vec square = x * x;
  Vec above(ODD[0]), below(EVEN[0]);
#pragma GCC unroll 8
  for (int i = 1; i < 7; i++) above = at::vec::fmadd(above, square, Vec(ODD[i]));
#pragma GCC unroll 4
  for (int i = 1; i < 4; i++) below = at::vec::fmadd(below, square, Vec(EVEN[i]));
  return x * above / below;
}

inline Vec sigmoid(Vec x) {
  const Vec half(0.5f);
  return at::vec::fmadd(half, fast_tanh(half * x), half);
}

// What a thread works with; grown once, kept for the next call.
struct Room {
  std::vector<float> input, hidden, gates, d_hidden, d_cell;
};

// Activates the gates of a row in place; writes its new cell and hidden state.
void step_forward(Size hidden, float* gates, const float* before, float* cell, float* output) {
  for (Size j = 0; j < hidden; j += LANES) {
    const int left = std::min(hidden - j, LANES);
    const Vec i = sigmoid(Vec::loadu(gates + j, left)), f = sigmoid(Vec::loadu(gates + hidden + j, left));
    const Vec g = fast_tanh(Vec::loadu(gates + 2 * hidden + j, left)), o = sigmoid(Vec::loadu(gates + 3 * hidden + j, left));
    const Vec c = at::vec::fmadd(f, Vec::loadu(before + j, left), i * g);
    i.store(gates + j, left);
    f.store(gates + hidden + j, left);
    g.store(gates + 2 * hidden + j, left);
    o.store(gates + 3 * hidden + j, left);
    c.store(cell + j, left);
    (o * fast_tanh(c)).store(output + j, left);
  }
}

// The gradients of a row's gates before their activations; d_cell becomes that of the cell before the step.
void step_backward(Size hidden, const float* gates, const float* before, const float* cell, const float* d_output,
                   const float* d_hidden, float* d_cell, float* d_gates) {
  const Vec one(1.0f);
  for (Size j = 0; j < hidden; j += LANES) {
    const int left = std::min(hidden - j, LANES);
    const Vec i = Vec::loadu(gates + j, left), f = Vec::loadu(gates + hidden + j, left);
    const Vec g = Vec::loadu(gates + 2 * hidden + j, left), o = Vec::loadu(gates + 3 * hidden + j, left);
    const Vec tanh = fast_tanh(Vec::loadu(cell + j, left));
    const Vec d_h = Vec::loadu(d_output + j, left) + Vec::loadu(d_hidden + j, left);
    const Vec d_c = Vec::loadu(d_cell + j, left) + d_h * o * (one - tanh * tanh);
    (d_c * g * i * (one - i)).store(d_gates + j, left);
    (d_c * Vec::loadu(before + j, left) * f * (one - f)).store(d_gates + hidden + j, left);
    (d_c * i * (one - g * g)).store(d_gates + 2 * hidden + j, left);
    (d_h * tanh * o * (one - o)).store(d_gates + 3 * hidden + j, left);
    (d_c * f).store(d_cell + j, left);
  }
}

float* grown(std::vector<float>& room, Size size) {
  if (static_cast<Size>(room.size()) < size) room.resize(size);
  return room.data();
}

}  // namespace

struct LSTM {
  Size M, T, B, D, H;
  const float* x;  // (M, T, B, D), rows contiguous
  Size x_member, x_step, x_row;
  const float* w_ih;  // (M, 4H, D)
  Size w_ih_member, w_ih_row, w_ih_col;
  const float* w_hh;  // (M, 4H, H)
  Size w_hh_member, w_hh_row, w_hh_col;
  const float* bias;  // (M, 4H), or null
  const float* hidden;  // the initial states, (M, B, H)
  const float* cell;
  float* outputs;  // (M, T, B, H)
  float* cells;    // (M, T, B, H)
  float* gates;    // (M, T, B, 4H), activated
  Size reverse;
};

struct LSTMGradients {
  const float* outputs;  // (M, T, B, H)
  const float* last_hidden;  // (M, B, H)
  const float* last_cell;
  float* x;  // (M, T, B, D), or null
  // Of the weights transposed, one a part of the batch: (M, parts, D, 4H), (M, parts, H, 4H) and (M, parts, 4H); zeros.
  float* w_ih;
  float* w_hh;
  float* bias;  // or null
  float* hidden;  // (M, B, H)
  float* cell;
  Size parts;
};

extern "C" void tenfold_lstm(const LSTM* call) {
  const LSTM& p = *call;
  const Size G = 4 * p.H, parts = pieces(p.M, omp_get_max_threads());
#pragma omp parallel
  {
    static thread_local Room room;
#pragma omp for schedule(static)
    for (Size work = 0; work < p.M * parts; work++) {
      const Size m = work / parts, part = work % parts;
      const Size row = p.B * part / parts, rows = p.B * (part + 1) / parts - row;
      const Matrix w_ih = with_contiguous_rows(p.w_ih + m * p.w_ih_member, p.w_ih_col, p.w_ih_row, p.D, G, room.input);
      const Matrix w_hh = with_contiguous_rows(p.w_hh + m * p.w_hh_member, p.w_hh_col, p.w_hh_row, p.H, G, room.hidden);
      const Start bias = {p.bias == nullptr ? nullptr : p.bias + m * G, 0};
      const float* hidden = p.hidden + (m * p.B + row) * p.H;
      const float* cell = p.cell + (m * p.B + row) * p.H;
      for (Size s = 0; s < p.T; s++) {
        const Size t = p.reverse ? p.T - 1 - s : s, at = (m * p.T + t) * p.B + row;
        float *gates = p.gates + at * G, *cells = p.cells + at * p.H, *outputs = p.outputs + at * p.H;
        const float* x = p.x + m * p.x_member + t * p.x_step + row * p.x_row;
        product(rows, G, p.D, x, p.x_row, 1, w_ih.data, w_ih.row, bias, gates, G);
        product(rows, G, p.H, hidden, p.H, 1, w_hh.data, w_hh.row, {gates, G}, gates, G);
        for (Size r = 0; r < rows; r++)
          step_forward(p.H, gates + r * G, cell + r * p.H, cells + r * p.H, outputs + r * p.H);
        hidden = outputs;
        cell = cells;
      }
    }
  }
}

extern "C" void tenfold_lstm_backward(const LSTM* call, const LSTMGradients* gradients) {
  const LSTM& p = *call;
  const LSTMGradients& d = *gradients;
  const Size G = 4 * p.H;
#pragma omp parallel
  {
    static thread_local Room room;
#pragma omp for schedule(static)
    for (Size work = 0; work < p.M * d.parts; work++) {
      const Size m = work / d.parts, part = work % d.parts;
      const Size row = p.B * part / d.parts, rows = p.B * (part + 1) / d.parts - row, state = (m * p.B + row) * p.H;
      const Matrix w_ih = d.x == nullptr ? Matrix{nullptr, 0} : with_contiguous_rows(
          p.w_ih + m * p.w_ih_member, p.w_ih_row, p.w_ih_col, G, p.D, room.input);
      const Matrix w_hh = with_contiguous_rows(p.w_hh + m * p.w_hh_member, p.w_hh_row, p.w_hh_col, G, p.H, room.hidden);
      float* d_gates = grown(room.gates, rows * G);
      float *d_hidden = d.hidden + state, *d_cell = d.cell + state;
      std::copy_n(d.last_hidden + state, rows * p.H, d_hidden);
      std::copy_n(d.last_cell + state, rows * p.H, d_cell);
      float *d_w_ih = d.w_ih + work * p.D * G, *d_w_hh = d.w_hh + work * p.H * G;
      for (Size s = p.T - 1; s >= 0; s--) {
        const Size t = p.reverse ? p.T - 1 - s : s, at = (m * p.T + t) * p.B + row;
        const Size earlier = at + (p.reverse ? p.B : -p.B);
        const float* cell = s == 0 ? p.cell + state : p.cells + earlier * p.H;
        const float* hidden = s == 0 ? p.hidden + state : p.outputs + earlier * p.H;
        for (Size r = 0; r < rows; r++)
          step_backward(p.H, p.gates + (at + r) * G, cell + r * p.H, p.cells + (at + r) * p.H,
                        d.outputs + (at + r) * p.H, d_hidden + r * p.H, d_cell + r * p.H, d_gates + r * G);
        product(rows, p.H, G, d_gates, G, 1, w_hh.data, w_hh.row, {}, d_hidden, p.H);
        product(p.H, G, rows, hidden, 1, p.H, d_gates, G, {d_w_hh, G}, d_w_hh, G);
        const float* x = p.x + m * p.x_member + t * p.x_step + row * p.x_row;
        product(p.D, G, rows, x, 1, p.x_row, d_gates, G, {d_w_ih, G}, d_w_ih, G);
        if (d.x != nullptr) product(rows, p.D, G, d_gates, G, 1, w_ih.data, w_ih.row, {}, d.x + at * p.D, p.D);
        if (d.bias != nullptr) {
          float* d_bias = d.bias + work * G;
          for (Size r = 0; r < rows; r++)
            for (Size j = 0; j < G; j++) d_bias[j] += d_gates[r * G + j];
        }
      }
    }
  }
}
