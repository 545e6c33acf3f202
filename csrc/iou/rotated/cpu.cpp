#include <algorithm>
#include <vector>

#include "common/isa.h"
#include "common/rotated_pairs.h"
#include "iou/rotated/gradient.h"
#include "iou/rotated/rotated.h"

namespace sightline::iou::rotated {
namespace {

// At least this many pairs a task; fewer cost less than starting a thread.
constexpr int64_t kPairsPerTask = 1 << 13;
constexpr int64_t kBoxesPerTask = 1 << 10;

template <class T>
std::vector<RotatedBox<T>> load_boxes(const T* boxes, int64_t n, AngleUnit unit,
                                      ParallelFor parallel_for) {
  std::vector<RotatedBox<T>> loaded(n);
  parallel_for(n, kBoxesPerTask, [&, boxes, unit](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) loaded[i] = load_rotated_box(boxes + 5 * i, unit);
  });
  return loaded;
}

template <class T>
RotatedArray<T> load_columns(const T* boxes, int64_t n, AngleUnit unit, ParallelFor parallel_for) {
  RotatedArray<T> loaded(n);
  parallel_for(n, kBoxesPerTask, [&, boxes, unit](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      loaded.columns.set(i, load_rotated_box(boxes + 5 * i, unit));
  });
  return loaded;
}

// A tile of a row is computed whole where a quarter of its hulls overlap the row's box; otherwise
// it is 0 but for those that do, which are collected over tiles and rows.
struct PairwiseRows {
  template <class T>
  SIGHTLINE_INLINE static void run(const RotatedBox<T>* rows, RotatedColumns<T> columns, T* out,
                                   int64_t m, int64_t begin, int64_t end) {
    uint8_t found[kRotatedTile];
    RotatedPairs<T> pairs;
    const auto write = [out](int64_t slot, T iou) SIGHTLINE_LAMBDA { out[slot] = iou; };
    for (int64_t start = 0; start < m; start += kRotatedTile) {
      const int64_t count = std::min(kRotatedTile, m - start);
      const RotatedColumns<T> tile = columns.from(start);
      for (int64_t i = begin; i < end; ++i) {
        const RotatedBox<T> a = rows[i];
        T* const row = out + i * m + start;
        if (4 * find_near(a, tile, count, found) >= count) {
          for (int64_t k = 0; k < count; ++k) row[k] = rotated_iou(a, tile[k]);
          continue;
        }
        for (int64_t k = 0; k < count; ++k) row[k] = T(0);
        for_each_found(found, count, [&](int64_t k) SIGHTLINE_LAMBDA {
          pairs.push(a, tile[k], i * m + start + k);
          if (pairs.full()) pairs.flush(write);
        });
      }
    }
    pairs.flush(write);
  }
};

struct AlignedPairs {
  template <class T>
  SIGHTLINE_INLINE static void run(const T* boxes1, const T* boxes2, T* out, AngleUnit unit,
                                   int64_t begin, int64_t end) {
    RotatedPairs<T> pairs;
    const auto write = [out](int64_t slot, T iou) SIGHTLINE_LAMBDA { out[slot] = iou; };
    for (int64_t i = begin; i < end; ++i) {
      pairs.push(load_rotated_box(boxes1 + 5 * i, unit), load_rotated_box(boxes2 + 5 * i, unit), i);
      if (pairs.full()) pairs.flush(write);
    }
    pairs.flush(write);
  }
};

// own_grad[k] sums over the other boxes, whose gradients lie at grad[k * own_step + j * step].
template <class T>
void backward_of(const T* grad, int64_t own_step, int64_t step,
                 const T* own_boxes,                        // [n, 5]
                 const std::vector<RotatedBox<T>>& own,     // [n]
                 const std::vector<RotatedBox<T>>& others,  // [m]
                 T* own_grad,                               // [n, 5]
                 AngleUnit unit, ParallelFor parallel_for) {
  const int64_t n = own.size(), m = others.size();
  parallel_for(n, kPairsPerTask / (m + 1) + 1, [&, own_grad](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      RotatedGradient<T> sum;
      for (int64_t j = 0; j < m; ++j)
        add_rotated_gradient(own[k], others[j], grad[k * own_step + j * step], sum);
      store_rotated_gradient(own_grad + 5 * k, own_boxes + 5 * k, unit, sum);
    }
  });
}

}  // namespace

template <class T>
void box_iou_rotated_cpu(const T* boxes1, const T* boxes2, T* out, int64_t n, int64_t m,
                         AngleUnit unit, ParallelFor parallel_for) {
  if (n == 0 || m == 0) return;
  const std::vector<RotatedBox<T>> rows = load_boxes(boxes1, n, unit, parallel_for);
  const RotatedArray<T> columns = load_columns(boxes2, m, unit, parallel_for);
  parallel_for(n, kPairsPerTask / m + 1, [&, out, m](int64_t begin, int64_t end) {
    run_for_isa<PairwiseRows>(rows.data(), columns.columns, out, m, begin, end);
  });
}

template <class T>
void box_iou_rotated_backward_cpu(const T* grad, const T* boxes1, const T* boxes2, T* grad1,
                                  T* grad2, int64_t n, int64_t m, AngleUnit unit,
                                  ParallelFor parallel_for) {
  const std::vector<RotatedBox<T>> first = load_boxes(boxes1, n, unit, parallel_for);
  const std::vector<RotatedBox<T>> second = load_boxes(boxes2, m, unit, parallel_for);
  backward_of(grad, m, 1, boxes1, first, second, grad1, unit, parallel_for);
  backward_of(grad, 1, m, boxes2, second, first, grad2, unit, parallel_for);
}

template <class T>
void aligned_box_iou_rotated_cpu(const T* boxes1, const T* boxes2, T* out, int64_t n,
                                 AngleUnit unit, ParallelFor parallel_for) {
  parallel_for(n, kBoxesPerTask, [=](int64_t begin, int64_t end) {
    run_for_isa<AlignedPairs>(boxes1, boxes2, out, unit, begin, end);
  });
}

template <class T>
void aligned_box_iou_rotated_backward_cpu(const T* grad, const T* boxes1, const T* boxes2, T* grad1,
                                          T* grad2, int64_t n, AngleUnit unit,
                                          ParallelFor parallel_for) {
  parallel_for(n, kBoxesPerTask, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const RotatedBox<T> a = load_rotated_box(boxes1 + 5 * i, unit);
      const RotatedBox<T> b = load_rotated_box(boxes2 + 5 * i, unit);
      RotatedGradient<T> ga, gb;
      add_rotated_gradient(a, b, grad[i], ga);
      add_rotated_gradient(b, a, grad[i], gb);
      store_rotated_gradient(grad1 + 5 * i, boxes1 + 5 * i, unit, ga);
      store_rotated_gradient(grad2 + 5 * i, boxes2 + 5 * i, unit, gb);
    }
  });
}

#define INSTANTIATE(T)                                                                      \
  template void box_iou_rotated_cpu(const T*, const T*, T*, int64_t, int64_t, AngleUnit,    \
                                    ParallelFor);                                           \
  template void box_iou_rotated_backward_cpu(const T*, const T*, const T*, T*, T*, int64_t, \
                                             int64_t, AngleUnit, ParallelFor);              \
  template void aligned_box_iou_rotated_cpu(const T*, const T*, T*, int64_t, AngleUnit,     \
                                            ParallelFor);                                   \
  template void aligned_box_iou_rotated_backward_cpu(const T*, const T*, const T*, T*, T*,  \
                                                     int64_t, AngleUnit, ParallelFor);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace sightline::iou::rotated
