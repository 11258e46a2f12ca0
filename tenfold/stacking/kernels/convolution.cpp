// Convolutions and max pooling of many members with few channels, on CPUs with AVX-512. Follows products.cpp.
//
// Letters: M members, B batch, C channels and O of the result, H W and R S of the result, K the window's taps.
//
// Samples lie side by side: (M, C, H, W, B). Whatever the window, its stride and the number of channels, a vector is
// full of numbers that are treated alike, and a tile of the result, OUT channels times VECTORS of samples at one place,
// stays in registers while it is summed. A product of matrices would need a copy K times as large; kernels that are
// vectorised over channels leave most lanes empty where there are one, six, or eight of them.

namespace {

constexpr Size SUMS = 24;         // of 32 registers

// Along one axis: which taps a place sees, and where they fall.
struct Seen {
  Size tap, place;
};
using Axis = std::vector<std::vector<Seen>>;

// What each place of the result sees of the input.
Axis seen_along(Size result, Size input, Size window, Size stride, Size padding, Size dilation) {
  Axis axis(result);
  for (Size r = 0; r < result; r++)
    for (Size tap = 0; tap < window; tap++) {
      const Size place = r * stride - padding + tap * dilation;
      if (place >= 0 && place < input) axis[r].push_back({tap, place});
    }
  return axis;
}

// Which places of the result see each place of the input.
Axis turned_around(const Axis& forward, Size input) {
  Axis axis(input);
  for (Size r = 0; r < static_cast<Size>(forward.size()); r++)
    for (const Seen& seen : forward[r]) axis[seen.place].push_back({seen.tap, r});
  return axis;
}

struct Convolution {
  Size M, B, C, H, W, O, R, S, window[2], stride[2], padding[2], dilation[2];
  const float* x;  // (M, C, H, W, B), `x_member` 0 where all members see the same
  Size x_member;
  const float* weight;  // (M, O, C, K)
  const float* bias;    // (M, O), or null

  Axis seen(int axis) const {
    return seen_along(axis == 0 ? R : S, axis == 0 ? H : W, window[axis], stride[axis], padding[axis], dilation[axis]);
  }
};

// One place, OUT channels, VECTORS of samples: sums over taps and channels. `weight` lies (K, channels, OUT).
template <int OUT, int VECTORS, bool WHOLE>
inline void tile_of_samples(const std::vector<Seen>& rows, const std::vector<Seen>& cols, Size window_cols,
                            Size channels, const float* x, Size x_row, Size x_col, Size x_channel,
                            const float* weight, const float* bias, float* y, Size y_channel, int last) {
  Vec sums[OUT][VECTORS];
#pragma GCC unroll 24
  for (int o = 0; o < OUT; o++)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) sums[o][v] = Vec(bias == nullptr ? 0.0f : bias[o]);
  for (const Seen& row : rows)
    for (const Seen& col : cols) {
      const float* from = x + row.place * x_row + col.place * x_col;
      const float* tap = weight + (row.tap * window_cols + col.tap) * channels * OUT;
      for (Size c = 0; c < channels; c++, from += x_channel, tap += OUT) {
        Vec samples[VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++)
          samples[v] = WHOLE || v + 1 < VECTORS ? Vec::loadu(from + v * LANES) : Vec::loadu(from + v * LANES, last);
#pragma GCC unroll 24
        for (int o = 0; o < OUT; o++) {
          const Vec left(tap[o]);
#pragma GCC unroll 4
          for (int v = 0; v < VECTORS; v++) sums[o][v] = at::vec::fmadd(left, samples[v], sums[o][v]);
        }
      }
    }
#pragma GCC unroll 24
  for (int o = 0; o < OUT; o++)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++)
      sums[o][v].store(y + o * y_channel + v * LANES, WHOLE || v + 1 < VECTORS ? LANES : last);
}

// A row of the result, all its places and channels, and some samples.
struct Row {
  const std::vector<Seen>& rows;
  const Axis& cols;
  Size window_cols, taps, channels, out, batch, samples;
  const float* x;
  Size x_row, x_col, x_channel;
  const float* weight;  // packed
  const float* bias;
  float* y;
  Size y_col, y_channel;
};

Size vectors_of(Size samples) { return samples > 3 * LANES ? 4 : samples > LANES ? 2 : 1; }

// Into how many blocks the channels of a result are cut, so that the sums of a tile stay in registers.
Size blocks_of(Size out, Size batch) {
  const Size most = std::min<Size>(SUMS / vectors_of(batch), 12);
  return (out + most - 1) / most;
}

