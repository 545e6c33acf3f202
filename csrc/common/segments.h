// Items of several segments (classes, images) made contiguous, for kernels that treat each segment
// by itself.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/sort.h"
#include "common/working_memory.h"

namespace sightline {

template <class Key>
using KeyedItems = std::unique_ptr<Keyed<Key>[]>;

template <class Key>
KeyedItems<Key> keyed_items(int64_t n) {
  return working_memory<Keyed<Key>>(n);
}

// The items of segment s are items[starts[s]] to items[starts[s + 1] - 1].
struct Segments {
  std::vector<int64_t> items;   // [n]
  std::vector<int64_t> starts;  // [count() + 1]

  int64_t count() const { return static_cast<int64_t>(starts.size()) - 1; }
  int64_t size(int64_t s) const { return starts[s + 1] - starts[s]; }
  const int64_t* begin(int64_t s) const { return items.data() + starts[s]; }
};

// Groups items by idxs[item], ascending; within a segment they keep their order. Without idxs all
// are of one segment, which may be empty.
inline Segments group_by_segment(std::vector<int64_t> items, const int64_t* idxs /* or null */) {
  const int64_t n = items.size();
  if (idxs == nullptr) return {std::move(items), {0, n}};
  const KeyedItems<uint64_t> keyed = keyed_items<uint64_t>(n), scratch = keyed_items<uint64_t>(n);
  for (int64_t k = 0; k < n; ++k) keyed[k] = {integer_key(idxs[items[k]]), k};
  sort_keyed(keyed.get(), scratch.get(), n);
  Segments out{std::vector<int64_t>(n), {0}};
  for (int64_t p = 0; p < n; ++p) {
    if (p > 0 && keyed[p].key != keyed[p - 1].key) out.starts.push_back(p);
    out.items[p] = items[keyed[p].index];
  }
  out.starts.push_back(n);
  return out;
}

// The items, which come ascending, by descending score; equal scores ascending, NaN last.
template <class S>
std::vector<int64_t> best_first(const std::vector<int64_t>& items,
                                const S* scores) {  // [items.size()]
  using Key = ScoreKey<S>;
  const int64_t n = items.size();
  const KeyedItems<Key> keyed = keyed_items<Key>(n), scratch = keyed_items<Key>(n);
  for (int64_t k = 0; k < n; ++k) keyed[k] = {score_key(scores[k]), items[k]};
  sort_keyed(keyed.get(), scratch.get(), n);
  std::vector<int64_t> out(n);
  for (int64_t k = 0; k < n; ++k) out[k] = keyed[k].index;
  return out;
}

}  // namespace sightline
