#include <algorithm>
#include <memory>

#include "common/box_order.h"
#include "common/box_tiles.h"
#include "common/isa.h"
#include "common/working_memory.h"
#include "iou/topk/topk.h"

namespace sightline::iou::topk {
namespace {

constexpr int64_t kPairsPerTask = 1 << 17;
constexpr int64_t kMaxParts = 64;

template <class T>
struct Entry {
  T value;
  int32_t index;

  // Comes first in a row.
  friend bool operator<(const Entry& a, const Entry& b) {
    return a.value > b.value || (a.value == b.value && a.index < b.index);
  }
};

// The best entries of every row so far, as heaps with the last of them on top.
template <class T>
struct RowHeaps {
  Entry<T>* entries;  // [n, k]
  int32_t* sizes;     // [n]
  int64_t k;

  // What an entry must at least reach: the value of the last one of a full row, otherwise 0.
  SIGHTLINE_INLINE T least(int64_t row) const {
    return sizes[row] == k ? entries[row * k].value : T(0);
  }
  [[gnu::noinline]] void insert(int64_t row, Entry<T> entry) const {
    Entry<T>* const heap = entries + row * k;
    int32_t& size = sizes[row];
    if (size == k) {
      if (!(entry < heap[0])) return;
      std::pop_heap(heap, heap + size--);
    }
    heap[size++] = entry;
    std::push_heap(heap, heap + size);
  }
};

// Rows are the objects, columns the lanes.
template <class T, bool kOrdered>
struct ObjectRows {
  RowHeaps<T> heaps;
  T overlap[kTileLanes];

  SIGHTLINE_INLINE void begin(const BoxTile<T>&) {}
  SIGHTLINE_INLINE void visit(const BoxTile<T>& tile, int64_t g, const Box<T>& object) {
    const T least = heaps.least(g);
    LaneInt<T> any = 0;
    for (int64_t j = 0; j < kTileLanes; ++j) {
      overlap[j] = iou_of(object, tile[j]);
      any |= overlap[j] > least ? 1 : 0;
      if constexpr (kOrdered) any |= overlap[j] == least ? 1 : 0;
    }
    if (any == 0) return;
    for (int64_t j = 0; j < tile.size; ++j)
      if (overlap[j] > T(0) && overlap[j] >= least)
        heaps.insert(g, {overlap[j], static_cast<int32_t>(tile.index[j])});
  }
  SIGHTLINE_INLINE void end(const BoxTile<T>&) {}
};

// Rows are the lanes, columns the objects, which come in ascending order: of equal entries the
// first one stays.
template <class T>
struct LaneRows {
  RowHeaps<T> heaps;
  T overlap[kTileLanes], least[kTileLanes];

