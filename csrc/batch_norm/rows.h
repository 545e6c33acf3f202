// The inner loops of batch norm on the CPU that compute each number on its own: rows of numbers in
// computing type S, with coefficients a column (channels lie side by side) or a row (a channel's
// numbers do). Each is a kernel for run_for_isa.
#pragma once

#include <cstdint>

#include "batch_norm/lanes.h"
#include "batch_norm/recipes.h"
#include "common/isa.h"

namespace sightline {

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

// y = act(u + residual); residual and bits may be absent. Streaming needs rows that begin a line.
template <class Act, Per per>
struct ApplyRows {
  template <Isa level, class S>
  SIGHTLINE_INLINE static void run_at(Rows<const S> x, Rows<const S> residual, Affine<S> affine,
                                      S slope, Rows<S> y, BitRows bits, int64_t rows, int64_t width,
                                      bool streaming) {
    for (int64_t r = 0; r < rows; ++r) {
      const S *p = x.row(r), *z = residual.row(r);
      S* const q = y.row(r);
      Channel<S> channel{};
      if constexpr (per == Per::kRow) channel = affine.at(r);
      // The lanes at p and z, of columns i on.
      const auto compute = [&](const S* p, const S* z, int64_t i, int64_t n,
                               S* to) SIGHTLINE_LAMBDA {
        const S *m = affine.mean + i, *a = affine.scale + i, *b = affine.shift + i;
        const auto u_of = [&](S value, int64_t j) SIGHTLINE_LAMBDA {
          if constexpr (per == Per::kRow)
            return channel.scale * (value - channel.mean) + channel.shift;
          else
            return a[j] * (value - m[j]) + b[j];
        };
        alignas(kLineBytes) S u[kLanes];
        if (z == nullptr) {
          SIGHTLINE_INDEPENDENT
          for (int64_t j = 0; j < kLanes; ++j) u[j] = u_of(p[j], j);
        } else {
          SIGHTLINE_INDEPENDENT
          for (int64_t j = 0; j < kLanes; ++j) u[j] = u_of(p[j], j) + z[j];
        }
        if constexpr (Act::kKinked)
          if (bits.data != nullptr) store_bits(Lanes<level>::positive(u), bits.row(r) + i / 8, n);
        SIGHTLINE_INDEPENDENT
        for (int64_t j = 0; j < kLanes; ++j) to[j] = Act::value(u[j], slope);
      };
      alignas(kLineBytes) S lanes[kLanes];
      int64_t i = 0;
      for (; i + kLanes <= width; i += kLanes) {
        compute(p + i, z == nullptr ? z : z + i, i, kLanes, lanes);
        if (streaming)
          stream_lanes<level>(lanes, q + i);
        else
          Lanes<level>::store_all(lanes, q + i);
      }
      if (i < width) {
        alignas(kLineBytes) S x_end[kLanes], z_end[kLanes];
        Lanes<level>::load(p + i, width - i, x_end);
        if (z != nullptr) Lanes<level>::load(z + i, width - i, z_end);
        compute(x_end, z == nullptr ? z : z_end, i, width - i, lanes);
        Lanes<level>::store(lanes, width - i, q + i);
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

  // Calls f(j, g and t) for the lanes at column i, of which n are in the row; grad is 0 in others.
  template <Isa level, class F>
  SIGHTLINE_INLINE void for_each_lane(int64_t i, int64_t n, F f) const {
    const S* z = residual;
    if constexpr (Recipe::kResidual) z += i;
    if (n == kLanes) return visit(grad + i, from + i, z, i, n, f);
    alignas(kLineBytes) S grad_end[kLanes], from_end[kLanes], residual_end[kLanes];
    Lanes<level>::load(grad + i, n, grad_end);
    Lanes<level>::load(from + i, n, from_end);
    if constexpr (Recipe::kResidual) Lanes<level>::load(residual + i, n, residual_end);
    visit(grad_end, from_end, residual_end, i, n, f);
  }

 private:
  template <class F>
  SIGHTLINE_INLINE void visit(const S* d, const S* p, const S* z, int64_t i, int64_t n, F f) const {
    const S *m = affine.mean + i, *a = affine.scale + i, *b = affine.shift + i;
    const S* const inverse = affine.unscale + i;
    const Channel<S> mine = channel;
    uint32_t word = 0;
    if constexpr (Recipe::kMask) word = load_bits(bits + i / 8, n);
    SIGHTLINE_INDEPENDENT
    for (int64_t j = 0; j < kLanes; ++j) {
      S added = 0;
      if constexpr (Recipe::kResidual) added = z[j];
      const bool positive = (word & (uint32_t(1) << j)) != 0;
      if constexpr (per == Per::kRow)
        f(j, Recipe::at(d[j], p[j], added, positive, mine, slope));
      else
        f(j,
          Recipe::at(d[j], p[j], added, positive, Channel<S>{m[j], a[j], b[j], inverse[j]}, slope));
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
                                      int64_t rows, int64_t width, bool streaming) {
    for (int64_t r = 0; r < rows; ++r) {
      const GradientRow<Recipe, per, S> row(from, r, affine, slope);
      S *const dx = grad_x.row(r), *const dz = grad_residual.row(r);
      for (int64_t i = 0; i < width; i += kLanes) {
        const int64_t n = width - i < kLanes ? width - i : kLanes;
        const int64_t c = per == Per::kRow ? r : i;
        constexpr int64_t kStep = per == Per::kRow ? 0 : 1;
        alignas(kLineBytes) S x[kLanes], z[kLanes];
        if (to_x.factor != nullptr) {
          const S *a = affine.scale + c, *factor = to_x.factor + c, *offset = to_x.offset + c;
          row.template for_each_lane<level>(
              i, n, [&](int64_t j, const Gradient<S>& e) SIGHTLINE_LAMBDA {
                x[j] = a[kStep * j] * e.g + (factor[kStep * j] * e.t + offset[kStep * j]);
                z[j] = e.g;
              });
        } else {
          const S* const a = affine.scale + c;
          row.template for_each_lane<level>(i, n,
                                            [&](int64_t j, const Gradient<S>& e) SIGHTLINE_LAMBDA {
                                              x[j] = a[kStep * j] * e.g;
                                              z[j] = e.g;
                                            });
        }
        if (n < kLanes) {
          Lanes<level>::store(x, n, dx + i);
          if (dz != nullptr) Lanes<level>::store(z, n, dz + i);
        } else if (streaming) {
          stream_lanes<level>(x, dx + i);
          if (dz != nullptr) stream_lanes<level>(z, dz + i);
        } else {
          Lanes<level>::store_all(x, dx + i);
          if (dz != nullptr) Lanes<level>::store_all(z, dz + i);
        }
      }
    }
  }
};

}  // namespace sightline
