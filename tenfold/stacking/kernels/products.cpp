// Products of many small float32 matrices, one a member, on CPUs with AVX-512.
//
// A tile of the result, ROWS rows and two vectors wide, stays in registers while it is summed. The left matrix is read
// number by number and may lie either way; the right one is read vector by vector, and is transposed first if its
// columns lie in a row, unless it is the larger one, or has fewer columns than a vector holds: then the transposed
// product is computed, and turned around.
// Nothing else is packed: the matrices of small networks stay in the caches as they are.

#include <ATen/cpu/vec/vec.h>
#include <omp.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

namespace {

using Vec = at::vec::Vectorized<float>;
using Size = int64_t;

// While it lives, numbers too small for all their digits (below 2^-126) are zeros to this thread, read and written:
// arithmetic with them takes ten times as long, and an average that forgets would go on with the smallest forever.
class TinyAreZero {
 public:
  TinyAreZero() { _mm_setcsr(before_ | _MM_FLUSH_ZERO_ON | 0x40); }
  ~TinyAreZero() { _mm_setcsr(before_); }
  TinyAreZero(const TinyAreZero&) = delete;
  TinyAreZero& operator=(const TinyAreZero&) = delete;

 private:
  const unsigned before_ = _mm_getcsr();
};

constexpr Size LANES = Vec::size();
constexpr Size ROWS = 12;         // 24 sums, 2 of the right and 1 of the left: most of 32 registers
constexpr Size DEPTH = 256;       // of a panel of the right matrix that stays in the first cache
constexpr Size ALONE = 1 << 15;   // multiply-adds that one thread does sooner than two

// Where a product starts: nothing, or rows to add to, `stride` apart (0 for one row, a bias).
struct Start {
  const float* data = nullptr;
  Size stride = 0;
};

template <int R, int V>
inline void tile(Size depth, const float* a, Size a_row, Size a_col, const float* b, Size b_row, Start start,
                 float* c, Size c_row, int last) {
  Vec sums[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++)
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) {
      const float* from = start.data + r * start.stride + v * LANES;
      sums[r][v] = start.data == nullptr ? Vec(0.0f) : Vec::loadu(from, v + 1 < V ? LANES : last);
    }
  auto add_all = [&](auto is_whole) {
    for (Size k = 0; k < depth; k++) {
      Vec right[V];
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) {
        const float* from = b + k * b_row + v * LANES;
        right[v] = decltype(is_whole)::value || v + 1 < V ? Vec::loadu(from) : Vec::loadu(from, last);
      }
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) {
        const Vec left(a[r * a_row + k * a_col]);
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) sums[r][v] = at::vec::fmadd(left, right[v], sums[r][v]);
      }
    }
  };
  if (last == LANES) add_all(std::true_type());
  else add_all(std::false_type());
#pragma GCC unroll 16
  for (int r = 0; r < R; r++)
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) sums[r][v].store(c + r * c_row + v * LANES, v + 1 < V ? LANES : last);
}

template <int V>
void tile_of(Size rows, Size depth, const float* a, Size a_row, Size a_col, const float* b, Size b_row, Start start,
             float* c, Size c_row, int last) {
  switch (rows) {
#define OF(R) case R: return tile<R, V>(depth, a, a_row, a_col, b, b_row, start, c, c_row, last);
    OF(1) OF(2) OF(3) OF(4) OF(5) OF(6) OF(7) OF(8) OF(9) OF(10) OF(11) OF(12)
#undef OF
  }
}

// c = start + a b, for one member: a (m, k), b (k, n) and c (m, n), the rows of b and c contiguous.
void product(Size m, Size n, Size k, const float* a, Size a_row, Size a_col, const float* b, Size b_row, Start start,
             float* c, Size c_row) {
  const Size blocks = (m + ROWS - 1) / ROWS;
  for (Size first = 0; first == 0 || first < k; first += DEPTH) {
    const Size depth = std::min(k - first, DEPTH);
    if (first > 0) start = {c, c_row};
    for (Size j = 0; j < n; j += 2 * LANES) {
      const Size width = std::min(n - j, 2 * LANES);
      for (Size i = 0; i < blocks; i++) {
        const Size row = m * i / blocks, rows = m * (i + 1) / blocks - row;
        const float* left = a + row * a_row + first * a_col;
        const float* right = b + first * b_row + j;
        const Start from = {start.data == nullptr ? nullptr : start.data + row * start.stride + j, start.stride};
        float* to = c + row * c_row + j;
        if (width > LANES) tile_of<2>(rows, depth, left, a_row, a_col, right, b_row, from, to, c_row, width - LANES);
        else tile_of<1>(rows, depth, left, a_row, a_col, right, b_row, from, to, c_row, width);
      }
    }
  }
}

struct Matrix {
  const float* data;
  Size row;
};

// A matrix (rows, cols) with contiguous rows: itself, or a transposed copy in `scratch`.
Matrix with_contiguous_rows(const float* data, Size row, Size col, Size rows, Size cols, std::vector<float>& scratch) {
  if (col == 1 || cols == 1) return {data, row};
  if (static_cast<Size>(scratch.size()) < rows * cols) scratch.resize(rows * cols);
  if (row == 1) {
    at::vec::transpose_mxn<float>(data, col, scratch.data(), cols, cols, rows);
  } else {
    for (Size i = 0; i < rows; i++)
      for (Size j = 0; j < cols; j++) scratch[i * cols + j] = data[i * row + j * col];
  }
  return {scratch.data(), cols};
}

// c = a b for some rows of one member: a (m, k), b (k, n) and c (m, n), the rows of c in a row.
void member_product(Size m, Size n, Size k, const float* a, Size a_row, Size a_col, const float* b, Size b_row,
                    Size b_col, float* c) {
  static thread_local std::vector<float> scratch, turned;
  if (b_row == 1 && b_col != 1 && (n < LANES || m * (k + n) < k * n)) {
    const Matrix samples = with_contiguous_rows(a, a_col, a_row, k, m, scratch);
    if (static_cast<Size>(turned.size()) < m * n) turned.resize(m * n);
    product(n, m, k, b, b_col, b_row, samples.data, samples.row, {}, turned.data(), m);
    at::vec::transpose_mxn<float>(turned.data(), m, c, n, n, m);
  } else {
    const Matrix own = with_contiguous_rows(b, b_row, b_col, k, n, scratch);
    product(m, n, k, a, a_row, a_col, own.data, own.row, {}, c, n);
  }
}

// How many threads do so many multiply-adds soonest.
int threads_for(Size multiply_adds) { return multiply_adds <= ALONE ? 1 : omp_get_max_threads(); }

// In how many pieces a member's rows are cut, so that all threads have work.
Size pieces(Size members, int threads) { return members % threads == 0 || members >= 8 * threads ? 1 : threads; }

}  // namespace

extern "C" void tenfold_products(Size members, Size m, Size n, Size k, const float* a, Size a_member, Size a_row,
                                 Size a_col, const float* b, Size b_member, Size b_row, Size b_col, float* c) {
  const int threads = threads_for(members * m * n * k);
  const Size parts = pieces(members, threads);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (Size work = 0; work < members * parts; work++) {
    const Size member = work / parts, part = work % parts;
    const Size row = m * part / parts, rows = m * (part + 1) / parts - row;
    member_product(rows, n, k, a + member * a_member + row * a_row, a_row, a_col, b + member * b_member, b_row, b_col,
                   c + (member * m + row) * n);
  }
}
