// The coefficients of a call on the CPU, in computing type: one a channel, repeated where a row
// holds several positions.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "batch_norm/batch_norm.h"
#include "batch_norm/rows.h"

namespace sightline {

// Arrays that loops read again and again start at a cache line: vectors that straddle two lines
// cost half the speed.
template <class S>
class AlignedArray {
 public:
  // With kLanes to spare, zero.
  explicit AlignedArray(int64_t n) : lines_((n + kLanes + kPerLine - 1) / kPerLine) {}
  S* data() { return lines_.data()->values; }
  const S* data() const { return lines_.data()->values; }

 private:
  static constexpr int64_t kPerLine = kLineBytes / sizeof(S);
  struct alignas(kLineBytes) Line {
    S values[kPerLine];
  };
  std::vector<Line> lines_;
};

inline double inverse_std(double var, double eps) { return 1 / std::sqrt(var + eps); }

// The biased variance; rounding must not leave it below zero, and NaN stays.
inline double variance(double m2, int64_t count) { return m2 < 0 ? 0.0 : m2 / double(count); }

template <class S>
double value_or(const S* p, int64_t i, double otherwise) {
  return p == nullptr ? otherwise : static_cast<double>(p[i]);
}

template <class S>
class Coefficients {
 public:
  Coefficients(int64_t channels, int64_t fold, bool unscales)
      : channels_(channels),
        columns_(channels * fold),
        mean_(columns_),
        scale_(columns_),
        shift_(columns_),
        unscale_(unscales ? columns_ : 0),
        unscales_(unscales) {}

  // What rounding the mean to S leaves off goes to the shift, where it costs nothing.
  void set(int64_t c, double mean, double scale, double bias) {
    const S rounded = static_cast<S>(mean);
    const S shift = static_cast<S>(bias - scale * (mean - rounded));
    for (int64_t j = c; j < columns_; j += channels_) {
      mean_.data()[j] = rounded;
      scale_.data()[j] = static_cast<S>(scale);
      shift_.data()[j] = shift;
    }
  }
  void set_unscale(int64_t c, double unscale) {
    for (int64_t j = c; j < columns_; j += channels_) unscale_.data()[j] = static_cast<S>(unscale);
  }
  Affine<S> at(int64_t first) const {
    const S* const scale = scale_.data() + first;
    return {mean_.data() + first, scale, shift_.data() + first,
            unscales_ ? unscale_.data() + first : scale};
  }

 private:
  int64_t channels_, columns_;
  AlignedArray<S> mean_, scale_, shift_, unscale_;
  bool unscales_;
};

// Those of grad_x = scale * g + factor * t + offset; t = x - rounded mean.
template <class S>
class InputCoefficients {
 public:
  InputCoefficients(int64_t channels, int64_t fold)
      : channels_(channels), columns_(channels * fold), factor_(columns_), offset_(columns_) {}

  // From the mean of g and of g * (x - mean).
  void set(int64_t c, double scale, double invstd, double low, double sum, double dot) {
    const double factor = -scale * invstd * invstd * dot;
    for (int64_t j = c; j < columns_; j += channels_) {
      factor_.data()[j] = static_cast<S>(factor);
      offset_.data()[j] = static_cast<S>(-scale * sum - factor * low);
    }
  }
  InputGradient<S> at(int64_t first) const {
    return {factor_.data() + first, offset_.data() + first};
  }

 private:
  int64_t channels_, columns_;
  AlignedArray<S> factor_, offset_;
};

}  // namespace sightline
