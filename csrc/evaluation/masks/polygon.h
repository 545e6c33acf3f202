// Polygons as masks: edges on a grid five times as fine, as pycocotools 2.0.11 draws them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "common/macros.h"
#include "evaluation/masks/masks.h"

namespace sightline::evaluation::masks {

inline constexpr int64_t kFine = 5;                // steps of the grid in a pixel
inline constexpr int64_t kMiddle = 2;              // step after which a column's middle lies
inline constexpr double kHighestCoordinate = 1e8;  // in pixels; the grid then fits 32 bits

SIGHTLINE_INLINE int64_t floor_fifth(int64_t v) { return (v >= 0 ? v : v - (kFine - 1)) / kFine; }

// A vertex on the grid. Rounds half up, but towards 0 below -0.5: parity needs just that.
SIGHTLINE_INLINE int64_t on_grid(double coordinate) {
  return static_cast<int64_t>(kFine * coordinate + 0.5);
}

// Where the outlines of rings cross the middles of columns.
class Crossings {
 public:
  Crossings(int64_t height, int64_t width) : height_(height), width_(width) {}

  // Room for one ring.
  int64_t most(const double* xy, int64_t num_points) const {
    int64_t sum = 0;
    for (int64_t j = 0; j < num_points; ++j) {
      const double next = xy[2 * (j + 1 < num_points ? j + 1 : 0)];
      sum += static_cast<int64_t>(std::min<double>(std::abs(next - xy[2 * j]) + 2, width_ + 1));
    }
    return sum;
  }

  // Calls add(column, row) for each crossing of the edge between two vertices on the grid.
  template <class Add>
  SIGHTLINE_INLINE void edge(int64_t xs, int64_t ys, int64_t xe, int64_t ye, Add add) const {
    const int64_t dx = std::abs(xe - xs), dy = std::abs(ye - ys);
    if (dx == 0) return;
    if (dx >= dy ? xs > xe : ys > ye) {
      std::swap(xs, xe);
      std::swap(ys, ye);
    }
    // columns whose middle lies between the ends
    const int64_t first = std::max<int64_t>(floor_fifth(std::min(xs, xe) - kMiddle + kFine - 1), 0);
    const int64_t last = std::min(floor_fifth(std::max(xs, xe) - kMiddle - 1), width_ - 1);
    if (dx >= dy) {
      const double slope = static_cast<double>(ye - ys) / static_cast<double>(dx);
      // of the points before and after the middle, the upper one
      const int64_t after = slope < 0 ? 1 : 0;
      for (int64_t column = first; column <= last; ++column) {
        const int64_t t = kFine * column + kMiddle - xs + after;
        add(column, row_of(static_cast<int64_t>(static_cast<double>(ys) +
                                                slope * static_cast<double>(t) + 0.5)));
      }
      return;
    }
    const double slope = static_cast<double>(xe - xs) / static_cast<double>(dy);
    const double inverse = static_cast<double>(dy) / static_cast<double>(xe - xs);
    const double start = static_cast<double>(xs);
    for (int64_t column = first; column <= last; ++column) {
      const double beyond = static_cast<double>(kFine * column + kMiddle + 1);
      // the first step at which the point has passed the middle; rounding decides as it does when
      // every point is drawn
      const auto passed = [&](int64_t t) SIGHTLINE_LAMBDA {
        const double x = start + slope * static_cast<double>(t) + 0.5;
        return slope > 0 ? x >= beyond : x < beyond;
      };
      int64_t t = static_cast<int64_t>((beyond - 0.5 - start) * inverse);
      while (t > 0 && passed(t - 1)) --t;
      while (!passed(t)) ++t;
      add(column, row_of(t - 1 + ys));
    }
  }

 private:
  // The first pixel of a column whose middle is not above a point at v.
  SIGHTLINE_INLINE int64_t row_of(int64_t v) const {
    return std::clamp<int64_t>(floor_fifth(v + kMiddle), 0, height_);
  }

  int64_t height_, width_;
};

// What rasterising keeps from ring to ring.
struct PolygonScratch {
  Uninitialised<uint32_t> columns, positions, starts;
};

// The toggles of one ring, ascending. Fewer than three points enclose nothing.
// Returns how many; out has room for what `Crossings::most` says.
SIGHTLINE_INLINE int64_t ring_toggles(const double* xy, int64_t num_points, int64_t height,
                                      int64_t width, PolygonScratch& scratch,
                                      Uninitialised<uint32_t>& out) {
  if (num_points < 3 || height == 0 || width == 0) return 0;
  const Crossings crossings(height, width);
  const int64_t most = crossings.most(xy, num_points);
  uint32_t* const columns = scratch.columns.reserve(most);
  uint32_t* const positions = scratch.positions.reserve(most);
  int64_t n = 0;
  uint32_t lowest = ~uint32_t(0), highest = 0;
  const int64_t x0 = on_grid(xy[0]), y0 = on_grid(xy[1]);
  int64_t xs = x0, ys = y0;
  for (int64_t j = 1; j <= num_points; ++j) {
    const bool closing = j == num_points;
    const int64_t xe = closing ? x0 : on_grid(xy[2 * j]);
    const int64_t ye = closing ? y0 : on_grid(xy[2 * j + 1]);
    crossings.edge(xs, ys, xe, ye, [&](int64_t column, int64_t row) SIGHTLINE_LAMBDA {
      const uint32_t c = static_cast<uint32_t>(column);
      columns[n] = c;
      positions[n++] = static_cast<uint32_t>(column * height + row);
      lowest = std::min(lowest, c);
      highest = std::max(highest, c);
    });
    xs = xe, ys = ye;
  }
  if (n == 0) return 0;
  // by column, and then within each
  const int64_t range = int64_t(highest) - lowest + 1;
  uint32_t* const starts = scratch.starts.reserve(range + 1);
  std::fill_n(starts, range + 1, 0);
  for (int64_t k = 0; k < n; ++k) ++starts[columns[k] - lowest + 1];
  for (int64_t c = 0; c < range; ++c) starts[c + 1] += starts[c];
  uint32_t* const sorted = out.reserve(n + 1);
  for (int64_t k = 0; k < n; ++k) sorted[starts[columns[k] - lowest]++] = positions[k];
  int64_t begin = 0;
  for (int64_t c = 0; c < range; ++c) {
    const int64_t end = starts[c];
    if (end - begin == 2) {  // nearly always, and no branch can tell which way
      const uint32_t a = sorted[begin], b = sorted[begin + 1];
      sorted[begin] = std::min(a, b);
      sorted[begin + 1] = std::max(a, b);
    } else {
      std::sort(sorted + begin, sorted + end);
    }
    begin = end;
  }
  // a closed outline crosses each column an even number of times
  if (n % 2 != 0) sorted[n++] = static_cast<uint32_t>(height * width);
  return n;
}

}  // namespace sightline::evaluation::masks
