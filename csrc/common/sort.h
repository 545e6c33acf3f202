// Sorting on the CPU: by key, then by index.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "common/sort_keys.h"

namespace sightline {

// Sorts items, which come in ascending order of index. Fewer than kRadixFrom are sorted by
// comparison; the others by radix, least significant byte first, which is stable and linear.
template <class Key>
void sort_keyed(Keyed<Key>* items,    // [n], sorted in place
                Keyed<Key>* scratch,  // [n]
                int64_t n) {
  constexpr int64_t kRadixFrom = 1024;
  constexpr int kDigits = sizeof(Key);
  if (n < kRadixFrom) {
    std::sort(items, items + n);
    return;
  }
  std::array<std::array<int64_t, 256>, kDigits> counts{};
  for (int64_t i = 0; i < n; ++i)
    for (int d = 0; d < kDigits; ++d) ++counts[d][(items[i].key >> (8 * d)) & 0xff];
  Keyed<Key>*from = items, *to = scratch;
  for (int d = 0; d < kDigits; ++d) {
    auto& next = counts[d];
    const auto digit = [d](const Keyed<Key>& item) { return (item.key >> (8 * d)) & 0xff; };
    if (next[digit(from[0])] == n) continue;  // all keys share the digit
    int64_t start = 0;
    for (int64_t& slot : next) start += std::exchange(slot, start);
    for (int64_t i = 0; i < n; ++i) to[next[digit(from[i])]++] = from[i];
    std::swap(from, to);
  }
  if (from != items) std::copy(from, from + n, items);
}

}  // namespace sightline