template <int VECTORS, bool WHOLE>
void tile_of_block(Size out, const Row& row, Size s, Size first, Size sample, int last) {
  const float* weight = row.weight + first * row.taps * row.channels;
  const float* bias = row.bias == nullptr ? nullptr : row.bias + first;
  float* y = row.y + first * row.y_channel + s * row.y_col + sample;
  switch (out) {
#define OF(N)                                                                                                          \
  case N:                                                                                                              \
    if constexpr (N * VECTORS <= SUMS)                                                                                 \
      tile_of_samples<N, VECTORS, WHOLE>(row.rows, row.cols[s], row.window_cols, row.channels, row.x + sample,         \
                                         row.x_row, row.x_col, row.x_channel, weight, bias, y, row.y_channel, last);   \
    return;
    OF(1) OF(2) OF(3) OF(4) OF(5) OF(6) OF(7) OF(8) OF(9) OF(10) OF(11) OF(12)
#undef OF
  }
}

template <int VECTORS>
void tile_of_block(Size out, const Row& row, Size s, Size first, Size sample, int last) {
  if (last == LANES) tile_of_block<VECTORS, true>(out, row, s, first, sample, last);
  else tile_of_block<VECTORS, false>(out, row, s, first, sample, last);
}

void row_of(const Row& row) {
  const Size blocks = blocks_of(row.out, row.batch), places = row.cols.size();
  for (Size block = 0; block < blocks; block++) {
    const Size first = row.out * block / blocks, out = row.out * (block + 1) / blocks - first;
    for (Size s = 0; s < places; s++)
      for (Size sample = 0, width; sample < row.samples; sample += width) {
        const Size left = row.samples - sample, vectors = vectors_of(left);
        width = std::min(vectors * LANES, left);
        const int last = width - (vectors - 1) * LANES;
        if (vectors == 4) tile_of_block<4>(out, row, s, first, sample, last);
        else if (vectors == 2) tile_of_block<2>(out, row, s, first, sample, last);
        else tile_of_block<1>(out, row, s, first, sample, last);
      }
  }
}

// One convolution: what each place of the result sees, how many channels it is made of and has, and where all lies.
// The input's gradient is another one, with the roles of input and result exchanged.
struct Sums {
  const Convolution& call;
  Axis rows, cols;
  Size channels, out;
  const float* x;  // (M, channels, height, width, B), `x_member` from one member to the next
  Size x_member, height, width;
  Size weight_out, weight_channel;  // from one channel's weights to the next
  const float* bias;                // (M, out), or null

  // The weights as tiles read them: (blocks, taps, channels, block of `out`).
  void pack(const float* weight, float* packed) const {
    const Size blocks = blocks_of(out, call.B), taps = call.window[0] * call.window[1];
    for (Size block = 0; block < blocks; block++) {
      const Size first = out * block / blocks, end = out * (block + 1) / blocks;
      for (Size k = 0; k < taps; k++)
        for (Size c = 0; c < channels; c++)
          for (Size o = first; o < end; o++) *packed++ = weight[o * weight_out + c * weight_channel + k];
    }
  }

  void pack_all(float* packed) const {
    const Size size = out * channels * call.window[0] * call.window[1];
#pragma omp for schedule(static)
    for (Size m = 0; m < call.M; m++) pack(call.weight + m * size, packed + m * size);
  }

  // Row r of member m for the samples from `first` on, into y.
  void row(Size m, Size r, Size first, Size samples, const float* packed, float* y, Size y_col, Size y_channel) const {
    const Size taps = call.window[0] * call.window[1], batch = call.B;
    row_of({rows[r], cols, call.window[1], taps, channels, out, batch, samples, x + m * x_member + first,
            width * batch, batch, height * width * batch, packed + m * out * channels * taps,
            bias == nullptr ? nullptr : bias + m * out, y, y_col, y_channel});
  }

  void run(float* packed, float* y) const {
    const Size num_rows = rows.size(), row_size = cols.size() * call.B;
#pragma omp parallel num_threads(omp_get_max_threads())
    {
      pack_all(packed);
#pragma omp for schedule(static)
      for (Size work = 0; work < call.M * num_rows; work++) {
        const Size m = work / num_rows, r = work % num_rows;
        row(m, r, 0, call.B, packed, y + (m * out * num_rows + r) * row_size, call.B, num_rows * row_size);
      }
    }
  }
};

