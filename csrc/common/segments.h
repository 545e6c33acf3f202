// Items by descending score, and items of several segments (classes, images) made contiguous, for
// kernels that treat each segment by itself.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "common/column.h"
#include "common/parallel.h"
#include "common/sort.h"
#include "common/working_memory.h"

namespace sightline {

namespace detail {

template <class Index, class S, class Takes>
Column<int64_t> best_first(const S* scores, int64_t n, Takes takes) {
  using Item = Keyed<ScoreKey<S>, Index>;
  const auto memory = working_memory<Item>(2 * n);
  Item* const items = memory.get();
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i)
    if (takes(i)) items[count++] = {score_key(scores[i]), static_cast<Index>(i)};
  sort_keyed(items, items + count, count);
  Column<int64_t> order(count);
  for (int64_t r = 0; r < count; ++r) order[r] = items[r].index;
  return order;
}

}  // namespace detail

// The i < n for which takes(i), by descending score; among equal scores ascending, NaN last.
template <class S, class Takes>
Column<int64_t> best_first(const S* scores /* [n] */, int64_t n, Takes takes) {
  if (n <= std::numeric_limits<int32_t>::max())
    return detail::best_first<int32_t>(scores, n, takes);
  return detail::best_first<int64_t>(scores, n, takes);
}
template <class S>
Column<int64_t> best_first(const S* scores /* [n] */, int64_t n) {
  return best_first(scores, n, [](int64_t) { return true; });
}

// The values of segment s are values[starts[s]] to values[starts[s + 1] - 1].
struct Segments {
  Column<int64_t> values;       // [n]
  std::vector<int64_t> starts;  // [count() + 1]

  int64_t count() const { return static_cast<int64_t>(starts.size()) - 1; }
  int64_t size(int64_t s) const { return starts[s + 1] - starts[s]; }
  const int64_t* begin(int64_t s) const { return values.data() + starts[s]; }
};

// The ranks 0 <= r < n grouped by idxs[items[r]]: groups ascend, and so do the ranks in each. No
// group is empty, except that no items give one empty group.
inline Segments ranks_by_segment(const Column<int64_t>& items, const int64_t* idxs) {
  const int64_t n = items.size();
  Segments out{Column<int64_t>(n), {0}};
  if (n == 0) {
    out.starts.push_back(0);
    return out;
  }
  const auto segment = [&](int64_t r) { return idxs[items[r]]; };
  int64_t least = segment(0), most = least;
  for (int64_t r = 1; r < n; ++r) {
    least = std::min(least, segment(r));
    most = std::max(most, segment(r));
  }
  const uint64_t range = uint64_t(most) - uint64_t(least);
  if (range <= uint64_t(n)) {  // counted in one pass
    std::vector<int64_t> next(range + 1);
    for (int64_t r = 0; r < n; ++r) ++next[segment(r) - least];
    int64_t start = 0;
    for (int64_t& slot : next) {
      start += std::exchange(slot, start);
      if (start != out.starts.back()) out.starts.push_back(start);
    }
    for (int64_t r = 0; r < n; ++r) out.values[next[segment(r) - least]++] = r;
    return out;
  }
  using Item = Keyed<uint64_t>;
  const auto memory = working_memory<Item>(2 * n);
  Item* const keyed = memory.get();
  for (int64_t r = 0; r < n; ++r) keyed[r] = {integer_key(segment(r)), r};
  sort_keyed(keyed, keyed + n, n);
  for (int64_t p = 0; p < n; ++p) {
    if (p > 0 && keyed[p].key != keyed[p - 1].key) out.starts.push_back(p);
    out.values[p] = keyed[p].index;
  }
  out.starts.push_back(n);
  return out;
}

// The items themselves, grouped so. Without idxs all are of one segment, which may be empty.
inline Segments group_by_segment(Column<int64_t> items, const int64_t* idxs /* or null */) {
  const int64_t n = items.size();
  if (idxs == nullptr) return {std::move(items), {0, n}};
  Segments out = ranks_by_segment(items, idxs);
  for (int64_t& value : out.values) value = items[value];
  return out;
}

// Calls run(s, parallel_for) for every segment: small ones in parallel, each on one thread, then
// the large ones one by one, each on all threads.
template <class Run>
void for_each_segment(const Segments& segments, int64_t values_per_task, ParallelFor parallel_for,
                      Run run) {
  constexpr int64_t kLarge = 4096;
  const int64_t count = segments.count();
  const auto is_large = [&](int64_t s) { return segments.size(s) >= kLarge; };
  if (count == 1) return run(0, is_large(0) ? parallel_for : parallel_for.serial());
  const int64_t grain = values_per_task * count / (segments.starts.back() + 1) + 1;
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s)
      if (!is_large(s)) run(s, parallel_for.serial());
  });
  for (int64_t s = 0; s < count; ++s)
    if (is_large(s)) run(s, parallel_for);
}

}  // namespace sightline
