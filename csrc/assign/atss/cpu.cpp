#include <algorithm>
#include <memory>

#include "assign/atss/atss.h"
#include "common/box_tiles.h"
#include "common/isa.h"
#include "common/working_memory.h"

namespace sightline::assign::atss {
namespace {

constexpr int64_t kPairsPerTask = 1 << 20;

// The centres of anchors in tiles of kTileLanes of one level, with the bounds of each tile. Lanes
// that hold no anchor, and anchors that lie nowhere, have NaN.
template <class T>
struct Centres {
  AtssLevels levels;
  int64_t first_tile[kMaxAtssLevels + 1];  // of each level
  std::unique_ptr<T[]> memory;
  T *x, *y;                            // [tiles, kTileLanes]
  T *low_x, *low_y, *high_x, *high_y;  // [tiles]

  Centres(const T* anchors, const AtssLevels& of) : levels(of) {
    int64_t tiles = 0;
    for (int l = 0; l < levels.count; ++l) {
      first_tile[l] = tiles;
      tiles += (levels.end[l] - levels.begin(l) + kTileLanes - 1) / kTileLanes;
    }
    first_tile[levels.count] = tiles;
    memory = working_memory<T>((2 * kTileLanes + 4) * tiles);
    x = memory.get(), y = x + kTileLanes * tiles;
    low_x = y + kTileLanes * tiles, low_y = low_x + tiles;
    high_x = low_y + tiles, high_y = high_x + tiles;
    for (int l = 0; l < levels.count; ++l)
      for (int64_t t = first_tile[l]; t < first_tile[l + 1]; ++t) fill(anchors, l, t);
  }

  SIGHTLINE_INLINE int64_t first_anchor(int level, int64_t tile) const {
    return levels.begin(level) + (tile - first_tile[level]) * kTileLanes;
  }

 private:
  void fill(const T* anchors, int level, int64_t tile) {
    const int64_t begin = first_anchor(level, tile);
    Hull<T> hull;
    for (int64_t j = 0; j < kTileLanes; ++j) {
      const bool present = begin + j < levels.end[level];
      const Box<T> b = load_box(anchors + 4 * (present ? begin + j : begin));
      constexpr T kNaN = std::numeric_limits<T>::quiet_NaN();
      const T cx = present ? centre_x(b) : kNaN, cy = present ? centre_y(b) : kNaN;
      x[tile * kTileLanes + j] = cx, y[tile * kTileLanes + j] = cy;
      hull.add(cx, cy, cx, cy);
    }
    low_x[tile] = hull.x1, low_y[tile] = hull.y1, high_x[tile] = hull.x2, high_y[tile] = hull.y2;
  }
};

template <class T>
struct Candidate {
  T distance;
  int64_t anchor;

  SIGHTLINE_INLINE bool before(const Candidate& other) const {
    return distance < other.distance || (distance == other.distance && anchor < other.anchor);
  }
};

// The first `capacity` candidates of those added: a heap with the last of them on top.
template <class T>
struct Nearest {
  Candidate<T>* heap;  // [capacity]
  int64_t capacity, size;

  // What is farther is not wanted.
  SIGHTLINE_INLINE T bound() const {
    return size < capacity ? std::numeric_limits<T>::infinity() : heap[0].distance;
  }
  SIGHTLINE_INLINE void add(Candidate<T> candidate) {
    if (size < capacity) {
      int64_t at = size++;
      while (at > 0 && heap[(at - 1) / 2].before(candidate)) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
      }
      heap[at] = candidate;
    } else if (candidate.before(heap[0])) {
      int64_t at = 0;
      for (int64_t child; (child = 2 * at + 1) < size; at = child) {
        child += child + 1 < size && heap[child].before(heap[child + 1]);
        if (!candidate.before(heap[child])) break;
        heap[at] = heap[child];
      }
      heap[at] = candidate;
    }
  }
};

// Scratch of one task.
template <class T>
struct Room {
  T* tile_distance;          // [tiles of the largest level], a lower bound
  Candidate<T>* candidates;  // [the candidates of an object at most]
  T* overlaps;               // the same
};

struct AssignImage {
  template <class T>
  SIGHTLINE_INLINE static void run(const Centres<T>* centres, const T* anchors,
                                   const T* gt_boxes,  // [objects, 4]
                                   int64_t objects, int64_t top_k, Room<T> room, int64_t* out,
                                   ParallelFor parallel_for) {
    constexpr int64_t kBetweenLooks = 16;
    for (int64_t a = 0; a < centres->levels.anchors(); ++a) out[a] = -1;
    for (int64_t g = 0; g < objects; ++g) {
      if (g % kBetweenLooks == kBetweenLooks - 1 && parallel_for.should_stop()) return;
      const Box<T> object = load_box(gt_boxes + 4 * g);
      if (!(object.area > T(0))) continue;  // it overlaps nothing
      int64_t count = 0;
      for (int l = 0; l < centres->levels.count; ++l)
        count +=
            find_nearest(*centres, l, object, top_k, room.tile_distance, room.candidates + count);
      AtssThreshold threshold;
      for (int64_t i = 0; i < count; ++i) {
        room.overlaps[i] = iou_of(load_box(anchors + 4 * room.candidates[i].anchor), object);
        threshold.add(double(room.overlaps[i]));
      }
      for (int64_t i = 0; i < count; ++i) threshold.add_square(double(room.overlaps[i]));
      const double least = threshold.value();
      for (int64_t i = 0; i < count; ++i) {
        const T overlap = room.overlaps[i];
        if (!(overlap > T(0)) || !(double(overlap) >= least)) continue;
        const int64_t a = room.candidates[i].anchor;
        const Box<T> anchor = load_box(anchors + 4 * a);
        if (!holds_centre(object, centre_x(anchor), centre_y(anchor))) continue;
        if (out[a] < 0 || overlap > iou_of(anchor, load_box(gt_boxes + 4 * out[a]))) out[a] = g;
      }
    }
  }