  SIGHTLINE_INLINE void begin(const BoxTile<T>&) {
    for (int64_t j = 0; j < kTileLanes; ++j) least[j] = T(0);
  }
  SIGHTLINE_INLINE void visit(const BoxTile<T>& tile, int64_t g, const Box<T>& object) {
    LaneInt<T> any = 0;
    for (int64_t j = 0; j < kTileLanes; ++j) {
      overlap[j] = iou_of(tile[j], object);
      any |= overlap[j] > least[j] ? 1 : 0;
    }
    if (any == 0) return;
    for (int64_t j = 0; j < tile.size; ++j) {
      if (!(overlap[j] > least[j])) continue;
      heaps.insert(tile.index[j], {overlap[j], static_cast<int32_t>(g)});
      least[j] = heaps.least(tile.index[j]);
    }
  }
  SIGHTLINE_INLINE void end(const BoxTile<T>&) {}
};

template <class Visitor>
struct Visit {
  template <class T>
  SIGHTLINE_INLINE static void run(const T* boxes, const int32_t* order, ObjectList<T> objects,
                                   int32_t* nearby, RowHeaps<T> heaps, int64_t begin, int64_t end) {
    Visitor visitor;
    visitor.heaps = heaps;
    visit_overlaps(boxes, order, begin, end, objects, nearby, visitor);
  }
};

template <class T>
std::unique_ptr<Box<T>[]> load_boxes(const T* boxes, int64_t n) {
  auto loaded = working_memory<Box<T>>(n);
  for (int64_t i = 0; i < n; ++i) loaded[i] = load_box(boxes + 4 * i);
  return loaded;
}

// Few rows: each task goes through all columns for its own rows.
template <class T>
void few_rows(const T* boxes1, const T* boxes2, RowHeaps<T> heaps, int64_t n, int64_t m,
              ParallelFor parallel_for) {
  const auto objects = load_boxes(boxes1, n);
  const auto order = order_for<T>(boxes2, m, objects.get(), n);
  const auto nearby = working_memory<int32_t>(n);
  const int32_t* const o = order.empty() ? nullptr : order.data();
  parallel_for.uncut()(n, kPairsPerTask / (m + 1) + 1, [&](int64_t begin, int64_t end) {
    const RowHeaps<T> of_rows{heaps.entries + begin * heaps.k, heaps.sizes + begin, heaps.k};
    const ObjectList<T> list{objects.get() + begin, nullptr, end - begin};
    int32_t* const scratch = nearby.get() + begin;
    in_blocks(0, m, end - begin, parallel_for, [&](int64_t from, int64_t to) {
      if (o == nullptr)
        run_for_isa<Visit<ObjectRows<T, false>>>(boxes2, o, list, scratch, of_rows, from, to);
      else
        run_for_isa<Visit<ObjectRows<T, true>>>(boxes2, o, list, scratch, of_rows, from, to);
    });
  });
}

// Few columns: each task goes through parts of the rows.
template <class T>
void few_columns(const T* boxes1, const T* boxes2, RowHeaps<T> heaps, int64_t n, int64_t m,
                 ParallelFor parallel_for) {
  const auto objects = load_boxes(boxes2, m);
  const auto order = order_for<T>(boxes1, n, objects.get(), m);
  const int32_t* const o = order.empty() ? nullptr : order.data();
  const int64_t blocks = (n + kBlockLanes - 1) / kBlockLanes;
  const int64_t parts = std::min(blocks, kMaxParts);
  const int64_t per_part = (blocks + parts - 1) / parts * kBlockLanes;
  const auto nearby = working_memory<int32_t>(parts * m);
  parallel_for(parts, kPairsPerTask / (per_part * (m + 1)) + 1, [&](int64_t first, int64_t last) {
    for (int64_t part = first; part < last; ++part) {
      const int64_t begin = std::min(part * per_part, n), end = std::min(begin + per_part, n);
      in_blocks(begin, end, m, parallel_for, [&](int64_t from, int64_t to) {
        run_for_isa<Visit<LaneRows<T>>>(boxes1, o, ObjectList<T>{objects.get(), nullptr, m},
                                        nearby.get() + part * m, heaps, from, to);
      });
    }
  });
}

}  // namespace

template <class T>
void box_iou_topk_cpu(const T* boxes1, const T* boxes2, T* values, int64_t* indices, int64_t n,
                      int64_t m, int64_t k, ParallelFor parallel_for) {
  if (n == 0 || k == 0) return;
  const int64_t depth = std::min(k, m);  // a row has no more entries
  const auto entries = working_memory<Entry<T>>(n * depth);
  const auto sizes = std::make_unique<int32_t[]>(n);
  const RowHeaps<T> heaps{entries.get(), sizes.get(), depth};
  if (m > n) {
    few_rows(boxes1, boxes2, heaps, n, m, parallel_for);
  } else if (m > 0) {
    few_columns(boxes1, boxes2, heaps, n, m, parallel_for);
  }
  parallel_for(n, kPairsPerTask / (32 * k) + 1, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Entry<T>* const row = heaps.entries + i * depth;
      const int64_t size = heaps.sizes[i];
      std::sort_heap(row, row + size);
      for (int64_t r = 0; r < k; ++r) {
        values[i * k + r] = r < size ? row[r].value : T(0);
        indices[i * k + r] = r < size ? row[r].index : -1;
      }
    }
  });
}

template void box_iou_topk_cpu(const float*, const float*, float*, int64_t*, int64_t, int64_t,
                               int64_t, ParallelFor);
template void box_iou_topk_cpu(const double*, const double*, double*, int64_t*, int64_t, int64_t,
                               int64_t, ParallelFor);

}  // namespace sightline::iou::topk
