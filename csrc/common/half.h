// float16 and bfloat16 as storage: 16 bits that are read into float and rounded back, to the
// nearest even. Portable bit arithmetic without branches, so that loops over them fill vectors; the
// same bits on host, device and every ISA level.
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/macros.h"

namespace sightline {

struct Float16 {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

// The type that values of storage type T are computed in.
template <class T>
using Compute = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <class T>
inline constexpr bool kIsHalf = std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>;

SIGHTLINE_HD float float_of_bits(uint32_t bits) { return __builtin_bit_cast(float, bits); }
SIGHTLINE_HD uint32_t bits_of_float(float value) { return __builtin_bit_cast(uint32_t, value); }

SIGHTLINE_HD float widen(float value) { return value; }
SIGHTLINE_HD double widen(double value) { return value; }

SIGHTLINE_HD float widen(BFloat16 value) { return float_of_bits(uint32_t(value.bits) << 16); }

SIGHTLINE_HD float widen(Float16 value) {
  constexpr float kExponentShift = 0x1p112f;  // 127 - 15; makes subnormals normal on the way
  const uint32_t magnitude = value.bits & 0x7fffu;
  const uint32_t finite = bits_of_float(float_of_bits(magnitude << 13) * kExponentShift);
  const uint32_t special = 0x7f800000u | magnitude << 13;  // infinity, NaN
  const uint32_t sign = uint32_t(value.bits & 0x8000u) << 16;
  return float_of_bits((magnitude >= 0x7c00u ? special : finite) | sign);
}

template <class T>
SIGHTLINE_HD T narrow(Compute<T> value) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    const uint32_t bits = bits_of_float(value);
    const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    const uint32_t nan = bits >> 16 | 0x40u;  // quiet, its high payload kept
    return BFloat16{uint16_t((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded)};
  } else if constexpr (std::is_same_v<T, Float16>) {
    const uint32_t bits = bits_of_float(value);
    const uint32_t magnitude = bits & 0x7fffffffu;
    // The exponent is rebased from 127 to 15 in the bits; the carry of rounding may reach infinity.
    const uint32_t normal = (magnitude - (112u << 23) + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
    // Below 2^-14: an addition rounds to multiples of 2^-24, the ulp of 0.5f.
    const uint32_t small = bits_of_float(float_of_bits(magnitude) + 0.5f) - bits_of_float(0.5f);
    uint32_t half = magnitude < (113u << 23) ? small : normal;
    half = magnitude >= 0x477ff000u ? 0x7c00u : half;  // 65520 and above round to infinity
    half = magnitude > 0x7f800000u ? 0x7e00u | (magnitude >> 13 & 0x3ffu) : half;
    return Float16{uint16_t(half | (bits >> 16 & 0x8000u))};
  } else {
    return value;
  }
}

}  // namespace sightline
