#include <limits>
#include <memory>

#include "common/sort.h"
#include "common/working_memory.h"
#include "nms/greedy/greedy.h"
#include "nms/suppress.h"

namespace sightline::nms::greedy {
namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();
// A segment of this many boxes gets all threads; smaller ones are shared out among them.
constexpr int64_t kLargeSegment = 4096;
constexpr int64_t kBoxesPerTask = 4096;

template <class Index, class S>
void order_by_score(const S* scores, int64_t n, int64_t* order /* [n] */) {
  using Item = Keyed<ScoreKey<S>, Index>;
  const auto memory = working_memory<Item>(2 * n);
  Item* const items = memory.get();
  for (int64_t i = 0; i < n; ++i) items[i] = {score_key(scores[i]), static_cast<Index>(i)};
  sort_keyed(items, items + n, n);
  for (int64_t i = 0; i < n; ++i) order[i] = items[i].index;
}

// Ranks (positions in the order by score) grouped by segment, in ascending order within each.
// Returns where segments start in ranks, and n behind them.
std::vector<int64_t> group_by_segment(const int64_t* idxs, const int64_t* order, int64_t n,
                                      int64_t* ranks /* [n] */) {
  std::vector<int64_t> starts;
  const auto [least, most] = std::minmax_element(idxs, idxs + n);
  const uint64_t range = n == 0 ? 0 : uint64_t(*most) - uint64_t(*least);
  if (range <= uint64_t(n)) {  // counted in one pass
    starts.assign(range + 2, 0);
    const auto segment = [&](int64_t r) { return idxs[order[r]] - *least; };
    for (int64_t r = 0; r < n; ++r) ++starts[idxs[r] - *least + 1];
    for (uint64_t s = 1; s < starts.size(); ++s) starts[s] += starts[s - 1];
    std::vector<int64_t> next = starts;
    for (int64_t r = 0; r < n; ++r) ranks[next[segment(r)]++] = r;
    return starts;
  }
  using Item = Keyed<uint64_t>;
  const auto memory = working_memory<Item>(2 * n);
  Item* const items = memory.get();
  for (int64_t r = 0; r < n; ++r) items[r] = {integer_key(idxs[order[r]]), r};
  sort_keyed(items, items + n, n);
  for (int64_t p = 0; p < n; ++p) {
    if (p == 0 || items[p].key != items[p - 1].key) starts.push_back(p);
    ranks[p] = items[p].index;
  }
  starts.push_back(n);
  return starts;
}

// The boxes of one segment or of several, in the order in which they are resolved.
template <class T>
struct SortedBoxes {
  template <class S>
  SortedBoxes(const T* boxes, const S* scores, const int64_t* idxs, int64_t n,
              ParallelFor parallel_for)
      : order(working_memory<int64_t>(n)),
        columns_memory(working_memory<T>(5 * n)),
        columns(columns_memory.get(), n) {
    if (n <= std::numeric_limits<int32_t>::max()) {
      order_by_score<int32_t>(scores, n, order.get());
    } else {
      order_by_score<int64_t>(scores, n, order.get());
    }
    if (idxs == nullptr) {
      starts = {0, n};
    } else {
      ranks = working_memory<int64_t>(n);
      starts = group_by_segment(idxs, order.get(), n, ranks.get());
    }
    parallel_for(n, kBoxesPerTask, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) columns.set(p, load_box(boxes + 4 * order[rank(p)]));
    });
  }
  int64_t segments() const { return starts.size() - 1; }
  int64_t size(int64_t s) const { return starts[s + 1] - starts[s]; }
  int64_t rank(int64_t p) const { return ranks ? ranks[p] : p; }

  // Calls resolve(segment, parallel_for) for each: several small ones at once, and the threads
  // together in a large one.
  template <class Resolve>
  void for_each_segment(ParallelFor parallel_for, Resolve resolve) const {
    const int64_t count = segments();
    if (count > 1) {
      const int64_t grain = kBoxesPerTask * count / (starts[count] + 1) + 1;
      parallel_for(count, grain, [&](int64_t begin, int64_t end) {
        for (int64_t s = begin; s < end; ++s)
          if (size(s) < kLargeSegment) resolve(s, parallel_for.serial());
      });
    }
    for (int64_t s = 0; s < count; ++s) {
      if (size(s) >= kLargeSegment) {
        resolve(s, parallel_for);
      } else if (count == 1) {
        resolve(s, parallel_for.serial());
      }
    }
  }

  std::unique_ptr<int64_t[]> order;  // [n], box of each rank
  std::unique_ptr<int64_t[]> ranks;  // [n], rank of each position; null where they are the same
  std::vector<int64_t> starts;       // [segments + 1], positions
  std::unique_ptr<T[]> columns_memory;
  BoxColumns<T> columns;  // by position
};

// The boxes at the positions that each segment kept, best first.
template <class T>
std::vector<int64_t> kept_of_segments(const SortedBoxes<T>& sorted, const int64_t* positions,
                                      const std::vector<int64_t>& kept, int64_t n) {
  std::vector<int64_t> keep;
  if (!sorted.ranks) {
    keep.resize(kept[0]);
    for (int64_t k = 0; k < kept[0]; ++k) keep[k] = sorted.order[positions[k]];
    return keep;
  }
  const auto is_kept = std::make_unique<uint8_t[]>(n);
  int64_t total = 0;
  for (int64_t s = 0; s < sorted.segments(); ++s) {
    total += kept[s];
    const int64_t start = sorted.starts[s];
    for (int64_t k = 0; k < kept[s]; ++k) is_kept[sorted.ranks[start + positions[start + k]]] = 1;
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
  std::vector<int64_t> kept(sorted.segments());
  sorted.for_each_segment(parallel_for, [&](int64_t s, ParallelFor within) {
    const int64_t start = sorted.starts[s];
    kept[s] = suppress(sorted.columns.from(start), positions.get() + start, sorted.size(s),
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
  std::vector<int64_t> kept(sorted.segments());
  sorted.for_each_segment(parallel_for, [&](int64_t s, ParallelFor within) {
    const int64_t start = sorted.starts[s], end = sorted.starts[s + 1];
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
