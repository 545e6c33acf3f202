// Numbers of JSON, eight digits at a time, to the double that Python's float() gives.
#pragma once

#include <bit>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <limits>
#include <system_error>

#include "common/macros.h"
#include "evaluation/coco_json/malformed.h"

namespace sightline::evaluation::coco_json {

inline uint64_t load_bytes(const char* p) {
  uint64_t word;
  std::memcpy(&word, p, 8);
  if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
  return word;
}

constexpr uint64_t repeat(uint8_t byte) { return uint64_t{0x0101010101010101} * byte; }

inline constexpr uint64_t kPowerOf10[] = {1,
                                          10,
                                          100,
                                          1000,
                                          10000,
                                          100000,
                                          1000000,
                                          10000000,
                                          100000000,
                                          1000000000,
                                          10000000000,
                                          100000000000,
                                          1000000000000,
                                          10000000000000,
                                          100000000000000,
                                          1000000000000000,
                                          10000000000000000,
                                          100000000000000000,
                                          1000000000000000000,
                                          10000000000000000000u};
// Those that a double holds exactly.
inline constexpr double kExactPowerOf10[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                             1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                             1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
inline constexpr int kDigitsOf64Bits = 19;

// A word of text with its digits' values, and the high bit set in each byte that is no digit; bytes
// after the first such may be wrong.
struct Digits {
  uint64_t values, others;
};
SIGHTLINE_INLINE Digits find_digits(const char* p) {
  const uint64_t values = load_bytes(p) ^ repeat('0');
  return {values, ((values + repeat(0x80 - 10)) | values) & repeat(0x80)};
}

// The number that eight digits spell, the first of them in the lowest byte.
SIGHTLINE_INLINE uint64_t join_digits(uint64_t values) {
  const uint64_t pairs = values * 10 + (values >> 8);
  constexpr uint64_t kMask = 0x000000FF000000FF;
  return ((pairs & kMask) * (100 + (uint64_t{1000000} << 32)) +
          ((pairs >> 16) & kMask) * (1 + (uint64_t{10000} << 32))) >>
         32;
}

// Appends the digits at p to the decimal number m, modulo 2^64. Where they end.
SIGHTLINE_INLINE const char* read_digits(const char* p, uint64_t& m) {
  for (;;) {
    const Digits digits = find_digits(p);
    if (digits.others == 0) [[unlikely]] {
      m = m * kPowerOf10[8] + join_digits(digits.values);
      p += 8;
      continue;
    }
    const int count = std::countr_zero(digits.others) / 8;
    m = m * kPowerOf10[count] + join_digits(digits.values << (56 - 8 * count) << 8);
    return p + count;
  }
}

SIGHTLINE_INLINE const char* skip_digits(const char* p) {
  for (;;) {
    const Digits digits = find_digits(p);
    if (digits.others != 0) [[likely]]
      return p + std::countr_zero(digits.others) / 8;
    p += 8;
  }
}

SIGHTLINE_INLINE bool starts_number(char c) { return c == '-' || uint8_t(c - '0') <= 9; }

// The integer part behind the sign: JSON allows no leading zeros.
SIGHTLINE_INLINE void check_integer_part(const char* first, const char* last) {
  if (first == last) throw Malformed{first, "a digit"};
  if (*first == '0' && last - first > 1) [[unlikely]]
    throw Malformed{first + 1, "no digit after a leading zero"};
}

// Reads the sign and the integer part at p; *m: its digits, modulo 2^64.
SIGHTLINE_INLINE const char* read_integer_part(const char* p, bool* negative, uint64_t* m) {
  *negative = *p == '-';
  const char* const first = p + *negative;
  *m = 0;
  p = read_digits(first, *m);
  check_integer_part(first, p);
  return p;
}

// Past the exponent at p, which is at its "e"; adds its value, as far as that matters, to *power.
inline const char* read_exponent(const char* p, int64_t* power) {
  ++p;
  const bool negative = *p == '-';
  if (*p == '+' || *p == '-') ++p;
  const char* const first = p;
  constexpr int64_t kBeyond = 1000000000;
  int64_t value = 0;
  for (; uint8_t(*p - '0') <= 9; ++p)
    if (value < kBeyond) value = value * 10 + (*p - '0');
  if (p == first) throw Malformed{p, "a digit of the exponent"};
  *power += negative ? -value : value;
  return p;
}

inline const char* skip_number(const char* p) {
  p += *p == '-';
  const char* const first = p;
  p = skip_digits(p);
  check_integer_part(first, p);
  if (*p == '.') {
    const char* const fraction = ++p;
    p = skip_digits(p);
    if (p == fraction) throw Malformed{p, "a digit after the point"};
  }
  if ((*p | 0x20) == 'e') {
    int64_t power = 0;
    p = read_exponent(p, &power);
  }
  return p;
}

// m / 10^k correctly rounded, for any m > 0 and k <= 19: one division of 128 bits by 64, whose
// remainder is kept as the lowest of at least 62 bits, and one rounding of these.
inline double divide_exactly(uint64_t m, int k) {
  const uint64_t divisor = kPowerOf10[k];
  const int m_shift = std::countl_zero(m), divisor_shift = std::countl_zero(divisor);
  __extension__ using Wide = unsigned __int128;
  const Wide dividend = Wide(m << m_shift) << 62;
  const uint64_t by = divisor << divisor_shift;
  const uint64_t quotient = uint64_t(dividend / by);  // from 2^61 up to 2^63
  const uint64_t rest = uint64_t(dividend) - quotient * by;
  const double rounded = double(int64_t(quotient | (rest != 0)));
  const int power = divisor_shift - m_shift - 62;  // normal: the value is in [1e-19, 2e19)
  return rounded * std::bit_cast<double>(uint64_t(1023 + power) << 52);
}

// For what the ways above do not decide: many digits, large exponents.
inline double convert_text(const char* first, const char* last, int64_t power) {
  double value = 0;
  if (std::from_chars(first, last, value).ec != std::errc::result_out_of_range) return value;
  // Too large or too small: the place of the first digit that counts says which.
  const bool negative = *first == '-';
  int64_t place = power;
  const char* p = first + negative;
  while (p < last && (*p == '0' || *p == '.')) ++p;
  for (const char* q = p; q < last && (*q | 0x20) != 'e'; ++q) place += *q != '.';
  const double size = place > 0 ? std::numeric_limits<double>::infinity() : 0;
  return negative ? -size : size;
}

// Reads the number at p, where starts_number; *is_integer: it has neither point nor exponent.
SIGHTLINE_INLINE const char* read_double(const char* p, double* value, bool* is_integer) {
  const char* const begin = p;
  bool negative;
  uint64_t m;
  p = read_integer_part(p, &negative, &m);
  int64_t power = 0;
  int64_t count = p - begin - negative;
  *is_integer = true;
  if (*p == '.') [[likely]] {
    const char* const fraction = ++p;
    p = read_digits(p, m);
    if (p == fraction) throw Malformed{p, "a digit after the point"};
    power = fraction - p;
    count -= power;
    *is_integer = false;
  }
  if ((*p | 0x20) == 'e') [[unlikely]] {
    p = read_exponent(p, &power);
    *is_integer = false;
  }
  constexpr uint64_t kExact = uint64_t{1} << 53;
  double size;
  if (count <= kDigitsOf64Bits && m <= kExact && power >= -22 && power <= 22) [[likely]] {
    size = power < 0 ? double(m) / kExactPowerOf10[-power] : double(m) * kExactPowerOf10[power];
  } else if (count <= kDigitsOf64Bits && power <= 0 && power >= -kDigitsOf64Bits) {
    size = divide_exactly(m, int(-power));
  } else {
    *value = convert_text(begin, p, power);
    return p;
  }
  // "-0" is an integer, and those have no negative zero.
  *value = negative && !(*is_integer && m == 0) ? -size : size;
  return p;
}

enum class Integer { kFits, kFraction, kTooLarge };

// Reads the number at p, where starts_number, as an integer of 64 bits: 1.0 and 1e2 are some.
SIGHTLINE_INLINE const char* read_integer(const char* p, int64_t* value, Integer* outcome) {
  const char* const begin = p;
  bool negative;
  uint64_t m;
  p = read_integer_part(p, &negative, &m);
  *outcome = Integer::kFits;
  if (*p != '.' && (*p | 0x20) != 'e') [[likely]] {
    constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
    if (p - begin - negative > kDigitsOf64Bits || m > kMost + negative) [[unlikely]]
      *outcome = Integer::kTooLarge;
    *value = int64_t(negative ? 0 - m : m);
    return p;
  }
  double number;
  bool is_integer;
  p = read_double(begin, &number, &is_integer);
  constexpr double kWhole = 9007199254740992;  // 2^53: beyond, a double may have lost digits
  if (!(number >= -kWhole && number <= kWhole)) {
    *outcome = Integer::kTooLarge;
    *value = 0;
    return p;
  }
  *value = int64_t(number);
  if (double(*value) != number) *outcome = Integer::kFraction;
  return p;
}

}  // namespace sightline::evaluation::coco_json
