// One output pixel, for host and device: where it is read, what its samples add up to, and what is
// written. cpu.cpp computes the same in lanes.
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/macros.h"
#include "warp/map.h"
#include "warp/warp.h"

namespace sightline::warp {

inline constexpr double kPositions = 256.0;  // of a sample between two pixel centres

struct Displacement {
  float x, y;
};

// Where pixel i of `length` lies between `count` nodes, of which the outer ones lie on the border.
struct GridPlace {
  int64_t first, second;
  float part;
};
SIGHTLINE_HD GridPlace grid_place(int64_t i, int64_t count, double step) {
  const double at = (double(i) + 0.5) * step;
  int64_t first = static_cast<int64_t>(at);
  first = first > count - 2 ? count - 2 : first;
  first = first < 0 ? 0 : first;
  return {first, first + 1 < count ? first + 1 : count - 1, static_cast<float>(at - double(first))};
}
SIGHTLINE_HD double grid_step(int64_t count, int64_t length) {
  return double(count - 1) / double(length);
}

SIGHTLINE_HD float between(float a, float b, float part) { return a + (b - a) * part; }

SIGHTLINE_HD Displacement displacement_at(const float* nodes, int64_t i, int64_t j,
                                          const WarpShape& shape) {
  const GridPlace x = grid_place(i, shape.grid_width, grid_step(shape.grid_width, shape.out_width));
  const GridPlace y =
      grid_place(j, shape.grid_height, grid_step(shape.grid_height, shape.out_height));
  const float* const top = nodes + 2 * y.first * shape.grid_width;
  const float* const bottom = nodes + 2 * y.second * shape.grid_width;
  const auto of = [&](int64_t k) {
    return between(between(top[2 * x.first + k], bottom[2 * x.first + k], y.part),
                   between(top[2 * x.second + k], bottom[2 * x.second + k], y.part), x.part);
  };
  return {of(0), of(1)};
}

struct Point {
  double x, y;
  bool inside;
};

// Where in the input a point of the output is read. NaN and infinity are outside.
SIGHTLINE_HD Point source_of(const Map& map, double x, double y, int64_t height, int64_t width) {
  const double* const m = map.m;
  // Of an affine map it is 1 in any case, and the division would take longest.
  const double w = map.perspective ? 1.0 / (m[6] * x + (m[7] * y + m[8])) : 1.0;
  const double from_x = (m[0] * x + (m[1] * y + m[2])) * w;
  const double from_y = (m[3] * x + (m[4] * y + m[5])) * w;
  const bool inside = w > 0.0 && from_x >= 0.0 && from_x < double(width) && from_y >= 0.0 &&
                      from_y < double(height);
  return {from_x, from_y, inside && map.valid};
}

// The two neighbours of a point inside, along one axis, and the share of the second.
struct Taps {
  int64_t first, second;
  float part;
};
SIGHTLINE_HD Taps taps_at(double at, int64_t length) {
  double centre = at - 0.5;
  centre = centre > 0.0 ? centre : 0.0;
  centre = centre < double(length - 1) ? centre : double(length - 1);
  const int32_t steps = static_cast<int32_t>(centre * kPositions + 0.5);
  const int64_t first = steps >> 8;
  return {first, first + 1 < length ? first + 1 : first,
          static_cast<float>(steps & 255) * float(1.0 / kPositions)};
}

// To the nearest 1/256, for |v| < 2^14.
SIGHTLINE_HD float to_256th(float v) {
  constexpr float kRound = 0x1.8p15f;
  return (v + kRound) - kRound;
}

// Of sample k of n along one axis of an output pixel.
SIGHTLINE_HD double place_of_sample(int32_t k, int32_t n) {
  return n == 1 ? 0.5 : (double(k) + 0.5) / double(n);
}

// Adds the samples of output pixel (i, j) to sums [C], which are zero; returns how many are inside.
template <int C>
SIGHTLINE_HD int32_t add_samples(const uint8_t* image, const Map& map, const float* nodes,
                                 int64_t i, int64_t j, const WarpShape& shape, bool nearest,
                                 float* sums) {
  const Displacement move =
      nodes == nullptr ? Displacement{0.0f, 0.0f} : displacement_at(nodes, i, j, shape);
  const int64_t row = shape.width * C;
  int32_t inside = 0;
  for (int32_t r = 0; r < map.samples_y; ++r)
    for (int32_t c = 0; c < map.samples_x; ++c) {
      const double x = (double(i) + place_of_sample(c, map.samples_x)) + double(move.x);
      const double y = (double(j) + place_of_sample(r, map.samples_y)) + double(move.y);
      const Point from = source_of(map, x, y, shape.height, shape.width);
      if (!from.inside) continue;
      ++inside;
      if (nearest) {
        const uint8_t* const p =
            image + static_cast<int64_t>(from.y) * row + static_cast<int64_t>(from.x) * C;
        for (int k = 0; k < C; ++k) sums[k] += float(p[k]);
        continue;
      }
      const Taps across = taps_at(from.x, shape.width), down = taps_at(from.y, shape.height);
      const uint8_t* const upper = image + down.first * row;
      const uint8_t* const lower = image + down.second * row;
      const float left = 1.0f - across.part, top = 1.0f - down.part;
      for (int k = 0; k < C; ++k) {
        const int64_t first = across.first * C + k, second = across.second * C + k;
        const float above = float(upper[first]) * left + float(upper[second]) * across.part;
        const float below = float(lower[first]) * left + float(lower[second]) * across.part;
        const float value = above * top + below * down.part;
        sums[k] += map.samples_x * map.samples_y > 1 ? to_256th(value) : value;
      }
    }
  return inside;
}

SIGHTLINE_HD float within_bytes(float v) { return v > 0.0f ? (v < 255.0f ? v : 255.0f) : 0.0f; }

// The colour of an output pixel from the sums of its samples inside; colors [C, C + 1] may be null.
// Returned through color [C], in the units of Out.
template <class Out, int C>
SIGHTLINE_HD void finish(const float* sums, int32_t inside, int32_t all, const float* colors,
                         const WarpRules& rules, float* color) {
  float values[C];
  const float count = float(inside > 1 ? inside : 1), share = float(inside) / float(all);
  for (int k = 0; k < C; ++k) values[k] = sums[k] / count;
  for (int k = 0; k < C; ++k) {
    float value = values[k];
    if (colors != nullptr) {
      const float* const factors = colors + k * (C + 1);
      value = values[0] * factors[0];
      for (int from = 1; from < C; ++from) value = value + values[from] * factors[from];
      value = within_bytes(value + factors[C]);
    }
    float fill = rules.fill[k];
    if constexpr (std::is_same_v<Out, float>) {
      value = value * rules.scale[k] + rules.offset[k];
      fill = fill * rules.scale[k] + rules.offset[k];
    }
    color[k] = inside == all ? value : inside == 0 ? fill : fill + (value - fill) * share;
  }
}

// Rounded to the nearest, ties up; v lies in 0 ... 255.
SIGHTLINE_HD uint8_t to_byte(float v) {
  return static_cast<uint8_t>(static_cast<int32_t>(v + 0.5f));
}

}  // namespace sightline::warp
