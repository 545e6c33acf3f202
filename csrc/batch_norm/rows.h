// The inner loops of batch norm on the CPU: rows of numbers in computing type S, one coefficient a
// column (kStep = 1) or one for all columns (kStep = 0). Each is a kernel for run_for_isa.
#pragma once

#include <cstdint>

#include "batch_norm/activation.h"
#include "common/half.h"

namespace sightline {

template <class S>
struct Rows {
  S* data = nullptr;
  int64_t stride = 0;
  SIGHTLINE_INLINE S* row(int64_t r) const { return data + r * stride; }
};

// u = scale * (x - mean) + shift, in columns.
template <class S>
struct Affine {
  const S *mean, *scale, *shift;
};

struct WidenRows {
  template <class T, class S>
  SIGHTLINE_INLINE static void run(Rows<const T> from, Rows<S> to, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; ++r) {
      const T* __restrict p = from.row(r);
      S* __restrict q = to.row(r);
      for (int64_t j = 0; j < width; ++j) q[j] = widen(p[j]);
    }
  }
};

struct NarrowRows {
  template <class S, class T>
  SIGHTLINE_INLINE static void run(Rows<const S> from, Rows<T> to, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; ++r) {
      const S* __restrict p = from.row(r);
      T* __restrict q = to.row(r);
      for (int64_t j = 0; j < width; ++j) q[j] = narrow<T>(p[j]);
    }
  }
};

// y = act(u + residual); residual may be absent.
template <class Act, int kStep>
struct ApplyRows {
  template <class S>
  SIGHTLINE_INLINE static void run(Rows<const S> x, Rows<const S> residual, Affine<S> affine,
                                   S slope, Rows<S> y, int64_t rows, int64_t width) {
    const S* __restrict m = affine.mean, * __restrict a = affine.scale, * __restrict b = affine.shift;
    for (int64_t r = 0; r < rows; ++r) {
      const S* __restrict p = x.row(r);
      S* __restrict q = y.row(r);
      if (residual.data == nullptr) {
        for (int64_t j = 0; j < width; ++j) {
          const int64_t c = kStep * j;
          q[j] = Act::value(a[c] * (p[j] - m[c]) + b[c], slope);
        }
      } else {
        const S* __restrict z = residual.row(r);
        for (int64_t j = 0; j < width; ++j) {
          const int64_t c = kStep * j;
          q[j] = Act::value(a[c] * (p[j] - m[c]) + b[c] + z[j], slope);
        }
      }
    }
  }
};

// g = grad * act'(u + residual): what reaches the affine part and the residual.
template <class Act, int kStep>
struct ActivationGradientRows {
  template <class S>
  SIGHTLINE_INLINE static void run(Rows<const S> grad, Rows<const S> x, Rows<const S> residual,
                                   Affine<S> affine, S slope, Rows<S> g, int64_t rows,
                                   int64_t width) {
    const S* __restrict m = affine.mean, * __restrict a = affine.scale, * __restrict b = affine.shift;
    for (int64_t r = 0; r < rows; ++r) {
      const S* __restrict p = x.row(r), * __restrict d = grad.row(r);
      S* __restrict q = g.row(r);
      if (residual.data == nullptr) {
        for (int64_t j = 0; j < width; ++j) {
          const int64_t c = kStep * j;
          q[j] = Act::gradient(d[j], a[c] * (p[j] - m[c]) + b[c], slope);
        }
      } else {
        const S* __restrict z = residual.row(r);
        for (int64_t j = 0; j < width; ++j) {
          const int64_t c = kStep * j;
          q[j] = Act::gradient(d[j], a[c] * (p[j] - m[c]) + b[c] + z[j], slope);
        }
      }
    }
  }
};

// In training dx = scale * g + slope * (x - mean) + offset; in inference dx = scale * g.
template <class S>
struct InputGradient {
  const S *scale, *slope, *offset;
};

template <int kStep>
struct InputGradientRows {
  template <class S>
  SIGHTLINE_INLINE static void run(Rows<const S> g, Rows<const S> x, const S* mean,
                                   InputGradient<S> to_x, Rows<S> dx, int64_t rows, int64_t width) {
    const S* __restrict m = mean, * __restrict a = to_x.scale, * __restrict b = to_x.slope, * __restrict k = to_x.offset;
    for (int64_t r = 0; r < rows; ++r) {
      const S* __restrict p = x.row(r), * __restrict d = g.row(r);
      S* __restrict q = dx.row(r);
      for (int64_t j = 0; j < width; ++j) {
        const int64_t c = kStep * j;
        q[j] = a[c] * d[j] + (b[c] * (p[j] - m[c]) + k[c]);
      }
    }
  }
};

