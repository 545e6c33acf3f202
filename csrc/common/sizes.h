// Sizes that come from a call's arguments, which no memory has vouched for yet.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>

namespace sightline {

// The product of sizes; one that wraps around would allocate less than is written. Throws
// length_error, which Python sees as ValueError.
inline int64_t checked_product(std::initializer_list<int64_t> sizes, const char* what) {
  int64_t product = 1;
  for (const int64_t size : sizes)
    if (size < 0 || __builtin_mul_overflow(product, size, &product))
      throw std::length_error(std::string(what) + " must be fewer than 2^63 and not negative");
  return product;
}
inline int64_t checked_sum(int64_t a, int64_t b, const char* what) {
  int64_t sum = 0;
  if (b < 0 || __builtin_add_overflow(a, b, &sum))
    throw std::length_error(std::string(what) + " must be fewer than 2^63 and not negative");
  return sum;
}

// The enumerator, of those up to `last`, that an argument names by its number.
template <class Enum>
Enum checked_enum(int64_t value, Enum last, const char* name) {
  if (value < 0 || value > static_cast<int64_t>(last))
    throw std::invalid_argument(std::string(name) + " must lie in [0, " +
                                std::to_string(static_cast<int64_t>(last)) + "]");
  return static_cast<Enum>(value);
}

// Where a result that is written meanwhile would change what is still to be read.
inline void check_apart(const void* out, int64_t out_bytes, const void* in, int64_t in_bytes,
                        const char* name) {
  const auto a = reinterpret_cast<uintptr_t>(out), b = reinterpret_cast<uintptr_t>(in);
  if (a < b + uintptr_t(in_bytes) && b < a + uintptr_t(out_bytes))
    throw std::invalid_argument(std::string("`out` must not overlap `") + name +
                                "` in memory: give it memory of its own");
}

}  // namespace sightline
