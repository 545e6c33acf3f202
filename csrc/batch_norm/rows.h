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
      const T* p = from.row(r);
      S* q = to.row(r);
      SIGHTLINE_INDEPENDENT
      for (int64_t j = 0; j < width; ++j) q[j] = widen(p[j]);
    }
  }
};

struct NarrowRows {
  template <class S, class T>
  SIGHTLINE_INLINE static void run(Rows<const S> from, Rows<T> to, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; ++r) {
      const S* p = from.row(r);
      T* q = to.row(r);
      SIGHTLINE_INDEPENDENT
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
    const S *m = affine.mean, *a = affine.scale, *b = affine.shift;
    for (int64_t r = 0; r < rows; ++r) {
      const S* p = x.row(r);
      S* q = y.row(r);
      if (residual.data == nullptr) {
        SIGHTLINE_INDEPENDENT
        for (int64_t j = 0; j < width; ++j) {
          const int64_t c = kStep * j;
          q[j] = Act::value(a[c] * (p[j] - m[c]) + b[c], slope);
        }
      } else {
        const S* z = residual.row(r);
        SIGHTLINE_INDEPENDENT
        for (int64_t j = 0; j < width; ++j) {
          const int64_t c = kStep * j;
          q[j] = Act::value(a[c] * (p[j] - m[c]) + b[c] + z[j], slope);
        }
      }
    }
  }
};

// g = grad * act'(u + residual): what reaches the residual and the affine part.
template <class Act, int kStep>
struct ResidualGradientRows {
  template <class S>
  SIGHTLINE_INLINE static void run(Rows<const S> grad, Rows<const S> x, Rows<const S> residual,
                                   Affine<S> affine, S slope, Rows<S> g, int64_t rows,
                                   int64_t width) {
    const S *m = affine.mean, *a = affine.scale, *b = affine.shift;
    for (int64_t r = 0; r < rows; ++r) {
      const S *p = x.row(r), *d = grad.row(r), *z = residual.row(r);
      S* q = g.row(r);
      SIGHTLINE_INDEPENDENT
      for (int64_t j = 0; j < width; ++j) {
        const int64_t c = kStep * j;
        q[j] = Act::gradient(d[j], a[c] * (p[j] - m[c]) + b[c] + z[j], slope);
      }
    }
  }
};

// In training dx = scale * g + factor * (x - mean) + offset; in inference dx = scale * g, and
// factor is null. g = grad * act'(u).
template <class S>
struct InputGradient {
  const S *factor, *offset;
};

template <class Act, int kStep>
struct InputGradientRows {
  template <class S>
  SIGHTLINE_INLINE static void run(Rows<const S> grad, Rows<const S> x, Affine<S> affine, S slope,
                                   InputGradient<S> to_x, Rows<S> dx, int64_t rows, int64_t width) {
    const S *m = affine.mean, *a = affine.scale, *b = affine.shift;
    const S *f = to_x.factor, *k = to_x.offset;
    for (int64_t r = 0; r < rows; ++r) {
      const S *p = x.row(r), *d = grad.row(r);
      S* q = dx.row(r);
      if (f != nullptr) {
        SIGHTLINE_INDEPENDENT
        for (int64_t j = 0; j < width; ++j) {
          const int64_t c = kStep * j;
          const S t = p[j] - m[c];
          q[j] = a[c] * Act::gradient(d[j], a[c] * t + b[c], slope) + (f[c] * t + k[c]);
        }
      } else {
        SIGHTLINE_INDEPENDENT
        for (int64_t j = 0; j < width; ++j) {
          const int64_t c = kStep * j;
          q[j] = a[c] * Act::gradient(d[j], a[c] * (p[j] - m[c]) + b[c], slope);
        }
      }
    }
  }
};

// The mean of each column.
struct AverageRows {
  template <class S>
  SIGHTLINE_INLINE static void run(Rows<const S> x, S* mean, int64_t rows, int64_t width) {
    for (int64_t j = 0; j < width; ++j) mean[j] = 0;
    for (int64_t r = 0; r < rows; ++r) {
      const S* p = x.row(r);
      SIGHTLINE_INDEPENDENT
      for (int64_t j = 0; j < width; ++j) mean[j] += p[j];
    }
    const S share = S(1) / static_cast<S>(rows);
    SIGHTLINE_INDEPENDENT
    for (int64_t j = 0; j < width; ++j) mean[j] *= share;
  }
};

// Adds to each column's sums of x - origin and of its square. Row by row, with the sums in the
// first-level cache: visiting several rows at a time halves the speed of reading, since the
// prefetchers of the hardware do not follow it (measured on Zen 4).
struct AddMoments {
  template <class S>
  SIGHTLINE_INLINE static void run(Rows<const S> x, const S* origin, S* sum, S* square,
                                   int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; ++r) {
      const S* p = x.row(r);
      SIGHTLINE_INDEPENDENT
      for (int64_t j = 0; j < width; ++j) {
        const S d = p[j] - origin[j];
        sum[j] += d;
        square[j] += d * d;
      }
    }
  }
};

// Adds to each column's sums of g and of g * (x - mean), where g = grad * act'(u).
template <class Act, int kStep>
struct AddGradients {
  template <class S>
  SIGHTLINE_INLINE static void run(Rows<const S> grad, Rows<const S> x, Affine<S> affine, S slope,
                                   S* sum, S* dot, int64_t rows, int64_t width) {
    const S *m = affine.mean, *a = affine.scale, *b = affine.shift;
    for (int64_t r = 0; r < rows; ++r) {
      const S *p = x.row(r), *d = grad.row(r);
      SIGHTLINE_INDEPENDENT
      for (int64_t j = 0; j < width; ++j) {
        const int64_t c = kStep * j;
        const S t = p[j] - m[c];
        const S g = Act::gradient(d[j], a[c] * t + b[c], slope);
        sum[j] += g;
        dot[j] += g * t;
      }
    }
  }
};

// Chan's merge, in columns: {n_a, mean, m2} takes in n_b numbers whose sums about origin are given.
struct MergeSums {
  template <class S>
  SIGHTLINE_INLINE static void run(double n_a, double* mean, double* m2, double n_b,
                                   const S* origin, const S* sum, const S* square, int64_t width) {
    double *ma = mean, *va = m2;
    const S *k = origin, *s = sum, *q = square;
    if (n_b == 0) return;
    const double share = n_b / (n_a + n_b), spread = n_a * share, inverse = 1 / n_b;
    SIGHTLINE_INDEPENDENT
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
    double *ma = mean, *va = m2;
    const double *mb = mean_b, *vb = m2_b;
    const double share = n_b / (n_a + n_b), spread = n_a * share;
    SIGHTLINE_INDEPENDENT
    for (int64_t j = 0; j < width; ++j) {
      const double delta = mb[j] - ma[j];
      ma[j] += delta * share;
      va[j] += vb[j] + delta * delta * spread;
    }
  }
};

}  // namespace sightline