// The compiler would read it from memory anew for each product that it is in.
inline Vec in_register(Vec value) {
  __m512 raw = value;
  asm("" : "+v"(raw));
  return raw;
}

using Places = std::vector<std::pair<Size, Size>>;  // in a row of the result, and in a row of the input

// The weights' gradient of OUT by IN channels and one tap, for one row: sums over places and samples, left in lanes.
template <int OUT, int IN, bool WHOLE>
void add_vectors(const Places& places, const float* dy, Size dy_col, Size dy_channel, const float* x, Size x_col,
                 Size x_channel, Size vectors, int last, float* lanes) {
  Vec sums[OUT][IN];
#pragma GCC unroll 8
  for (int o = 0; o < OUT; o++)
#pragma GCC unroll 4
    for (int c = 0; c < IN; c++) sums[o][c] = Vec::loadu(lanes + (o * IN + c) * LANES);
  for (const auto& [s, col] : places)
    for (Size v = 0; v < vectors; v++) {
      const float *left = dy + s * dy_col + v * LANES, *right = x + col * x_col + v * LANES;
      Vec samples[IN];
#pragma GCC unroll 4
      for (int c = 0; c < IN; c++)
        samples[c] = WHOLE ? Vec::loadu(right + c * x_channel) : Vec::loadu(right + c * x_channel, last);
#pragma GCC unroll 8
      for (int o = 0; o < OUT; o++) {
        const Vec gradient =
            in_register(WHOLE ? Vec::loadu(left + o * dy_channel) : Vec::loadu(left + o * dy_channel, last));
#pragma GCC unroll 4
        for (int c = 0; c < IN; c++) sums[o][c] = at::vec::fmadd(gradient, samples[c], sums[o][c]);
      }
    }
#pragma GCC unroll 8
  for (int o = 0; o < OUT; o++)
#pragma GCC unroll 4
    for (int c = 0; c < IN; c++) sums[o][c].store(lanes + (o * IN + c) * LANES);
}

// The same for some of the samples: whole vectors of them, or a part of one.
template <int OUT, int IN>
void add_weights(const Places& places, const float* dy, Size dy_col, Size dy_channel, const float* x, Size x_col,
                 Size x_channel, Size samples, float* lanes) {
  if (samples >= LANES)
    add_vectors<OUT, IN, true>(places, dy, dy_col, dy_channel, x, x_col, x_channel, samples / LANES, LANES, lanes);
  else
    add_vectors<OUT, IN, false>(places, dy, dy_col, dy_channel, x, x_col, x_channel, 1, samples, lanes);
}

constexpr Size MOST_OUT = 6, MOST_IN = 4;  // of a tile of weights: 24 sums
constexpr Size IN_A_ROW = 48;              // vectors of a row that stay in the first cache while all taps see them

using AddWeights = decltype(&add_weights<1, 1>);

AddWeights add_weights_of(Size out, Size in) {
  static constexpr AddWeights TABLE[MOST_OUT][MOST_IN] = {
#define OF(N) {&add_weights<N, 1>, &add_weights<N, 2>, &add_weights<N, 3>, &add_weights<N, 4>},
      OF(1) OF(2) OF(3) OF(4) OF(5) OF(6)
#undef OF
  };
  return TABLE[out - 1][in - 1];
}

// Neighbouring taps in a row of the window, and the places that see all of them, by the first of these.
struct Taps {
  Size first, count;
  Places places;
};

// The taps one by one; of a single input channel, whose gradient would be bound by reading the result's, up to four at
// once, and places at the border for themselves.
std::vector<Taps> taps_of(const Convolution& call, const Axis& cols) {
  std::vector<Places> places(call.window[1]);  // of each tap
  for (Size s = 0; s < call.S; s++)
    for (const Seen& seen : cols[s]) places[seen.tap].push_back({s, seen.place});
  std::vector<Taps> found;
  for (Size first = 0, count; first < call.window[1]; first += count) {
    count = call.C > 1 ? 1 : std::min(MOST_IN, call.window[1] - first);
    std::vector<Size> seen(call.S);  // taps that a place sees
    for (Size j = first; j < first + count; j++)
      for (const auto& place : places[j]) seen[place.first]++;
    auto of = [&](Size j, bool all) {
      Places own;
      for (const auto& place : places[j])
        if ((seen[place.first] == count) == all) own.push_back(place);
      return own;
    };
    found.push_back({first, count, of(first, true)});
    for (Size j = first; count > 1 && j < first + count; j++) found.push_back({j, 1, of(j, false)});
  }
  return found;
}