  // Writes the candidates of a level by ascending anchor; returns how many there are.
  template <class T>
  SIGHTLINE_INLINE static int64_t find_nearest(const Centres<T>& centres, int level,
                                               const Box<T>& object, int64_t top_k,
                                               T* tile_distance, Candidate<T>* out) {
    const int64_t first = centres.first_tile[level];
    const int64_t tiles = centres.first_tile[level + 1] - first;
    if (tiles == 0) return 0;
    const int64_t anchors = centres.levels.end[level] - centres.levels.begin(level);
    const T x = centre_x(object), y = centre_y(object);
    const T *const low_x = centres.low_x + first, *const low_y = centres.low_y + first,
                   *const high_x = centres.high_x + first, *const high_y = centres.high_y + first;
    // No centre of a tile is nearer than the nearest point of its hull, to the last bit: rounding
    // keeps the order of differences, squares and sums.
    SIGHTLINE_INDEPENDENT
    for (int64_t t = 0; t < tiles; ++t) {
      const T nearest_x = smaller(larger(x, low_x[t]), high_x[t]);
      const T nearest_y = smaller(larger(y, low_y[t]), high_y[t]);
      tile_distance[t] = squared_distance(nearest_x, nearest_y, x, y);
    }
    int64_t start = 0;
    for (int64_t t = 1; t < tiles; ++t) start = tile_distance[t] < tile_distance[start] ? t : start;
    Nearest<T> nearest{out, std::min(top_k, anchors), 0};
    add_tile(centres, level, first + start, x, y, nearest);
    for (int64_t t = 0; t < tiles; ++t)
      if (t != start && tile_distance[t] <= nearest.bound())
        add_tile(centres, level, first + t, x, y, nearest);
    std::sort(out, out + nearest.size,
              [](const auto& a, const auto& b) { return a.anchor < b.anchor; });
    return nearest.size;
  }

  template <class T>
  SIGHTLINE_INLINE static void add_tile(const Centres<T>& centres, int level, int64_t tile, T x,
                                        T y, Nearest<T>& nearest) {
    const T *const xs = centres.x + tile * kTileLanes, *const ys = centres.y + tile * kTileLanes;
    T distance[kTileLanes];
    LaneInt<T> any = 0;
    const T bound = nearest.bound();
    for (int64_t j = 0; j < kTileLanes; ++j) {
      distance[j] = squared_distance(xs[j], ys[j], x, y);
      any |= distance[j] <= bound ? 1 : 0;
    }
    if (any == 0) return;
    const int64_t begin = centres.first_anchor(level, tile);
    for (int64_t j = 0; j < kTileLanes; ++j)
      if (distance[j] <= nearest.bound()) nearest.add({distance[j], begin + j});
  }
};

}  // namespace

template <class T>
void assign_atss_cpu(const T* anchors, const T* gt_boxes, int64_t* out, AtssLevels levels,
                     int64_t images, int64_t objects, int64_t top_k, ParallelFor parallel_for) {
  const Centres<T> centres(anchors, levels);
  int64_t candidates = 0, tiles = 0;
  for (int l = 0; l < levels.count; ++l) {
    candidates += std::min(top_k, levels.end[l] - levels.begin(l));
    tiles = std::max(tiles, centres.first_tile[l + 1] - centres.first_tile[l]);
  }
  const int64_t grain = kPairsPerTask / (levels.anchors() * (objects + 1) + 1) + 1;
  parallel_for(images, grain, [&](int64_t first, int64_t last) {
    const auto numbers = working_memory<T>(tiles + candidates);
    const auto found = working_memory<Candidate<T>>(candidates);
    const Room<T> room{numbers.get(), found.get(), numbers.get() + tiles};
    for (int64_t b = first; b < last; ++b)
      run_for_isa<AssignImage>(&centres, anchors, gt_boxes + 4 * b * objects, objects, top_k, room,
                               out + b * levels.anchors(), parallel_for);
  });
}

template void assign_atss_cpu(const float*, const float*, int64_t*, AtssLevels, int64_t, int64_t,
                              int64_t, ParallelFor);
template void assign_atss_cpu(const double*, const double*, int64_t*, AtssLevels, int64_t, int64_t,
                              int64_t, ParallelFor);

}  // namespace sightline::assign::atss
