// The inner loops of batch norm on the CPU that compute each number on its own: rows of numbers in
// computing type S, with coefficients a column (channels lie side by side) or a row (a channel's
// numbers do). Each is a kernel for run_for_isa.
#pragma once

#include <cstdint>

#include "batch_norm/lanes.h"
#include "batch_norm/recipes.h"
#include "common/isa.h"

namespace sightline::batch_norm {

template <class S>
struct Rows {
  S* data = nullptr;
  int64_t stride = 0;
  SIGHTLINE_INLINE S* row(int64_t r) const { return data == nullptr ? data : data + r * stride; }
};

// Rows of bits, each from a byte on, the first number in the lowest bit.
struct BitRows {
  uint8_t* data = nullptr;
  int64_t stride = 0;  // in bytes
  SIGHTLINE_INLINE uint8_t* row(int64_t r) const {
    return data == nullptr ? data : data + r * stride;
  }
};

enum class Per { kRow, kColumn };

// Coefficients, a row or a column; kLanes more than there are columns may be read.
template <class S>
struct Affine {
  const S *mean, *scale, *shift, *unscale;
  SIGHTLINE_INLINE Channel<S> at(int64_t j) const {
    return {mean[j], scale[j], shift[j], unscale[j]};
  }
};

// One channel for a whole row, or vectors of those at column i.
template <Per per, Isa level, class S>
SIGHTLINE_INLINE auto channel_at(const Channel<S>& of_row, const Affine<S>& affine, int64_t i) {
  if constexpr (per == Per::kRow) {
    return of_row;
  } else {
    using V = Vectors<level, S>;
    return Channel<typename V::Type>{V::load(affine.mean + i), V::load(affine.scale + i),
                                     V::load(affine.shift + i), V::load(affine.unscale + i)};
  }
}

// What a row's kLanes go to: all of them, or the first n.
template <Isa level, class S>
SIGHTLINE_INLINE void put_lanes(const typename Vectors<level, S>::Type* from, S* to, int64_t n,
                                bool streaming) {
  using V = Vectors<level, S>;
  if (n == kLanes && !streaming) {
    for (int64_t k = 0; k < V::kCount; ++k) V::store(from[k], to + k * V::kWidth);
    return;
  }
  alignas(kLineBytes) S lanes[kLanes];
  for (int64_t k = 0; k < V::kCount; ++k) V::store(from[k], lanes + k * V::kWidth);
  if (n == kLanes)
    stream_lanes<level>(lanes, to);
  else
    Lanes<level>::store(lanes, n, to);
}

// y = act(u + residual); residual and bits may be absent. Streaming needs rows that begin a line.
template <class Act, Per per>
struct ApplyRows {
  template <Isa level, class S>
  SIGHTLINE_INLINE static void run_at(Rows<const S> x, Rows<const S> residual, Affine<S> affine,
                                      S slope, Rows<S> y, BitRows bits, int64_t rows, int64_t width,
                                      bool streaming) {
    using V = Vectors<level, S>;
    for (int64_t r = 0; r < rows; ++r) {
      const S *p = x.row(r), *z = residual.row(r);
      S* const q = y.row(r);
      Channel<S> channel{};
      if constexpr (per == Per::kRow) channel = affine.at(r);
      // The lanes at p and z, of which n are in the row, go to column i.
      const auto apply = [&](const S* p, const S* z, int64_t i, int64_t n) SIGHTLINE_LAMBDA {
        typename V::Type u[V::kCount];
        for (int64_t k = 0; k < V::kCount; ++k) {
          const int64_t j = k * V::kWidth;
          const auto c = channel_at<per, level>(channel, affine, i + j);
          u[k] = c.scale * (V::load(p + j) - c.mean) + c.shift;
          if (z != nullptr) u[k] += V::load(z + j);
        }
        if constexpr (Act::kKinked) {
          if (bits.data != nullptr) {
            alignas(kLineBytes) S lanes[kLanes];
            for (int64_t k = 0; k < V::kCount; ++k) V::store(u[k], lanes + k * V::kWidth);
            store_bits(Lanes<level>::positive(lanes), bits.row(r) + i / 8, n);
          }
        }
        for (int64_t k = 0; k < V::kCount; ++k) u[k] = Act::value(u[k], slope);
        put_lanes<level>(u, q + i, n, streaming);
      };
      int64_t i = 0;
      for (; i + kLanes <= width; i += kLanes) apply(p + i, z == nullptr ? z : z + i, i, kLanes);
      if (i < width) {
        alignas(kLineBytes) S x_end[kLanes], z_end[kLanes];
        Lanes<level>::load(p + i, width - i, x_end);
        if (z != nullptr) Lanes<level>::load(z + i, width - i, z_end);
        apply(x_end, z == nullptr ? z : z_end, i, width - i);
      }
    }
  }
};

// What a backward pass reads: grad, what Recipe starts from (x or y), and residual or bits.
template <class S>
struct GradientRows {
  Rows<const S> grad, from, residual;
  BitRows bits;
};

// One row of GradientRows, for a Recipe.
template <class Recipe, Per per, class S>
struct GradientRow {
  const S *grad, *from, *residual;
  const uint8_t* bits;
  Affine<S> affine;
  Channel<S> channel{};  // of the row
  S slope;