template <int kStep>
struct ScaleRows {
  template <class S>
  SIGHTLINE_INLINE static void run(Rows<const S> g, const S* scale, Rows<S> dx, int64_t rows,
                                   int64_t width) {
    const S* __restrict a = scale;
    for (int64_t r = 0; r < rows; ++r) {
      const S* __restrict d = g.row(r);
      S* __restrict q = dx.row(r);
      for (int64_t j = 0; j < width; ++j) q[j] = a[kStep * j] * d[j];
    }
  }
};

// Adds to each column's sums of x - origin and of its square. Four rows a visit: the sums live in
// the first-level cache, and this quarters their traffic.
struct AddMoments {
  template <class S>
  SIGHTLINE_INLINE static void run(Rows<const S> x, const S* origin, S* sum, S* square,
                                   int64_t rows, int64_t width) {
    const S* __restrict k = origin;
    S* __restrict s = sum, * __restrict q = square;
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) {
      const S* __restrict p0 = x.row(r), * __restrict p1 = x.row(r + 1), * __restrict p2 = x.row(r + 2), * __restrict p3 = x.row(r + 3);
      for (int64_t j = 0; j < width; ++j) {
        const S d0 = p0[j] - k[j], d1 = p1[j] - k[j], d2 = p2[j] - k[j], d3 = p3[j] - k[j];
        s[j] += (d0 + d1) + (d2 + d3);
        q[j] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);
      }
    }
    for (; r < rows; ++r) {
      const S* __restrict p = x.row(r);
      for (int64_t j = 0; j < width; ++j) {
        const S d = p[j] - k[j];
        s[j] += d;
        q[j] += d * d;
      }
    }
  }
};

// Adds to each column's sums of g and of g * (x - mean).
template <int kStep>
struct AddGradients {
  template <class S>
  SIGHTLINE_INLINE static void run(Rows<const S> g, Rows<const S> x, const S* mean, S* sum, S* dot,
                                   int64_t rows, int64_t width) {
    const S* __restrict m = mean;
    S* __restrict s = sum, * __restrict q = dot;
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) {
      const S* __restrict p0 = x.row(r), * __restrict p1 = x.row(r + 1), * __restrict p2 = x.row(r + 2), * __restrict p3 = x.row(r + 3);
      const S* __restrict d0 = g.row(r), * __restrict d1 = g.row(r + 1), * __restrict d2 = g.row(r + 2), * __restrict d3 = g.row(r + 3);
      for (int64_t j = 0; j < width; ++j) {
        const S k = m[kStep * j];
        s[j] += (d0[j] + d1[j]) + (d2[j] + d3[j]);
        q[j] += (d0[j] * (p0[j] - k) + d1[j] * (p1[j] - k)) +
                (d2[j] * (p2[j] - k) + d3[j] * (p3[j] - k));
      }
    }
    for (; r < rows; ++r) {
      const S* __restrict p = x.row(r), * __restrict d = g.row(r);
      for (int64_t j = 0; j < width; ++j) {
        s[j] += d[j];
        q[j] += d[j] * (p[j] - m[kStep * j]);
      }
    }
  }
};

// Chan's merge, in columns: {n_a, mean, m2} takes in n_b numbers whose sums about origin are given.
struct MergeSums {
  template <class S>
  SIGHTLINE_INLINE static void run(double n_a, double* mean, double* m2, double n_b,
                                   const S* origin, const S* sum, const S* square, int64_t width) {
    double* __restrict ma = mean, * __restrict va = m2;
    const S* __restrict k = origin, * __restrict s = sum, * __restrict q = square;
    const double share = n_b / (n_a + n_b), spread = n_a * share, inverse = 1 / n_b;
    for (int64_t j = 0; j < width; ++j) {
      const double offset = s[j] * inverse;
      const double delta = k[j] + offset - ma[j];
      ma[j] += delta * share;
      va[j] += (q[j] - s[j] * offset) + delta * delta * spread;
    }
  }
};

struct MergeMoments {
  SIGHTLINE_INLINE static void run(double n_a, double* mean, double* m2, double n_b,
                                   const double* mean_b, const double* m2_b, int64_t width) {
    double* __restrict ma = mean, * __restrict va = m2;
    const double* __restrict mb = mean_b, * __restrict vb = m2_b;
    const double share = n_b / (n_a + n_b), spread = n_a * share;
    for (int64_t j = 0; j < width; ++j) {
      const double delta = mb[j] - ma[j];
      ma[j] += delta * share;
      va[j] += vb[j] + delta * delta * spread;
    }
  }
};

}  // namespace sightline
