// The coefficients of a call on the CPU, in computing type: one a channel, repeated where a row
// holds several positions.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "batch_norm/batch_norm.h"
#include "batch_norm/rows.h"

namespace sightline::batch_norm {

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

// The biased variance; rounding must not leave it below zero, and NaN stays.
inline double variance(double m2, int64_t count) { return m2 < 0 ? 0.0 : m2 / double(count); }

template <class S>
double value_or(const S* p, int64_t i, double otherwise) {
  return p == nullptr ? otherwise : static_cast<double>(p[i]);
}

// What a call knows of its channels; those from `first` on.
template <class S>
struct PerChannel {
  const double *mean, *var;
  const S *weight, *bias;  // or null for 1 and 0
  double eps;

  PerChannel from(int64_t first) const {
    return {mean + first, var + first, weight == nullptr ? weight : weight + first,
            bias == nullptr ? bias : bias + first, eps};
  }
  SIGHTLINE_INLINE double invstd(int64_t c) const { return inverse_std(var[c], eps); }
  SIGHTLINE_INLINE double scale(int64_t c) const {
    return (weight == nullptr ? 1.0 : double(weight[c])) * invstd(c);
  }
};

// u = scale * (x - mean) + shift, in S.
struct SetAffine {
  template <class S>
  SIGHTLINE_INLINE static void run(PerChannel<S> of, int64_t n, S* mean, S* scale, S* shift) {
    SIGHTLINE_INDEPENDENT
    for (int64_t c = 0; c < n; ++c) {
      const double a = of.scale(c), b = of.bias == nullptr ? 0.0 : double(of.bias[c]);
      mean[c] = S(of.mean[c]);
      scale[c] = S(a);
      shift[c] = shift_of<S>(of.mean[c], a, b);
    }
  }
};

// Coefficients of grad_x, from the sums of g and of g * (x - mean) over `count` elements.
struct SetInputGradient {
  template <class S>
  SIGHTLINE_INLINE static void run(PerChannel<S> of, const double* sum, const double* dot,
                                   double count, int64_t n, S* factor, S* offset) {
    SIGHTLINE_INDEPENDENT
    for (int64_t c = 0; c < n; ++c) {
      set_input_gradient(of.scale(c), of.invstd(c), of.mean[c], sum[c] / count, dot[c] / count,
                         factor[c], offset[c]);
    }
  }
};

// dot is of t, and becomes that of x - mean.
struct CentreDots {
  template <class S>
  SIGHTLINE_INLINE static void run(PerChannel<S> of, const double* sum, double* dot, int64_t n) {
    SIGHTLINE_INDEPENDENT
    for (int64_t c = 0; c < n; ++c) dot[c] -= rounded_off<S>(of.mean[c]) * sum[c];
  }
};

struct SetParameterGradients {
  template <class S>
  SIGHTLINE_INLINE static void run(PerChannel<S> of, const double* sum, const double* dot,
                                   int64_t n, S* grad_weight, S* grad_bias) {
    SIGHTLINE_INDEPENDENT
    for (int64_t c = 0; c < n; ++c) {
      grad_weight[c] = S(dot[c] * of.invstd(c));
      grad_bias[c] = S(sum[c]);
    }
  }
};

struct AddTo {
  SIGHTLINE_INLINE static void run(const double* from, double* to, int64_t n) {
    SIGHTLINE_INDEPENDENT
    for (int64_t c = 0; c < n; ++c) to[c] += from[c];
  }
};

// v[c] for c from 0 to n - 1 is repeated where rows hold several positions.
template <class S>
void repeat_columns(S* v, int64_t n, int64_t columns) {
  for (int64_t j = n; j < columns; j += n) std::copy_n(v, n, v + j);
}

// Ranges of channels may be set by several threads where fold is 1.
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

  void set(const PerChannel<S>& all, int64_t first, int64_t n) {
    run_for_isa<SetAffine>(all.from(first), n, mean_.data() + first, scale_.data() + first,
                           shift_.data() + first);
    if (columns_ == channels_) return;
    for (S* v : {mean_.data(), scale_.data(), shift_.data()}) repeat_columns(v, n, columns_);
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

// Those of grad_x.
template <class S>
class InputCoefficients {
 public:
  InputCoefficients(int64_t channels, int64_t fold)
      : channels_(channels), columns_(channels * fold), factor_(columns_), offset_(columns_) {}

  void set(const PerChannel<S>& all, int64_t first, int64_t n, const double* sum, const double* dot,
           int64_t count) {
    run_for_isa<SetInputGradient>(all.from(first), sum, dot, double(count), n,
                                  factor_.data() + first, offset_.data() + first);
    if (columns_ == channels_) return;
    for (S* v : {factor_.data(), offset_.data()}) repeat_columns(v, n, columns_);
  }
  InputGradient<S> at(int64_t first) const {
    return {factor_.data() + first, offset_.data() + first};
  }

 private:
  int64_t channels_, columns_;
  AlignedArray<S> factor_, offset_;
};

}  // namespace sightline::batch_norm
