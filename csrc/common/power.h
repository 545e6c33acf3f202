// Powers from IEEE + - x / and the square root: the same bits at every ISA level and on CUDA.
#pragma once

#include <cmath>

#include "common/math.h"

namespace sightline {
namespace math {

// An exponent y >= 0, and how x^y is found: whole ones by multiplication, 1/2 by the square root.
template <class T>
struct Exponent {
  T value;
  int whole;  // -1 where it is not

  explicit Exponent(double y)
      : value(static_cast<T>(y)), whole(y <= 64 && y == std::floor(y) ? static_cast<int>(y) : -1) {}
};

// x[i] becomes x[i]^y for x[i] >= 0. Whole exponents multiply the squares x, x^2, x^4 ... that they
// are made of, smallest first. Others are e^(y log x) in double: within 1 ulp for float; for double
// the relative error is below (|y log x| + 1) * 2^-50 (tests/ops/test_assign_task_aligned.py
// measures both).
template <int kCount, class T>
SIGHTLINE_HD void power(T* x /* [kCount] */, const Exponent<T>& y) {
  if (y.value == T(0.5)) {
    for (int i = 0; i < kCount; ++i) x[i] = std::sqrt(x[i]);
  } else if (y.whole < 0) {
    for (int i = 0; i < kCount; ++i)
      x[i] = static_cast<T>(exponential(double(y.value) * logarithm(double(x[i]))));
  } else if (y.whole != 1) {
    T square[kCount];
    for (int i = 0; i < kCount; ++i) square[i] = x[i], x[i] = T(1);
    for (int n = y.whole; n > 0; n >>= 1) {
      if ((n & 1) != 0)
        for (int i = 0; i < kCount; ++i) x[i] *= square[i];
      for (int i = 0; i < kCount; ++i) square[i] *= square[i];
    }
  }
}

}  // namespace math
}  // namespace sightline