float sum_of(Vec lanes) { return _mm512_reduce_add_ps(lanes); }

__mmask16 lanes_of(Size samples) { return samples >= LANES ? 0xffff : (1u << samples) - 1; }

// The bias' gradient of one channel, for one row, left in lanes.
void add_bias(const float* dy, Size dy_col, Size cols, Size samples, float* lanes) {
  __m512 sum = _mm512_loadu_ps(lanes);
  for (Size s = 0; s < cols; s++)
    for (Size n = 0; n < samples; n += LANES)
      sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(lanes_of(samples - n), dy + s * dy_col + n));
  _mm512_storeu_ps(lanes, sum);
}

// The largest of a window, and which tap it is: the first of several, the last NaN, as PyTorch has it. After a ReLU no
// tap wins where none is above zero.
constexpr int NO_TAP = 255;

void largest_of(const std::vector<Seen>& rows, const std::vector<Seen>& cols, Size window_cols, bool relu,
                const float* plane, Size x_row, Size x_col, Size samples, float* y, uint8_t* winners) {
  for (Size n = 0; n < samples; n += LANES) {
    const __mmask16 count = lanes_of(samples - n);
    __m512 largest = _mm512_set1_ps(relu ? 0.0f : -std::numeric_limits<float>::infinity());
    __m512i winner = _mm512_set1_epi32(relu ? NO_TAP : -1);
    for (const Seen& row : rows)
      for (const Seen& col : cols) {
        const __m512 here = _mm512_maskz_loadu_ps(count, plane + row.place * x_row + col.place * x_col + n);
        const __m512i tap = _mm512_set1_epi32(row.tap * window_cols + col.tap);
        const __mmask16 is_first = _mm512_cmplt_epi32_mask(winner, _mm512_setzero_si512());
        const __mmask16 is_nan = _mm512_cmp_ps_mask(here, here, _CMP_UNORD_Q);
        const __mmask16 wins = _mm512_cmp_ps_mask(here, largest, _CMP_GT_OQ) | is_nan | is_first;
        largest = _mm512_mask_mov_ps(largest, wins, here);
        winner = _mm512_mask_mov_epi32(winner, wins, tap);
      }
    _mm512_mask_storeu_ps(y + n, count, largest);
    _mm512_mask_cvtepi32_storeu_epi8(winners + n, count, winner);
  }
}

// What follows a convolution: windows side by side, and the largest of each.
struct Windows {
  Size rows, cols;
};

// A row of the gradient before the pooling, (channels, S, samples), from what came out of the windows.
void row_before(const Convolution& call, const Windows& pool, const float* grad, const uint8_t* winners, Size channel,
                Size channels, Size r, Size first, Size samples, float* row) {
  const Size P = call.R / pool.rows, Q = call.S / pool.cols, p = r / pool.rows;
  if (p >= P) {
    std::fill_n(row, channels * call.S * samples, 0.0f);
    return;
  }
  const int first_tap = (r - p * pool.rows) * pool.cols;
  for (Size c = 0; c < channels; c++) {
    Size from = ((channel + c) * P + p) * Q * call.B + first;
    for (Size q = 0; q < Q; q++, from += call.B)
      for (int j = 0; j < pool.cols; j++, row += samples)
        for (Size n = 0; n < samples; n += LANES) {
          const __mmask16 count = lanes_of(samples - n);
          const __m512i winner = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(count, winners + from + n));
          const __mmask16 wins = _mm512_mask_cmpeq_epi32_mask(count, winner, _mm512_set1_epi32(first_tap + j));
          _mm512_mask_storeu_ps(row + n, count, _mm512_maskz_loadu_ps(wins, grad + from + n));
        }
    const Size left = (call.S - Q * pool.cols) * samples;
    std::fill_n(row, left, 0.0f);
    row += left;
  }
}

constexpr Size SAMPLES = 4 * LANES;  // that a row is convolved and pooled for at once, in the second cache

Sums forward_sums(const Convolution& call) {
  const Size taps = call.window[0] * call.window[1];
  return {call, call.seen(0), call.seen(1), call.C, call.O, call.x, call.x_member, call.H, call.W,
          call.C * taps, taps, call.bias};
}

}  // namespace

extern "C" void tenfold_convolution(const Convolution& call, float* packed, float* y) {
  forward_sums(call).run(packed, y);
}

