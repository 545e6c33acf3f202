#include <algorithm>
#include <memory>

#include "common/box_order.h"
#include "common/iou_maxima.h"
#include "common/isa.h"
#include "common/working_memory.h"
#include "iou/gradient.h"
#include "iou/maxima/sides.h"

namespace sightline::iou::maxima {
namespace {

constexpr int64_t kPairsPerTask = 1 << 17;
// The lanes are cut into at most this many parts, each with its own maxima of the objects.
constexpr int64_t kMaxParts = 64;

template <bool kOrdered>
struct ReduceLanes {
  template <class T>
  SIGHTLINE_INLINE static void run(const Sides<T>& sides, const int32_t* order,
                                   const Box<T>* objects, ObjectMaxima<T> of_object,
                                   int32_t* nearby, int64_t begin, int64_t end) {
    T* const values = sides.lane_max;
    int64_t* const indices = sides.lane_argmax;
    const auto store = [=](int64_t i, T value, int64_t object) SIGHTLINE_LAMBDA {
      values[i] = value;
      indices[i] = object;
    };
    MaximaVisitor<T, kOrdered, decltype(store)> visitor{of_object, store, {}, {}, {}};
    visit_overlaps<T>(sides.lanes, order, begin, end, {objects, nullptr, sides.num_objects}, nearby,
                      visitor);
  }
};

}  // namespace

template <class T>
void box_iou_max_cpu(const T* boxes1, const T* boxes2, IouMaxima<T> out, int64_t n, int64_t m,
                     ParallelFor parallel_for) {
  const Sides<T> sides = sides_of(boxes1, boxes2, out, n, m);
  const int64_t l = sides.num_lanes, s = sides.num_objects;
  if (l == 0) return;
  const auto objects = working_memory<Box<T>>(s);
  for (int64_t g = 0; g < s; ++g) objects[g] = load_box(sides.objects + 4 * g);
  const auto order = order_for<T>(sides.lanes, l, objects.get(), s);

  const int64_t blocks = (l + kBlockLanes - 1) / kBlockLanes;
  const int64_t parts = std::min({blocks, kMaxParts, 16 * l / (s + 1) + 1});  // linear memory
  const int64_t blocks_of_part = (blocks + parts - 1) / parts;
  const auto values = std::make_unique<T[]>(parts * s);            // [parts, s]
  const auto indices = std::make_unique<LaneInt<T>[]>(parts * s);  // [parts, s]
  const auto nearby = working_memory<int32_t>(parts * s);
  const int64_t grain = kPairsPerTask / (blocks_of_part * kBlockLanes * (s + 1)) + 1;
  parallel_for(parts, grain, [&](int64_t first, int64_t last) {
    for (int64_t part = first; part < last; ++part) {
      const int64_t begin = std::min(part * blocks_of_part * kBlockLanes, l);
      const int64_t end = std::min(begin + blocks_of_part * kBlockLanes, l);
      const ObjectMaxima<T> of_object{values.get() + part * s, indices.get() + part * s};
      const int32_t* const box_order = order.empty() ? nullptr : order.data();
      const auto* const boxes = static_cast<const Box<T>*>(objects.get());
      int32_t* const scratch = nearby.get() + part * s;
      in_blocks(begin, end, s, parallel_for, [&](int64_t from, int64_t to) {
        if (box_order == nullptr)
          run_for_isa<ReduceLanes<false>>(sides, box_order, boxes, of_object, scratch, from, to);
        else
          run_for_isa<ReduceLanes<true>>(sides, box_order, boxes, of_object, scratch, from, to);
      });
    }
  });
  for (int64_t g = 0; g < s; ++g) {
    T top = T(0);
    int64_t index = -1;
    for (int64_t part = 0; part < parts; ++part) {
      const T value = values[part * s + g];
      const int64_t i = indices[part * s + g];
      if (value > top || (value == top && i < index)) top = value, index = i;
    }
    sides.object_max[g] = top;
    sides.object_argmax[g] = index;
  }
}

template <class T>
void box_iou_max_backward_cpu(const T* grad_row, const T* grad_column, const T* boxes1,
                              const T* boxes2, const int64_t* row_argmax,
                              const int64_t* column_argmax, T* grad1, T* grad2, int64_t n,
                              int64_t m) {
  std::fill(grad1, grad1 + 4 * n, T(0));
  std::fill(grad2, grad2 + 4 * m, T(0));
  const auto add = [=](int64_t i, int64_t j, T g) {
    BoxGradient<T> ga, gb;
    add_gradient<BoxIou>(load_box(boxes1 + 4 * i), load_box(boxes2 + 4 * j), T(0), g, ga, gb);
    T *const a = grad1 + 4 * i, *const b = grad2 + 4 * j;
    a[0] += ga.x1, a[1] += ga.y1, a[2] += ga.x2, a[3] += ga.y2;
    b[0] += gb.x1, b[1] += gb.y1, b[2] += gb.x2, b[3] += gb.y2;
  };
  for (int64_t i = 0; i < n; ++i)
    if (row_argmax[i] >= 0) add(i, row_argmax[i], grad_row[i]);
  for (int64_t j = 0; j < m; ++j)
    if (column_argmax[j] >= 0) add(column_argmax[j], j, grad_column[j]);
}

#define INSTANTIATE(T)                                                                            \
  template void box_iou_max_cpu(const T*, const T*, IouMaxima<T>, int64_t, int64_t, ParallelFor); \
  template void box_iou_max_backward_cpu(const T*, const T*, const T*, const T*, const int64_t*,  \
                                         const int64_t*, T*, T*, int64_t, int64_t);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace sightline::iou::maxima