  SIGHTLINE_INLINE GradientRow(const GradientRows<S>& rows, int64_t r,
                               const Affine<S>& coefficients, S negative_slope)
      : grad(rows.grad.row(r)),
        from(rows.from.row(r)),
        residual(rows.residual.row(r)),
        bits(rows.bits.row(r)),
        affine(coefficients),
        slope(negative_slope) {
    if constexpr (per == Per::kRow) channel = coefficients.at(r);
  }

  // Calls f(k, g and t) for the vectors at column i, of whose lanes n are in the row; grad is 0 in
  // others.
  template <Isa level, class F>
  SIGHTLINE_INLINE void for_each_vector(int64_t i, int64_t n, F f) const {
    const S* z = residual;
    if constexpr (Recipe::kResidual) z += i;
    if (n == kLanes) return visit<level>(grad + i, from + i, z, i, n, f);
    alignas(kLineBytes) S grad_end[kLanes], from_end[kLanes], residual_end[kLanes];
    Lanes<level>::load(grad + i, n, grad_end);
    Lanes<level>::load(from + i, n, from_end);
    if constexpr (Recipe::kResidual) Lanes<level>::load(residual + i, n, residual_end);
    visit<level>(grad_end, from_end, residual_end, i, n, f);
  }

 private:
  template <Isa level, class F>
  SIGHTLINE_INLINE void visit(const S* d, const S* p, const S* z, int64_t i, int64_t n, F f) const {
    using V = Vectors<level, S>;
    uint32_t word = 0;
    if constexpr (Recipe::kMask) word = load_bits(bits + i / 8, n);
    for (int64_t k = 0; k < V::kCount; ++k) {
      const int64_t j = k * V::kWidth;
      typename V::Type added{};
      if constexpr (Recipe::kResidual) added = V::load(z + j);
      f(k, Recipe::at(V::load(d + j), V::load(p + j), added, V::chosen(word, k),
                      channel_at<per, level>(channel, affine, i + j), slope));
    }
  }
};

// In training dx = scale * g + factor * t + offset; in inference dx = scale * g, and factor is
// null. g goes to grad_residual where there is one.
template <class S>
struct InputGradient {
  const S *factor, *offset;
};

template <class Recipe, Per per>
struct InputGradientRows {
  template <Isa level, class S>
  SIGHTLINE_INLINE static void run_at(GradientRows<S> from, Affine<S> affine, S slope,
                                      InputGradient<S> to_x, Rows<S> grad_x, Rows<S> grad_residual,
                                      int64_t rows, int64_t width, bool x_streams,
                                      bool residual_streams) {
    using V = Vectors<level, S>;
    using Vector = typename V::Type;
    const bool training = to_x.factor != nullptr;
    // A row's number, or the numbers at column i.
    const auto at = [](const S* numbers, int64_t r, int64_t i) SIGHTLINE_LAMBDA {
      if constexpr (per == Per::kRow)
        return numbers[r];
      else
        return V::load(numbers + i);
    };
    for (int64_t r = 0; r < rows; ++r) {
      const GradientRow<Recipe, per, S> row(from, r, affine, slope);
      S *const dx = grad_x.row(r), *const dz = grad_residual.row(r);
      for (int64_t i = 0; i < width; i += kLanes) {
        const int64_t n = width - i < kLanes ? width - i : kLanes;
        Vector x[V::kCount], z[V::kCount];
        row.template for_each_vector<level>(
            i, n, [&](int64_t k, const Gradient<Vector>& e) SIGHTLINE_LAMBDA {
              const int64_t j = i + k * V::kWidth;
              x[k] = at(affine.scale, r, j) * e.g;
              if (training) x[k] += at(to_x.factor, r, j) * e.t + at(to_x.offset, r, j);
              z[k] = e.g;
            });
        put_lanes<level>(x, dx + i, n, x_streams);
        if (dz != nullptr) put_lanes<level>(z, dz + i, n, residual_streams);
      }
    }
  }
};

}  // namespace sightline::batch_norm