// Convolution, ReLU if asked for, and pooling: what lies between never leaves the caches.
extern "C" void tenfold_convolution_pool(const Convolution& call, const Windows& pool, bool relu, float* packed,
                                         float* y, uint8_t* winners) {
  const Sums sums = forward_sums(call);
  const Size P = call.R / pool.rows, Q = call.S / pool.cols, most = std::min(call.B, SAMPLES);
  const Axis rows = seen_along(1, pool.rows, pool.rows, pool.rows, 0, 1);
  const Axis cols = seen_along(Q, call.S, pool.cols, pool.cols, 0, 1);
#pragma omp parallel num_threads(omp_get_max_threads())
  {
    sums.pack_all(packed);
    static thread_local std::vector<float> room;
    float* before = grown(room, call.O * pool.rows * call.S * most);  // (O, pool.rows, S, samples)
#pragma omp for schedule(static)
    for (Size work = 0; work < call.M * P; work++) {
      const Size m = work / P, p = work % P;
      for (Size n = 0, samples; n < call.B; n += samples) {
        samples = std::min(call.B - n, most);
        const Size x_row = call.S * samples, x_channel = pool.rows * x_row;
        for (Size i = 0; i < pool.rows; i++)
          sums.row(m, p * pool.rows + i, n, samples, packed, before + i * x_row, samples, x_channel);
        for (Size o = 0; o < call.O; o++)
          for (Size q = 0; q < Q; q++) {
            const Size to = (((m * call.O + o) * P + p) * Q + q) * call.B + n;
            largest_of(rows[0], cols[q], pool.cols, relu, before + o * x_channel, x_row, samples, samples, y + to,
                       winners + to);
          }
      }
    }
  }
}

extern "C" void tenfold_convolution_input(const Convolution& call, const float* dy, float* packed, float* dx) {
  const Size taps = call.window[0] * call.window[1];
  const Sums sums = {call, turned_around(call.seen(0), call.H), turned_around(call.seen(1), call.W), call.O, call.C, dy,
                     call.O * call.R * call.S * call.B, call.R, call.S, taps, call.C * taps, nullptr};
  sums.run(packed, dx);
}

// The weights' gradient, (M, parts, O, C, K), and the bias', (M, parts, O), if there is room for it: each part sums its
// share of the rows. `dy` is the result's gradient, or with `winners` that of what pooling made of the result.
extern "C" void tenfold_convolution_weight(const Convolution& call, const float* dy, const Windows& pool,
                                           const uint8_t* winners, Size parts, float* dw, float* db) {
  const Size window = call.window[0] * call.window[1], batch = call.B;
  const Axis rows = call.seen(0);
  const std::vector<Taps> taps = taps_of(call, call.seen(1));
  const Size at_once = std::max<Size>(IN_A_ROW / std::max<Size>(call.S, 1), 1) * LANES;
  const Size outs = (call.O + MOST_OUT - 1) / MOST_OUT, ins = (call.C + MOST_IN - 1) / MOST_IN;
  const Size most_lanes = (call.window[0] * taps.size() * MOST_IN + 1) * MOST_OUT * LANES;
#pragma omp parallel num_threads(omp_get_max_threads())
  {
    static thread_local std::vector<float> room, expanded;
    float* lanes = grown(room, most_lanes);
    float* before = winners == nullptr ? nullptr : grown(expanded, MOST_OUT * call.S * at_once);
#pragma omp for schedule(static)
    for (Size work = 0; work < call.M * parts * outs * ins; work++) {
      const Size in = work % ins, out = work / ins % outs, share = work / ins / outs;
      const Size part = share % parts, m = share / parts;
      const Size o = call.O * out / outs, num_out = call.O * (out + 1) / outs - o;
      const Size c = call.C * in / ins, num_in = call.C * (in + 1) / ins - c;
      // A tile has a column for each channel, or for each tap of the only one.
      const Size x_column = call.C > 1 ? call.H * call.W * batch : call.dilation[1] * batch;
      auto columns = [&](const Taps& own) { return call.C > 1 ? num_in : own.count; };
      const bool sums_bias = db != nullptr && in == 0;
      float* tiles = lanes + num_out * LANES;
      std::fill_n(lanes, most_lanes, 0.0f);
      for (Size r = call.R * part / parts; r < call.R * (part + 1) / parts; r++)
        for (Size n = 0, samples; n < batch; n += samples) {
          samples = batch - n < LANES ? batch - n : std::min((batch - n) / LANES * LANES, at_once);
          const float* left = before;
          Size left_col = samples, left_channel = call.S * samples;
          if (winners == nullptr) {
            left = dy + ((m * call.O + o) * call.R + r) * call.S * batch + n;
            left_col = batch, left_channel = call.R * call.S * batch;
          } else {
            row_before(call, pool, dy, winners, m * call.O + o, num_out, r, n, samples, before);
          }
          for (Size i = 0; sums_bias && i < num_out; i++)
            add_bias(left + i * left_channel, left_col, call.S, samples, lanes + i * LANES);
          for (const Seen& row : rows[r]) {
            const float* right = call.x + m * call.x_member + (c * call.H + row.place) * call.W * batch + n;
            float* tile = tiles + row.tap * taps.size() * num_out * MOST_IN * LANES;
            for (const Taps& own : taps) {
              add_weights_of(num_out, columns(own))(own.places, left, left_col, left_channel, right, batch, x_column,
                                                    samples, tile);
              tile += num_out * columns(own) * LANES;
            }
          }
        }
      float* own_dw = dw + (share * call.O + o) * call.C * window;
      for (Size i = 0; i < num_out; i++)
        for (Size j = 0; j < num_in; j++) std::fill_n(own_dw + (i * call.C + c + j) * window, window, 0.0f);
      for (Size i = 0; i < call.window[0]; i++) {
        const float* tile = tiles + i * taps.size() * num_out * MOST_IN * LANES;
        for (const Taps& own : taps)
          for (Size k = 0; k < num_out * columns(own); k++, tile += LANES) {
            const Size column = k % columns(own), channel = call.C > 1 ? c + column : 0;
            const Size tap = i * call.window[1] + own.first + (call.C > 1 ? 0 : column);
            own_dw[(k / columns(own) * call.C + channel) * window + tap] += sum_of(Vec::loadu(tile));
          }
      }
      for (Size i = 0; sums_bias && i < num_out; i++)
        db[share * call.O + o + i] = sum_of(Vec::loadu(lanes + i * LANES));
    }
  }
}

