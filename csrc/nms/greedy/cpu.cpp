#include <limits>
#include <memory>

#include "common/segments.h"
#include "common/working_memory.h"
#include "nms/greedy/greedy.h"
#include "nms/suppress.h"

namespace sightline::nms::greedy {
namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();
constexpr int64_t kBoxesPerTask = 4096;

// The boxes of one segment or of several, in the order in which they are resolved.
template <class T>
struct SortedBoxes {
  template <class S>
  SortedBoxes(const T* boxes, const S* scores, const int64_t* idxs, int64_t n,
              ParallelFor parallel_for)
      : order(best_first(scores, n)),
        ranks(idxs == nullptr ? Segments{{}, {0, n}} : ranks_by_segment(order, idxs)),
        columns_memory(working_memory<T>(5 * n)),
        columns(columns_memory.get(), n) {
    parallel_for(n, kBoxesPerTask, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) columns.set(p, load_box(boxes + 4 * order[rank(p)]));
    });
  }
  bool grouped() const { return !ranks.values.empty(); }
  int64_t rank(int64_t p) const { return grouped() ? ranks.values[p] : p; }

  Column<int64_t> order;  // [n], box of each rank
  Segments ranks;         // of each position; no values where ranks are positions
  std::unique_ptr<T[]> columns_memory;
  BoxColumns<T> columns;  // by position
};

// The boxes at the positions that each segment kept, best first.
template <class T>
std::vector<int64_t> kept_of_segments(const SortedBoxes<T>& sorted, const int64_t* positions,
                                      const std::vector<int64_t>& kept, int64_t n) {
  std::vector<int64_t> keep;
  if (!sorted.grouped()) {
    keep.resize(kept[0]);
    for (int64_t k = 0; k < kept[0]; ++k) keep[k] = sorted.order[positions[k]];
    return keep;
  }
  const auto is_kept = std::make_unique<uint8_t[]>(n);
  int64_t total = 0;
  for (int64_t s = 0; s < sorted.ranks.count(); ++s) {
    total += kept[s];
    const int64_t start = sorted.ranks.starts[s];
    for (int64_t k = 0; k < kept[s]; ++k) is_kept[sorted.rank(start + positions[start + k])] = 1;
  }
  keep.reserve(total);
  for (int64_t r = 0; r < n; ++r)
    if (is_kept[r]) keep.push_back(sorted.order[r]);
  return keep;
}

}  // namespace

template <class T, class S>
std::vector<int64_t> nms_cpu(const T* boxes, const S* scores, const int64_t* idxs, int64_t n,
                             T threshold, ParallelFor parallel_for) {
  const SortedBoxes<T> sorted(boxes, scores, idxs, n, parallel_for);
  const auto positions = working_memory<int64_t>(n);  // those of a segment from its start
  std::vector<int64_t> kept(sorted.ranks.count());
  for_each_segment(sorted.ranks, kBoxesPerTask, parallel_for, [&](int64_t s, ParallelFor within) {
    const int64_t start = sorted.ranks.starts[s];
    kept[s] = suppress(sorted.columns.from(start), positions.get() + start, sorted.ranks.size(s),
                       kUnlimited, threshold, within);
  });
  return kept_of_segments(sorted, positions.get(), kept, n);
}

template <class T, class S>
std::vector<int64_t> nms_suppressed_by_cpu(const T* boxes, const S* scores, const int64_t* idxs,
                                           int64_t* suppressed_by, int64_t n, T threshold,
                                           ParallelFor parallel_for) {
  const SortedBoxes<T> sorted(boxes, scores, idxs, n, parallel_for);
  const auto positions = working_memory<int64_t>(n), suppressors = working_memory<int64_t>(n);
  std::vector<int64_t> kept(sorted.ranks.count());
  for_each_segment(sorted.ranks, kBoxesPerTask, parallel_for, [&](int64_t s, ParallelFor within) {
    const int64_t start = sorted.ranks.starts[s], end = sorted.ranks.starts[s + 1];
    kept[s] = suppress_and_explain(sorted.columns.from(start), suppressors.get() + start,
                                   positions.get() + start, end - start, threshold, within);
    const auto box_at = [&](int64_t p) { return sorted.order[sorted.rank(p)]; };
    for (int64_t p = start; p < end; ++p)
      suppressed_by[box_at(p)] = suppressors[p] < 0 ? -1 : box_at(start + suppressors[p]);
  });
  return kept_of_segments(sorted, positions.get(), kept, n);
}

#define INSTANTIATE(T, S)                                                                 \
  template std::vector<int64_t> nms_cpu(const T*, const S*, const int64_t*, int64_t, T,   \
                                        ParallelFor);                                     \
  template std::vector<int64_t> nms_suppressed_by_cpu(const T*, const S*, const int64_t*, \
                                                      int64_t*, int64_t, T, ParallelFor);
INSTANTIATE(float, float)
INSTANTIATE(float, double)
INSTANTIATE(double, float)
INSTANTIATE(double, double)
#undef INSTANTIATE

}  // namespace sightline::nms::greedy
