#include <algorithm>

#include "common/isa.h"
#include "iou/gradient.h"
#include "iou/iou.h"

namespace sightline {
namespace {

// Columns prepared at a time, one array a field: consecutive columns fill the lanes of a vector.
constexpr int64_t kTile = 256;
// At least this many pairs a task; fewer cost less than starting a thread.
constexpr int64_t kPairsPerTask = 1 << 15;

template <class T>
struct BoxTile {
  T x1[kTile], y1[kTile], x2[kTile], y2[kTile], area[kTile], angle[kTile];

  template <class Form>
  SIGHTLINE_INLINE void fill(const T* boxes, int64_t count) {
    for (int64_t k = 0; k < count; ++k) {
      const Box<T> b = prepare_box<Form>(boxes + 4 * k);
      x1[k] = b.x1;
      y1[k] = b.y1;
      x2[k] = b.x2;
      y2[k] = b.y2;
      area[k] = b.area;
      angle[k] = b.angle;
    }
  }
  SIGHTLINE_INLINE Box<T> operator[](int64_t k) const {
    return {x1[k], y1[k], x2[k], y2[k], area[k], angle[k]};
  }
};

template <class Form>
struct PairwiseRows {
  template <class T>
  SIGHTLINE_INLINE static void run(const T* boxes1, const T* boxes2, T* out, int64_t m, T eps,
                                   int64_t begin, int64_t end) {
    BoxTile<T> tile;
    for (int64_t start = 0; start < m; start += kTile) {
      const int64_t columns = std::min(kTile, m - start);
      tile.template fill<Form>(boxes2 + 4 * start, columns);
      for (int64_t i = begin; i < end; ++i) {
        const Box<T> a = prepare_box<Form>(boxes1 + 4 * i);
        T* const row = out + i * m + start;
        for (int64_t j = 0; j < columns; ++j) row[j] = Form::value(a, tile[j], eps);
      }
    }
  }
};

template <class Form>
struct AlignedLoss {
  template <class T>
  SIGHTLINE_INLINE static void run(const T* boxes1, const T* boxes2, T* out, T eps, int64_t begin,
                                   int64_t end) {
    BoxTile<T> first, second;
    for (int64_t start = begin; start < end; start += kTile) {
      const int64_t count = std::min(kTile, end - start);
      first.template fill<Form>(boxes1 + 4 * start, count);
      second.template fill<Form>(boxes2 + 4 * start, count);
      for (int64_t k = 0; k < count; ++k)
        out[start + k] = T(1) - Form::value(first[k], second[k], eps);
    }
  }
};

template <class T>
void store(T* p, const BoxGradient<T>& g) {
  p[0] = g.x1;
  p[1] = g.y1;
  p[2] = g.x2;
  p[3] = g.y2;
}

}  // namespace

template <class Form, class T>
void pairwise_cpu(const T* boxes1, const T* boxes2, T* out, int64_t n, int64_t m, T eps,
                  ParallelFor parallel_for) {
  if (n == 0 || m == 0) return;
  parallel_for(n, kPairsPerTask / m + 1, [=](int64_t begin, int64_t end) {
    run_for_isa<PairwiseRows<Form>>(boxes1, boxes2, out, m, eps, begin, end);
  });
}

// One pass over rows for grad1 and one over columns for grad2: every sum has one owner and one
// order.
template <class Form, class T>
void pairwise_backward_cpu(const T* grad, const T* boxes1, const T* boxes2, T* grad1, T* grad2,
                           int64_t n, int64_t m, T eps, ParallelFor parallel_for) {
  parallel_for(n, kPairsPerTask / (m + 1) + 1, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Box<T> a = prepare_box<Form>(boxes1 + 4 * i);
      BoxGradient<T> ga, unused;
      for (int64_t j = 0; j < m; ++j)
        add_gradient<Form>(a, prepare_box<Form>(boxes2 + 4 * j), eps, grad[i * m + j], ga, unused);
      store(grad1 + 4 * i, ga);
    }
  });
  parallel_for(m, kPairsPerTask / (n + 1) + 1, [=](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; ++j) {
      const Box<T> b = prepare_box<Form>(boxes2 + 4 * j);
      BoxGradient<T> gb, unused;
      for (int64_t i = 0; i < n; ++i)
        add_gradient<Form>(prepare_box<Form>(boxes1 + 4 * i), b, eps, grad[i * m + j], unused, gb);
      store(grad2 + 4 * j, gb);
    }
  });
}

template <class Form, class T>
void aligned_loss_cpu(const T* boxes1, const T* boxes2, T* out, int64_t n, T eps,
                      ParallelFor parallel_for) {
  parallel_for(n, kPairsPerTask, [=](int64_t begin, int64_t end) {
    run_for_isa<AlignedLoss<Form>>(boxes1, boxes2, out, eps, begin, end);
  });
}

template <class Form, class T>
void aligned_loss_backward_cpu(const T* grad, const T* boxes1, const T* boxes2, T* grad1, T* grad2,
                               int64_t n, T eps, ParallelFor parallel_for) {
  parallel_for(n, kPairsPerTask, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      BoxGradient<T> ga, gb;
      add_gradient<Form>(prepare_box<Form>(boxes1 + 4 * i), prepare_box<Form>(boxes2 + 4 * i), eps,
                         -grad[i], ga, gb);
      store(grad1 + 4 * i, ga);
      store(grad2 + 4 * i, gb);
    }
  });
}

#define INSTANTIATE(Form, T)                                                                  \
  template void pairwise_cpu<Form>(const T*, const T*, T*, int64_t, int64_t, T, ParallelFor); \
  template void pairwise_backward_cpu<Form>(const T*, const T*, const T*, T*, T*, int64_t,    \
                                            int64_t, T, ParallelFor);
SIGHTLINE_MATRIX_FORMS(INSTANTIATE)
#undef INSTANTIATE
#define INSTANTIATE(Form, T)                                                                      \
  template void aligned_loss_cpu<Form>(const T*, const T*, T*, int64_t, T, ParallelFor);          \
  template void aligned_loss_backward_cpu<Form>(const T*, const T*, const T*, T*, T*, int64_t, T, \
                                                ParallelFor);
SIGHTLINE_LOSS_FORMS(INSTANTIATE)
#undef INSTANTIATE

}  // namespace sightline