struct Pooling {
  Size planes, B, H, W, R, S, window[2], stride[2], padding[2], dilation[2];

  Axis seen(int axis) const {
    return seen_along(axis == 0 ? R : S, axis == 0 ? H : W, window[axis], stride[axis], padding[axis], dilation[axis]);
  }
};

extern "C" void tenfold_max_pool(const Pooling& call, bool relu, const float* x, float* y, uint8_t* winners) {
  const Axis rows = call.seen(0), cols = call.seen(1);
#pragma omp parallel for schedule(static) num_threads(omp_get_max_threads())
  for (Size work = 0; work < call.planes * call.R; work++) {
    const float* plane = x + work / call.R * call.H * call.W * call.B;
    for (Size s = 0; s < call.S; s++) {
      const Size to = (work * call.S + s) * call.B;
      largest_of(rows[work % call.R], cols[s], call.window[1], relu, plane, call.W * call.B, call.B, call.B, y + to,
                 winners + to);
    }
  }
}

extern "C" void tenfold_max_pool_backward(const Pooling& call, const float* dy, const uint8_t* winners, float* dx) {
  const Axis rows = turned_around(call.seen(0), call.H), cols = turned_around(call.seen(1), call.W);
#pragma omp parallel for schedule(static) num_threads(omp_get_max_threads())
  for (Size work = 0; work < call.planes * call.H; work++) {
    const Size plane = work / call.H;
    for (Size w = 0; w < call.W; w++) {
      float* own = dx + (work * call.W + w) * call.B;
      std::fill_n(own, call.B, 0.0f);
      for (const Seen& row : rows[work % call.H])
        for (const Seen& col : cols[w]) {
          const Size from = ((plane * call.R + row.place) * call.S + col.place) * call.B;
          const int tap = row.tap * call.window[1] + col.tap;
          for (Size n = 0; n < call.B; n += LANES) {
            const __mmask16 count = lanes_of(call.B - n);
            const __m512i winner = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(count, winners + from + n));
            const __mmask16 wins = _mm512_mask_cmpeq_epi32_mask(count, winner, _mm512_set1_epi32(tap));
            const __m512 sum = _mm512_maskz_loadu_ps(count, own + n);
            _mm512_mask_storeu_ps(own + n, count, _mm512_add_ps(sum, _mm512_maskz_loadu_ps(wins, dy + from + n)));
          }
        }
    }
  }
}
