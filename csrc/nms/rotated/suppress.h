// The core of rotated NMS on the CPU: the boxes of one segment, best first, in; which are kept,
// out.
//
// Tiles of boxes are resolved one after another: within a tile serially, then the survivors of the
// tile strike out later boxes. For that, boxes lie in blocks of neighbours: a block is looked at
// for the survivors that are near it, and its boxes for those whose hulls overlap. So boxes that
// are far apart cost a share of a test each, no pair is computed twice, and nothing of size N x N
// is held. What comes out does not depend on the blocks or on how the work was cut.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "common/isa.h"
#include "common/parallel.h"
#include "common/rotated_pairs.h"
#include "common/sort.h"
#include "common/working_memory.h"
#include "common/z_order.h"

namespace sightline::nms::rotated {
namespace {

// Boxes of a tile, a block of neighbours, or what is left of one.
template <class T>
struct TileColumns {
  T memory[RotatedColumns<T>::kFields * kRotatedTile];
  SIGHTLINE_INLINE RotatedColumns<T> columns() { return {memory, kRotatedTile}; }
};

// Keeps of the tile what no kept box of it before suppresses.
struct ResolveTile {
  template <class T>
  SIGHTLINE_INLINE static void run(RotatedColumns<T> tile, int64_t count,
                                   uint8_t* open,  // [kRotatedTile]; kept boxes stay open
                                   T threshold) {
    uint8_t found[kRotatedTile];
    RotatedPairs<T> pairs;
    const auto strike = [open, threshold](int64_t k, T iou) SIGHTLINE_LAMBDA {
      if (iou > threshold) open[k] = 0;
    };
    for (int64_t i = 0; i < count; ++i) {
      if (!open[i]) continue;
      const RotatedBox<T> kept = tile[i];
      const int64_t later = count - i - 1;
      if (find_near(kept, tile.from(i + 1), later, found) == 0) continue;
      for_each_found(found, later, [&](int64_t k) SIGHTLINE_LAMBDA {
        const int64_t j = i + 1 + k;
        if (open[j]) pairs.push(kept, tile[j], j);
        if (pairs.full()) pairs.flush(strike);
      });
      pairs.flush(strike);
    }
  }
};

// Closes the boxes of the blocks begin <= b < end that one of `count` survivors suppresses.
struct StrikeOut {
  template <class T>
  SIGHTLINE_INLINE static void run(RotatedColumns<T> survivors, int64_t count,
                                   const RotatedBox<T>* hulls,  // of each block
                                   RotatedColumns<T> boxes,     // [n], block after block
                                   uint8_t* open,               // [n]
                                   int64_t n, T threshold, int64_t begin, int64_t end) {
    uint8_t near_block[kRotatedTile], found[kRotatedTile];
    RotatedPairs<T> pairs;
    const auto strike = [open, threshold](int64_t place, T iou) SIGHTLINE_LAMBDA {
      if (iou > threshold) open[place] = 0;
    };
    for (int64_t b = begin; b < end; ++b) {
      if (find_near(hulls[b], survivors, count, near_block) == 0) continue;
      const int64_t first = b * kRotatedTile, size = std::min(kRotatedTile, n - first);
      const RotatedColumns<T> block = boxes.from(first);
      for_each_found(near_block, count, [&](int64_t i) SIGHTLINE_LAMBDA {
        const RotatedBox<T> kept = survivors[i];
        if (find_near(kept, block, size, found) == 0) return;
        for_each_found(found, size, [&](int64_t k) SIGHTLINE_LAMBDA {
          if (open[first + k]) pairs.push(kept, block[k], first + k);
          if (pairs.full()) pairs.flush(strike);
        });
      });
      pairs.flush(strike);
    }
  }
};

// Positions of boxes in an order that keeps neighbours together.
template <class T>
std::vector<int64_t> neighbours_together(const std::vector<RotatedBox<T>>& boxes) {
  constexpr int kBits = 16;
  const int64_t n = boxes.size();
  Hull<T> region;  // of the centres
  for (const RotatedBox<T>& b : boxes)
    if (b.area > T(0)) region.add(b.cx, b.cy, b.cx, b.cy);
  const ZGrid<T> grid(region, kBits);
  const auto items = working_memory<Keyed<uint32_t>>(2 * n);
  for (int64_t i = 0; i < n; ++i) items[i] = {grid.cell(boxes[i].cx, boxes[i].cy), i};
  sort_keyed(items.get(), items.get() + n, n);
  std::vector<int64_t> order(n);
  for (int64_t p = 0; p < n; ++p) order[p] = items[p].index;
  return order;
}

// A box whose hull is near every box that is near one of the block: wider than the hulls of all by
// more than rounding.
template <class T>
RotatedBox<T> hull_of(const RotatedColumns<T>& block, int64_t size) {
  constexpr T kInf = std::numeric_limits<T>::infinity();
  constexpr T kSlack = 16 * std::numeric_limits<T>::epsilon();
  T low_x = kInf, low_y = kInf, high_x = -kInf, high_y = -kInf;
  for (int64_t k = 0; k < size; ++k) {
    if (!(block.area[k] > T(0))) continue;
    low_x = std::min(low_x, block.cx[k] - block.reach_x[k]);
    high_x = std::max(high_x, block.cx[k] + block.reach_x[k]);
    low_y = std::min(low_y, block.cy[k] - block.reach_y[k]);
    high_y = std::max(high_y, block.cy[k] + block.reach_y[k]);
  }
  RotatedBox<T> hull{};
  hull.reach_x = hull.reach_y = -kInf;
  if (!(low_x <= high_x)) return hull;
  const auto reach = [](T low, T high) {
    return (high * T(0.5) - low * T(0.5)) + kSlack * (std::fabs(low) + std::fabs(high));
  };
  hull.cx = low_x * T(0.5) + high_x * T(0.5), hull.cy = low_y * T(0.5) + high_y * T(0.5);
  hull.reach_x = reach(low_x, high_x), hull.reach_y = reach(low_y, high_y);
  const bool finite = hull.cx - hull.cx == T(0) && hull.cy - hull.cy == T(0);
  if (!finite) hull.cx = hull.cy = T(0), hull.reach_x = hull.reach_y = kInf;
  return hull;
}

}  // namespace

// is_kept[i] becomes whether box i is kept.
template <class T>
void suppress_rotated(const std::vector<RotatedBox<T>>& boxes,  // [n], best first
                      uint8_t* is_kept,                         // [n]
                      T threshold, ParallelFor parallel_for) {
  // At least this many blocks per task: most are far from most survivors.
  constexpr int64_t kBlocksPerTask = 64;
  const int64_t n = boxes.size();
  TileColumns<T> tile_memory;
  const RotatedColumns<T> tile = tile_memory.columns();
  if (n <= kRotatedTile) {
    for (int64_t i = 0; i < n; ++i) tile.set(i, boxes[i]);
    std::fill(is_kept, is_kept + n, 1);
    return run_for_isa<ResolveTile>(tile, n, is_kept, threshold);
  }
  const std::vector<int64_t> order = neighbours_together(boxes);
  std::vector<int64_t> place(n);  // of each box, in blocks
  RotatedArray<T> array(n);
  for (int64_t p = 0; p < n; ++p) {
    place[order[p]] = p;
    array.columns.set(p, boxes[order[p]]);
  }
  const int64_t blocks = (n + kRotatedTile - 1) / kRotatedTile;
  std::vector<RotatedBox<T>> hulls(blocks);
  for (int64_t b = 0; b < blocks; ++b)
    hulls[b] =
        hull_of(array.columns.from(b * kRotatedTile), std::min(kRotatedTile, n - b * kRotatedTile));

  std::vector<uint8_t> open(n, 1);  // by place: neither suppressed nor of a tile that is resolved
  TileColumns<T> survivor_memory;
  const RotatedColumns<T> survivors = survivor_memory.columns();
  for (int64_t start = 0; start < n; start += kRotatedTile) {
    parallel_for.throw_if_stopped();
    const int64_t count = std::min(kRotatedTile, n - start);
    uint8_t* const kept = is_kept + start;
    for (int64_t i = 0; i < count; ++i) {
      tile.set(i, boxes[start + i]);
      kept[i] = std::exchange(open[place[start + i]], 0);
    }
    run_for_isa<ResolveTile>(tile, count, kept, threshold);
    int64_t found = 0;
    for (int64_t i = 0; i < count; ++i)
      if (kept[i]) survivors.set(found++, tile[i]);
    if (start + count == n) break;
    parallel_for(blocks, kBlocksPerTask, [&](int64_t begin, int64_t end) {
      run_for_isa<StrikeOut>(survivors, found, static_cast<const RotatedBox<T>*>(hulls.data()),
                             array.columns, open.data(), n, threshold, begin, end);
    });
  }
}

}  // namespace sightline::nms::rotated
