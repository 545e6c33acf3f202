// Transcendentals from IEEE + - x / alone, so that every ISA level and CUDA give the same bits.
#pragma once

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

}  // namespace math
}  // namespace sightline
