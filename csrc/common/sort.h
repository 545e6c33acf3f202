// Sorting on the CPU: by key, then by index.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "common/sort_keys.h"

namespace sightline {
namespace detail {

// Least significant digit first, which is stable and linear. Digits of 8 bits cost the least to
// clear and add up; digits of 11 bits take three passes over a 32-bit key where those take four.
template <int kBits, class Item>
void radix_sort(Item* items, Item* scratch, int64_t n) {
  constexpr int kDigits = (8 * sizeof(items->key) + kBits - 1) / kBits;
  constexpr int64_t kValues = int64_t(1) << kBits;
  const auto digit = [](const Item& item, int d) { return (item.key >> (kBits * d)) % kValues; };
  std::array<std::array<int64_t, kValues>, kDigits> counts{};
  for (int64_t i = 0; i < n; ++i)
    for (int d = 0; d < kDigits; ++d) ++counts[d][digit(items[i], d)];
  Item *from = items, *to = scratch;
  for (int d = 0; d < kDigits; ++d) {
    auto& next = counts[d];
    if (next[digit(from[0], d)] == n) continue;  // all keys share the digit
    int64_t start = 0;
    for (int64_t& slot : next) start += std::exchange(slot, start);
    for (int64_t i = 0; i < n; ++i) to[next[digit(from[i], d)]++] = from[i];
    std::swap(from, to);
  }
  if (from != items) std::copy(from, from + n, items);
}

}  // namespace detail

// Sorts items, which come in ascending order of index.
template <class Key, class Index>
void sort_keyed(Keyed<Key, Index>* items,    // [n], sorted in place
                Keyed<Key, Index>* scratch,  // [n]
                int64_t n) {
  // Where each begins to be the fastest, measured with 32-bit keys.
  constexpr int64_t kRadix8From = 64, kRadix11From = 4096;
  if (n < kRadix8From) {
    std::sort(items, items + n);
  } else if (n < kRadix11From) {
    detail::radix_sort<8>(items, scratch, n);
  } else {
    detail::radix_sort<11>(items, scratch, n);
  }
}

}  // namespace sightline
