#include <limits>

#include "common/sort.h"
#include "nms/suppress.h"

namespace sightline {
namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();
// A segment of this many boxes gets all threads; smaller ones are shared out among them.
constexpr int64_t kLargeSegment = 4096;
constexpr int64_t kBoxesPerTask = 2048;

template <class T>
std::unique_ptr<T[]> uninitialized(int64_t n) {
  return std::make_unique_for_overwrite<T[]>(n);
}

template <class Key>
using Items = std::unique_ptr<Keyed<Key>[]>;

template <class S>
std::vector<int64_t> order_by_score(const S* scores, int64_t n) {
  using Key = ScoreKey<S>;
  Items<Key> items = uninitialized<Keyed<Key>>(n), scratch = uninitialized<Keyed<Key>>(n);
  for (int64_t i = 0; i < n; ++i) items[i] = {score_key(scores[i]), i};
  sort_keyed(items.get(), scratch.get(), n);
  std::vector<int64_t> order(n);
  for (int64_t i = 0; i < n; ++i) order[i] = items[i].index;
  return order;
}

// Ranks (positions in the order by score) grouped by segment, in ascending order within each.
struct Segments {
  std::vector<int64_t> ranks;   // [n]
  std::vector<int64_t> starts;  // [segments + 1], into ranks
};

Segments group_by_segment(const int64_t* idxs, const std::vector<int64_t>& order) {
  const int64_t n = order.size();
  Segments out{std::vector<int64_t>(n), {0}};
  if (idxs == nullptr) {
    for (int64_t r = 0; r < n; ++r) out.ranks[r] = r;
    out.starts.push_back(n);
    return out;
  }
  Items<uint64_t> items = uninitialized<Keyed<uint64_t>>(n);
  Items<uint64_t> scratch = uninitialized<Keyed<uint64_t>>(n);
  for (int64_t r = 0; r < n; ++r) items[r] = {integer_key(idxs[order[r]]), r};
  sort_keyed(items.get(), scratch.get(), n);
  for (int64_t p = 0; p < n; ++p) {
    if (p > 0 && items[p].key != items[p - 1].key) out.starts.push_back(p);
    out.ranks[p] = items[p].index;
  }
  out.starts.push_back(n);
  return out;
}

}  // namespace

template <class T, class S>
std::vector<int64_t> nms_cpu(const T* boxes, const S* scores, const int64_t* idxs, int64_t n,
                             T threshold, ParallelFor parallel_for) {
  const std::vector<int64_t> order = order_by_score(scores, n);
  const Segments segments = group_by_segment(idxs, order);
  const auto memory = uninitialized<T>(5 * n);
  const BoxColumns<T> columns(memory.get(), n);
  parallel_for(n, kBoxesPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p)
      columns.set(p, load_box(boxes + 4 * order[segments.ranks[p]]));
  });

  const auto suppressed = std::make_unique<uint8_t[]>(n);
  const auto positions = uninitialized<int64_t>(n);  // those of a segment from its start
  const int64_t count = segments.starts.size() - 1;
  std::vector<int64_t> kept(count);
  const auto resolve = [&](int64_t s, ParallelFor within) {
    const int64_t start = segments.starts[s], size = segments.starts[s + 1] - start;
    kept[s] = suppress(columns.from(start), suppressed.get() + start, positions.get() + start, size,
                       kUnlimited, threshold, within);
  };
  const auto is_large = [&](int64_t s) {
    return segments.starts[s + 1] - segments.starts[s] >= kLargeSegment;
  };
  parallel_for(count, kBoxesPerTask * count / (n + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s)
      if (!is_large(s)) resolve(s, serial_for);
  });
  for (int64_t s = 0; s < count; ++s)
    if (is_large(s)) resolve(s, parallel_for);

  // Back from segments to the order by score.
  const auto is_kept = std::make_unique<uint8_t[]>(n);
  int64_t total = 0;
  for (int64_t s = 0; s < count; ++s) {
    total += kept[s];
    const int64_t start = segments.starts[s];
    for (int64_t k = 0; k < kept[s]; ++k) is_kept[segments.ranks[start + positions[start + k]]] = 1;
  }
  std::vector<int64_t> keep;
  keep.reserve(total);
  for (int64_t r = 0; r < n; ++r)
    if (is_kept[r]) keep.push_back(order[r]);
  return keep;
}

#define INSTANTIATE(T, S)                                                               \
  template std::vector<int64_t> nms_cpu(const T*, const S*, const int64_t*, int64_t, T, \
                                        ParallelFor);
INSTANTIATE(float, float)
INSTANTIATE(float, double)
INSTANTIATE(double, float)
INSTANTIATE(double, double)
#undef INSTANTIATE

}  // namespace sightline
