// Transcendentals from IEEE + - x / alone, so that every ISA level and CUDA give the same bits.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "common/macros.h"

namespace sightline {

template <class T>
SIGHTLINE_HD T larger(T a, T b) {
  return a > b ? a : b;  // b where a is NaN
}
template <class T>
SIGHTLINE_HD T smaller(T a, T b) {
  return a < b ? a : b;  // b where a is NaN
}

// Of a vector (a GNU extension) what it holds, of a number itself.
template <class V>
struct ElementOf {
  using Type = V;
};
template <class V>
  requires requires(V v) { v[0]; }
struct ElementOf<V> {
  using Type = std::remove_cvref_t<decltype(V{}[0])>;
};
template <class V>
using Element = typename ElementOf<V>::Type;

namespace math {

template <class T>
inline constexpr T kPi = T(3.141592653589793);

// arctangent(x) - x for |x| <= tan(pi / 8); coefficients of S. Moshier's Cephes library.
SIGHTLINE_HD float arctangent_tail(float x) {
  const float z = x * x;
  float p = 8.05374449538e-2f;
  p = p * z - 1.38776856032e-1f;
  p = p * z + 1.99777106478e-1f;
  p = p * z - 3.33329491539e-1f;
  return p * z * x;
}
SIGHTLINE_HD double arctangent_tail(double x) {
  const double z = x * x;
  double p = -8.750608600031904122785e-1;
  p = p * z - 1.615753718733365076637e1;
  p = p * z - 7.500855792314704667340e1;
  p = p * z - 1.228866684490136173410e2;
  p = p * z - 6.485021904942025371773e1;
  double q = z + 2.485846490142306297962e1;
  q = q * z + 1.650270098316988542046e2;
  q = q * z + 4.328810604912902668951e2;
  q = q * z + 4.853903996359136964868e2;
  q = q * z + 1.945506571482613964425e2;
  return x * (z * (p / q));
}

// arctangent(x) for x >= 0, infinity included; within 2 ulp (tests/ops/test_iou.py measures it).
template <class T>
SIGHTLINE_HD T arctangent(T x) {
  constexpr T kTanPi8 = T(0.4142135623730951);
  constexpr T kTan3Pi8 = T(2.414213562373095);
  // What rounding pi / 2 to T leaves off.
  constexpr T kPi2Low =
      sizeof(T) == sizeof(float) ? T(-4.371138828673793e-08) : T(6.123233995736766e-17);
  const bool steep = x > kTan3Pi8;
  const bool middle = x > kTanPi8 && !steep;
  const T reduced = steep ? T(-1) / x : (middle ? (x - T(1)) / (x + T(1)) : x);
  const T base = steep ? kPi<T> / 2 : (middle ? kPi<T> / 4 : T(0));
  const T low = steep ? kPi2Low : (middle ? kPi2Low / 2 : T(0));
  return base + (reduced + (arctangent_tail(reduced) + low));
}

// exponential(r) for |r| <= log(2) / 2, a number or a vector; coefficients of S. Moshier's Cephes
// library.
template <class V>
SIGHTLINE_HD V exponential_near_0(V r) {
  if constexpr (std::is_same_v<Element<V>, float>) {
    V p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return p * (r * r) + r + 1.0f;
  } else {
    const V z = r * r;
    V p = z * 1.26177193074810590878e-4 + 3.02994407707441961300e-2;
    p = (p * z + 9.99999999999999999910e-1) * r;
    V q = z * 3.00198505138664455042e-6 + 2.52448340349684104192e-3;
    q = q * z + 2.27265548208155028766e-1;
    q = q * z + 2.00000000000000000009e0;
    return 1.0 + 2.0 * (p / (q - p));
  }
}

// What a binary format is to exponential(): log2_high has few enough bits that its products with
// a whole number are exact.
template <class T>
struct ExponentialFormat;
template <>
struct ExponentialFormat<float> {
  using Bits = uint32_t;
  static constexpr int kMantissa = 23, kBias = 127;
  static constexpr float kRound = 0x1.8p23f;  // adding it rounds to a whole number, in the low bits
  static constexpr float kLog2High = 0.693359375f, kLog2Low = -2.12194440e-4f;
  static constexpr float kLowest = -104.0f, kHighest = 89.0f;  // beyond: 0 and infinity
};
template <>
struct ExponentialFormat<double> {
  using Bits = uint64_t;
  static constexpr int kMantissa = 52, kBias = 1023;
  static constexpr double kRound = 0x1.8p52;
  static constexpr double kLog2High = 6.93145751953125e-1, kLog2Low = 1.42860682030941723212e-6;
  static constexpr double kLowest = -746.0, kHighest = 710.0;
};

// e^x, overflow to infinity and NaN included; within 2 ulp (tests/ops/test_batch_norm.py measures
// it through SiLU).
template <class T>
SIGHTLINE_HD T exponential(T x) {
  using Format = ExponentialFormat<T>;
  using Bits = typename Format::Bits;
  constexpr T kLog2E = T(1.44269504088896340735992468100189214L);
  x = x < Format::kLowest ? Format::kLowest : (x > Format::kHighest ? Format::kHighest : x);
  const T rounded = x * kLog2E + Format::kRound;
  const T n = rounded - Format::kRound;
  const T r = (x - n * Format::kLog2High) - n * Format::kLog2Low;
  // 2^n in two factors, since n reaches past the exponents of normal numbers on both sides.
  const Bits exponent = __builtin_bit_cast(Bits, rounded) -
                        __builtin_bit_cast(Bits, Format::kRound) + 2 * Format::kBias;
  const Bits first = exponent / 2, second = exponent - first;
  return exponential_near_0(r) * __builtin_bit_cast(T, Bits(first << Format::kMantissa)) *
         __builtin_bit_cast(T, Bits(second << Format::kMantissa));
}

template <class T>
struct SineCosine {
  T sine, cosine;
};

// Of |x| <= pi / 4 and a little more; coefficients of S. Moshier's Cephes library. Within 1 ulp.
SIGHTLINE_HD SineCosine<double> sine_cosine_near_0(double x) {
  const double z = x * x;
  double p = 1.58962301576546568060e-10;
  p = p * z - 2.50507477628578072866e-8;
  p = p * z + 2.75573136213857245213e-6;
  p = p * z - 1.98412698295895385996e-4;
  p = p * z + 8.33333333332211858878e-3;
  p = p * z - 1.66666666666666307295e-1;
  double q = -1.13585365213876817300e-11;
  q = q * z + 2.08757008419747316778e-9;
  q = q * z - 2.75573141792967388112e-7;
  q = q * z + 2.48015872888517045348e-5;
  q = q * z - 1.38888888888730564116e-3;
  q = q * z + 4.16666666666665929218e-2;
  return {x + x * (z * p), 1.0 - (0.5 * z - z * z * q)};
}

// An angle as whole quarter turns and a rest of at most an eighth of a turn, in radians.
struct QuarterTurns {
  double rest;
  bool odd;  // the number of quarter turns
};

// Adding it rounds to a whole number.
inline constexpr double kRoundToWhole = 0x1.8p52;

// Exact up to the last step, from degrees to radians; the rest lies in (-45, 45] degrees.
SIGHTLINE_HD QuarterTurns quarter_turns_of_degrees(double degrees) {
  constexpr double kExact = 0x1p30;  // up to here, 90 times a whole number leaves no bit behind
  if (std::fabs(degrees) > kExact) degrees = std::fmod(degrees, 360.0);
  double turns = (degrees * (1.0 / 90.0) + kRoundToWhole) - kRoundToWhole;
  double rest = degrees - turns * 90.0;
  // The other side of a tie, for one form of every direction.
  const double over = rest > 45.0 ? 1.0 : (rest <= -45.0 ? -1.0 : 0.0);
  turns += over;
  rest -= over * 90.0;
  return {rest * (kPi<double> / 180.0), (static_cast<int64_t>(turns) & 1) != 0};
}

// Beyond kExact the angle is first reduced by 2 pi as a double, which moves it by less than half
// of its last bit.
SIGHTLINE_HD QuarterTurns quarter_turns_of_radians(double radians) {
  constexpr double kExact = 0x1p20;
  // pi / 2 in three parts; the first two have few enough bits for exact products.
  constexpr double kHigh = 2 * 7.85398125648498535156e-1;
  constexpr double kMiddle = 2 * 3.77489470793079817668e-8;
  constexpr double kLow = 2 * 2.69515142907905952645e-15;
  if (std::fabs(radians) > kExact) radians = std::fmod(radians, 2 * kPi<double>);
  const double turns = (radians * (2.0 / kPi<double>)+kRoundToWhole) - kRoundToWhole;
  const double rest = ((radians - turns * kHigh) - turns * kMiddle) - turns * kLow;
  return {rest, (static_cast<int64_t>(turns) & 1) != 0};
}

// logarithm(1 + m) for sqrt(1/2) <= 1 + m < sqrt(2), less m - m^2 / 2; coefficients of S. Moshier's
// Cephes library.
SIGHTLINE_HD float logarithm_tail(float m) {
  float p = 7.0376836292e-2f;
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  return p * m * (m * m);
}
SIGHTLINE_HD double logarithm_tail(double m) {
  double p = 1.01875663804580931796e-4;
  p = p * m + 4.97494994976747001425e-1;
  p = p * m + 4.70579119878881725854e0;
  p = p * m + 1.44989225341610930846e1;
  p = p * m + 1.79368678507819816313e1;
  p = p * m + 7.70838733755885391666e0;
  double q = m + 1.12873587189167450590e1;
  q = q * m + 4.52279145837532221105e1;
  q = q * m + 8.29875266912776603211e1;
  q = q * m + 7.11544750618563894466e1;
  q = q * m + 2.31251620126765340583e1;
  return m * (m * m * (p / q));
}

// What a binary format is to logarithm(): the bits of its numbers, and a scale that makes subnormal
// numbers normal.
template <class T>
struct LogarithmFormat;
template <>
struct LogarithmFormat<float> {
  using Bits = uint32_t;
  static constexpr Bits kRootHalf = 0x3f3504f3u;  // sqrt(1/2)
  static constexpr Bits kExponentOffset =
      0x4b000000u;  // 2^23: low bits of a sum are a whole number
  static constexpr float kExponentBase = 0x1p23f;
  static constexpr float kNormal = 0x1p-126f, kScale = 0x1p25f, kScaleLog2 = 25.0f;
};
template <>
struct LogarithmFormat<double> {
  using Bits = uint64_t;
  static constexpr Bits kRootHalf = 0x3fe6a09e667f3bcdu;
  static constexpr Bits kExponentOffset = 0x4330000000000000u;
  static constexpr double kExponentBase = 0x1p52;
  static constexpr double kNormal = 0x1p-1022, kScale = 0x1p54, kScaleLog2 = 54.0;
};

// Natural logarithm: -inf of 0, NaN of a negative number, subnormal numbers and infinity included;
// within 2 ulp (tests/ops/test_boxes.py measures it).
template <class T>
SIGHTLINE_HD T logarithm(T x) {
  using Format = LogarithmFormat<T>;
  using Bits = typename Format::Bits;
  constexpr T kInf = std::numeric_limits<T>::infinity();
  constexpr int kMantissa = ExponentialFormat<T>::kMantissa;
  const bool small = x < Format::kNormal;
  const Bits bits = __builtin_bit_cast(Bits, small ? x * Format::kScale : x);
  // x = 2^n * (1 + m) with 1 + m from sqrt(1/2) to sqrt(2). n is biased until the last step, so
  // that it stays positive.
  const Bits shifted =
      bits - Format::kRootHalf + (Bits(2 * ExponentialFormat<T>::kBias) << kMantissa);
  const Bits biased = shifted >> kMantissa;
  const T n = __builtin_bit_cast(T, Bits(biased | Format::kExponentOffset)) -
              (Format::kExponentBase + T(2 * ExponentialFormat<T>::kBias)) -
              (small ? Format::kScaleLog2 : T(0));
  const Bits mantissa = bits - ((biased - 2 * ExponentialFormat<T>::kBias) << kMantissa);
  const T m = __builtin_bit_cast(T, mantissa) - T(1);
  const T low = logarithm_tail(m) + n * ExponentialFormat<T>::kLog2Low - T(0.5) * (m * m);
  const T finite = (m + low) + n * ExponentialFormat<T>::kLog2High;
  return x > T(0) ? (x < kInf ? finite : x)
                  : (x == T(0) ? -kInf : std::numeric_limits<T>::quiet_NaN());
}

}  // namespace math
}  // namespace sightline
