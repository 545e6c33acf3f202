// The map from output to input of one picture, for host and device: its inverse, and how many
// samples an output pixel takes.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/macros.h"

namespace sightline::warp {

inline constexpr int32_t kMaxSamples = 16;  // along one axis of an output pixel
inline constexpr double kSlack = 0.25;      // samples may be this much further apart than one pixel

struct Map {
  double m[9];                   // homogeneous, from pixels of the output to those of the input
  int32_t samples_x, samples_y;  // of one output pixel
  bool perspective;
  bool valid;  // otherwise every pixel is outside
};

// Of the derivative (x, y) of the map along one axis of the output.
SIGHTLINE_HD int32_t samples_along(double x, double y) {
  const double length = std::sqrt(x * x + y * y) - kSlack;
  if (!(length > 1.0)) return 1;  // NaN, too
  if (length >= kMaxSamples) return kMaxSamples;
  const int32_t whole = static_cast<int32_t>(length);
  return whole + (whole < length ? 1 : 0);
}

// The inverse of matrix [3, 3], by cofactors: that of an affine matrix has exactly 0, 0, 1 below.
SIGHTLINE_HD Map inverse_map(const double* matrix, int64_t height, int64_t width, bool antialias) {
  const double a = matrix[0], b = matrix[1], c = matrix[2];
  const double d = matrix[3], e = matrix[4], f = matrix[5];
  const double g = matrix[6], h = matrix[7], i = matrix[8];
  const double first = e * i - f * h, second = f * g - d * i, third = d * h - e * g;
  const double determinant = (a * first + b * second) + c * third;
  Map map{{first / determinant, (c * h - b * i) / determinant, (b * f - c * e) / determinant,
           second / determinant, (a * i - c * g) / determinant, (c * d - a * f) / determinant,
           third / determinant, (b * g - a * h) / determinant, (a * e - b * d) / determinant},
          1,
          1,
          true,
          true};
  const double* m = map.m;
  for (int k = 0; k < 9; ++k) map.valid = map.valid && m[k] - m[k] == 0.0;
  map.perspective = !(m[6] == 0.0 && m[7] == 0.0 && m[8] == 1.0);
  // The derivative at the point that the centre of the input is mapped to.
  const double x = double(width) * 0.5, y = double(height) * 0.5, w = (g * x + h * y) + i;
  if (antialias && w > 0.0) {
    map.samples_x = samples_along((m[0] - x * m[6]) * w, (m[3] - y * m[6]) * w);
    map.samples_y = samples_along((m[1] - x * m[7]) * w, (m[4] - y * m[7]) * w);
  }
  return map;
}

}  // namespace sightline::warp
