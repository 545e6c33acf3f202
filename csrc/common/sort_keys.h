// Unsigned keys whose ascending order is the order the library sorts in, for host and device.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>

#include "common/macros.h"

namespace sightline {

namespace detail {

template <class Key, class S>
SIGHTLINE_HD Key descending_key(S score) {
  constexpr Key kSign = Key(1) << (8 * sizeof(Key) - 1);
  if (score != score) return ~Key(0);
  score += S(0);  // -0 becomes 0: the two are a tie
  Key bits;
  memcpy(&bits, &score, sizeof(Key));
  return bits & kSign ? bits : ~(bits | kSign);
}

}  // namespace detail

// Ascending keys: scores descending, -0 and 0 equal, NaN last.
SIGHTLINE_HD uint32_t score_key(float score) { return detail::descending_key<uint32_t>(score); }
SIGHTLINE_HD uint64_t score_key(double score) { return detail::descending_key<uint64_t>(score); }

// Ascending keys: integers ascending.
SIGHTLINE_HD uint64_t integer_key(int64_t value) {
  return static_cast<uint64_t>(value) ^ (uint64_t(1) << 63);
}

template <class S>
using ScoreKey = decltype(score_key(S{}));

// An item to sort; the order is total: by key, then by index.
template <class Key, class Index = int64_t>
struct Keyed {
  static constexpr Index kEnd = std::numeric_limits<Index>::max();
  Key key;
  Index index;

  // Comes after every item.
  SIGHTLINE_HD static Keyed end() { return {~Key(0), kEnd}; }
  SIGHTLINE_HD bool is_end() const { return index == kEnd; }
};
template <class Key, class Index>
SIGHTLINE_HD bool operator<(const Keyed<Key, Index>& a, const Keyed<Key, Index>& b) {
  return a.key < b.key || (a.key == b.key && a.index < b.index);
}

}  // namespace sightline
