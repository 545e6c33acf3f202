#include <algorithm>
#include <vector>

#include "common/isa.h"
#include "iou/gradient.h"
#include "iou/pairwise/pairwise.h"
#include "iou/pairwise/tile.h"

namespace sightline::iou::pairwise {
namespace {

// A block of pairs has one owner and one order of summation; its sums are added up block by block.
constexpr int64_t kRows = 256;
constexpr int64_t kColumns = 512;
constexpr int64_t kLanes = 16;
constexpr int64_t kAlignedTile = 256;
constexpr int64_t kPairsPerTask = 1 << 14;  // 50 us and more

template <class T, int64_t kCount>
struct GradientTile {
  alignas(64) T x1[kCount], y1[kCount], x2[kCount], y2[kCount];

  SIGHTLINE_INLINE void clear(int64_t count) {
    for (int64_t k = 0; k < count; ++k) x1[k] = y1[k] = x2[k] = y2[k] = T(0);
  }
  SIGHTLINE_INLINE void set(int64_t k, const BoxGradient<T>& g) {
    x1[k] = g.x1;
    y1[k] = g.y1;
    x2[k] = g.x2;
    y2[k] = g.y2;
  }
  SIGHTLINE_INLINE void add(int64_t k, const BoxGradient<T>& g) {
    x1[k] += g.x1;
    y1[k] += g.y1;
    x2[k] += g.x2;
    y2[k] += g.y2;
  }
  SIGHTLINE_INLINE void store(T* out, int64_t count) const {
    for (int64_t k = 0; k < count; ++k) {
      out[4 * k] = x1[k];
      out[4 * k + 1] = y1[k];
      out[4 * k + 2] = x2[k];
      out[4 * k + 3] = y2[k];
    }
  }
};

// The sum of count numbers, a multiple of kLanes, in an order that no instruction set changes.
template <class T>
SIGHTLINE_INLINE T lane_sum(const T* values, int64_t count) {
  alignas(64) T lanes[kLanes] = {};
  for (int64_t k = 0; k < count; k += kLanes)
    for (int64_t l = 0; l < kLanes; ++l) lanes[l] += values[k + l];
  for (int64_t width = kLanes / 2; width > 0; width /= 2)
    for (int64_t l = 0; l < width; ++l) lanes[l] += lanes[l + width];
  return lanes[0];
}

struct Blocks {
  int64_t by_rows, by_columns;
  explicit Blocks(const PairShape& shape)
      : by_rows((shape.n + kRows - 1) / kRows), by_columns((shape.m + kColumns - 1) / kColumns) {}
};

template <class Form>
struct PairwiseGradient {
  template <class T>
  SIGHTLINE_INLINE static void run(const T* grad, const T* boxes1, const T* boxes2,
                                   T* sums1,  // [by_columns, batch, n, 4]
                                   T* sums2,  // [by_rows, batch, m, 4]
                                   PairShape shape, Blocks blocks, T eps, int64_t begin,
                                   int64_t end) {
    BoxTile<T, kColumns> columns;
    GradientTile<T, kColumns> of_row, of_columns;
    for (int64_t block = begin; block < end; ++block) {
      const int64_t b = block / (blocks.by_rows * blocks.by_columns);
      const int64_t block_row = block / blocks.by_columns % blocks.by_rows;
      const int64_t block_column = block % blocks.by_columns;
      const int64_t start = block_column * kColumns, count = std::min(kColumns, shape.m - start);
      const int64_t padded = (count + kLanes - 1) / kLanes * kLanes;
      const int64_t last = std::min(shape.n, (block_row + 1) * kRows);
      columns.template fill<Form>(boxes2 + 4 * (shape.first_box2(b) + start), count);
      of_columns.clear(count);
      of_row.clear(padded);
      for (int64_t i = block_row * kRows; i < last; ++i) {
        const PreparedBox<T> a = prepare_box<Form>(boxes1 + 4 * (shape.first_box1(b) + i));
        const T* const row = grad + (b * shape.n + i) * shape.m + start;
        SIGHTLINE_INDEPENDENT
        for (int64_t j = 0; j < count; ++j) {
          BoxGradient<T> ga, gb;
          add_gradient<Form>(a, columns.template at<Form>(j), eps, row[j], ga, gb);
          of_row.set(j, ga);
          of_columns.add(j, gb);
        }
        T* const sum = sums1 + 4 * ((block_column * shape.batch + b) * shape.n + i);
        sum[0] = lane_sum(of_row.x1, padded);
        sum[1] = lane_sum(of_row.y1, padded);
        sum[2] = lane_sum(of_row.x2, padded);
        sum[3] = lane_sum(of_row.y2, padded);
      }
      of_columns.store(sums2 + 4 * ((block_row * shape.batch + b) * shape.m + start), count);
    }
  }
};

template <class Form>
struct AlignedGradient {
  template <class T>
  SIGHTLINE_INLINE static void run(const T* grad, const T* boxes1, const T* boxes2, T* grad1,
                                   T* grad2, T eps, int64_t begin, int64_t end) {
    BoxTile<T, kAlignedTile> first, second;
    GradientTile<T, kAlignedTile> of_first, of_second;
    for (int64_t start = begin; start < end; start += kAlignedTile) {
      const int64_t count = std::min(kAlignedTile, end - start);
      first.template fill<Form>(boxes1 + 4 * start, count);
      second.template fill<Form>(boxes2 + 4 * start, count);
      SIGHTLINE_INDEPENDENT
      for (int64_t k = 0; k < count; ++k) {
        BoxGradient<T> ga, gb;
        const T g = Form::kIsLoss ? -grad[start + k] : grad[start + k];
        add_gradient<Form>(first.template at<Form>(k), second.template at<Form>(k), eps, g, ga, gb);
        of_first.set(k, ga);
        of_second.set(k, gb);
      }
      of_first.store(grad1 + 4 * start, count);
      of_second.store(grad2 + 4 * start, count);
    }
  }
};

// out[k] = the sum of sums[block, k], in the order of the blocks.
template <class T>
void add_blocks(const T* sums, T* out, int64_t blocks, int64_t size, ParallelFor parallel_for) {
  parallel_for(size, kPairsPerTask, [=](int64_t begin, int64_t end) {
    std::copy(sums + begin, sums + end, out + begin);
    for (int64_t block = 1; block < blocks; ++block)
      for (int64_t k = begin; k < end; ++k) out[k] += sums[block * size + k];
  });
}

}  // namespace

template <class Form, class T>
void pairwise_backward_cpu(const T* grad, const T* boxes1, const T* boxes2, T* grad1, T* grad2,
                           PairShape shape, T eps, ParallelFor parallel_for) {
  const int64_t size1 = shape.batch * shape.n * 4, size2 = shape.batch * shape.m * 4;
  if (size1 == 0 || size2 == 0) {
    std::fill(grad1, grad1 + size1, T(0));
    std::fill(grad2, grad2 + size2, T(0));
    return;
  }
  const Blocks blocks(shape);
  std::vector<T> sums1(blocks.by_columns * size1), sums2(blocks.by_rows * size2);
  T *const s1 = sums1.data(), *const s2 = sums2.data();
  const int64_t pairs_of_block = std::min(kRows, shape.n) * std::min(kColumns, shape.m);
  parallel_for(shape.batch * blocks.by_rows * blocks.by_columns, kPairsPerTask / pairs_of_block + 1,
               [=](int64_t begin, int64_t end) {
                 run_for_isa<PairwiseGradient<Form>>(grad, boxes1, boxes2, s1, s2, shape, blocks,
                                                     eps, begin, end);
               });
  add_blocks(s1, grad1, blocks.by_columns, size1, parallel_for);
  add_blocks(s2, grad2, blocks.by_rows, size2, parallel_for);
}

template <class Form, class T>
void aligned_backward_cpu(const T* grad, const T* boxes1, const T* boxes2, T* grad1, T* grad2,
                          int64_t n, T eps, ParallelFor parallel_for) {
  parallel_for(n, kPairsPerTask, [=](int64_t begin, int64_t end) {
    run_for_isa<AlignedGradient<Form>>(grad, boxes1, boxes2, grad1, grad2, eps, begin, end);
  });
}

#define INSTANTIATE(Form, T)                                                                    \
  template void pairwise_backward_cpu<Form>(const T*, const T*, const T*, T*, T*, PairShape, T, \
                                            ParallelFor);
SIGHTLINE_MATRIX_FORMS(INSTANTIATE)
#undef INSTANTIATE
#define INSTANTIATE(Form, T)                                                                 \
  template void aligned_backward_cpu<Form>(const T*, const T*, const T*, T*, T*, int64_t, T, \
                                           ParallelFor);
SIGHTLINE_MATRIX_FORMS(INSTANTIATE)
SIGHTLINE_LOSS_FORMS(INSTANTIATE)
#undef INSTANTIATE

}  // namespace sightline::iou::pairwise
