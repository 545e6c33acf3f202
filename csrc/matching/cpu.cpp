#include <algorithm>
#include <memory>

#include "common/isa.h"
#include "matching/matching.h"

namespace sightline {
namespace {

// Anchors gone through at a time, one array a field: consecutive anchors fill the lanes of a
// vector.
constexpr int64_t kTile = 256;
// Anchors of an image are cut into at most this many parts, each with its own maxima of objects:
// memory stays linear in the objects.
constexpr int64_t kMaxParts = 64;
constexpr int64_t kPairsPerTask = 1 << 16;
constexpr int kLanes = 16;

template <class T>
struct AnchorTile {
  T x1[kTile], y1[kTile], x2[kTile], y2[kTile], area[kTile];
  int64_t size;

  SIGHTLINE_INLINE void load(const T* anchors, int64_t begin, int64_t end) {
    size = std::min(kTile, end - begin);
    for (int64_t j = 0; j < kTile; ++j) {
      // The tile is filled up with its last anchor, which changes no maximum.
      const Box<T> b = load_box(anchors + 4 * (begin + std::min(j, size - 1)));
      x1[j] = b.x1, y1[j] = b.y1, x2[j] = b.x2, y2[j] = b.y2, area[j] = b.area;
    }
  }
  SIGHTLINE_INLINE void overlaps(const Box<T>& object, T* out) const {
    for (int64_t j = 0; j < kTile; ++j)
      out[j] = iou(Box<T>{x1[j], y1[j], x2[j], y2[j], area[j], T(0)}, object);
  }
};

// best and matches of the anchors begin <= a < end, and highest of every object over them.
struct BestOverlaps {
  template <class T>
  SIGHTLINE_INLINE static void run(const T* anchors, const T* objects, int64_t num_objects, T* best,
                                   int64_t* matches, T* highest, int64_t begin, int64_t end) {
    using Index = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;  // as wide as a lane
    for (int64_t g = 0; g < num_objects; ++g) highest[g] = T(0);
    AnchorTile<T> tile;
    T overlap[kTile], tile_best[kTile], lane[kLanes];
    Index object_of[kTile];
    for (int64_t start = begin; start < end; start += kTile) {
      tile.load(anchors, start, end);
      for (int64_t j = 0; j < kTile; ++j) tile_best[j] = T(-1), object_of[j] = 0;
      for (int64_t g = 0; g < num_objects; ++g) {
        tile.overlaps(load_box(objects + 4 * g), overlap);
        for (int64_t j = 0; j < kTile; ++j) {
          const bool better = overlap[j] > tile_best[j];
          tile_best[j] = better ? overlap[j] : tile_best[j];
          object_of[j] = better ? static_cast<Index>(g) : object_of[j];
        }
        for (int l = 0; l < kLanes; ++l) lane[l] = highest[g];
        for (int64_t j = 0; j < kTile; j += kLanes)
          for (int l = 0; l < kLanes; ++l) lane[l] = larger(overlap[j + l], lane[l]);
        for (int l = 0; l < kLanes; ++l) highest[g] = larger(lane[l], highest[g]);
      }
      for (int64_t j = 0; j < tile.size; ++j) {
        best[start + j] = tile_best[j];
        matches[start + j] = object_of[j];
      }
    }
  }
};

// Turns matches (best objects) of the anchors begin <= a < end into outcomes. part_highest: the
// objects' highest IoU over these anchors alone; only where it is the highest of all can one of
// them be restored.
struct Decide {
  template <class T>
  SIGHTLINE_INLINE static void run(const T* anchors, const T* objects, int64_t num_objects,
                                   const T* best, int64_t* matches, const T* part_highest,
                                   const T* highest, MatchRule<T> rule, int64_t begin,
                                   int64_t end) {
    AnchorTile<T> tile;
    T overlap[kTile];
    bool restored[kTile];
    for (int64_t start = begin; start < end; start += kTile) {
      tile.load(anchors, start, end);
      for (int64_t j = 0; j < kTile; ++j) restored[j] = false;
      for (int64_t g = 0; g < num_objects; ++g) {
        if (!rule.restores(highest[g]) || part_highest[g] != highest[g]) continue;
        tile.overlaps(load_box(objects + 4 * g), overlap);
        for (int64_t j = 0; j < kTile; ++j) restored[j] |= overlap[j] == highest[g];
      }
      for (int64_t j = 0; j < tile.size; ++j)
        matches[start + j] = rule.outcome(best[start + j], matches[start + j], restored[j]);
    }
  }
};

}  // namespace

template <class T>
void match_anchors_cpu(const T* anchors, const T* gt_boxes, const int64_t* offsets,
                       int64_t* matches, int64_t num_anchors, int64_t images, MatchRule<T> rule,
                       ParallelFor parallel_for) {
  if (num_anchors == 0 || images == 0) return;
  const int64_t total = offsets[images];
  const int64_t parts = std::clamp<int64_t>(num_anchors / (4 * kTile), 1, kMaxParts);
  const int64_t per_part = (num_anchors + parts - 1) / parts;
  const auto best = std::make_unique_for_overwrite<T[]>(images * num_anchors);
  const auto part_highest = std::make_unique_for_overwrite<T[]>(parts * total);  // [parts, total]
  const auto highest = std::make_unique<T[]>(total);
  const int64_t grain = kPairsPerTask / (per_part * (total / images + 1)) + 1;

  const auto for_each_part = [&](auto body) {
    parallel_for(images * parts, grain, [&](int64_t first, int64_t last) {
      for (int64_t task = first; task < last; ++task) {
        const int64_t image = task / parts, part = task % parts;
        const int64_t begin = std::min(part * per_part, num_anchors);
        body(image, part, begin, std::min(begin + per_part, num_anchors));
      }
    });
  };
  for_each_part([&](int64_t image, int64_t part, int64_t begin, int64_t end) {
    const int64_t first = offsets[image];
    run_for_isa<BestOverlaps>(anchors, gt_boxes + 4 * first, offsets[image + 1] - first,
                              best.get() + image * num_anchors, matches + image * num_anchors,
                              part_highest.get() + part * total + first, begin, end);
  });
  for (int64_t part = 0; part < parts; ++part)
    for (int64_t g = 0; g < total; ++g)
      highest[g] = larger(part_highest[part * total + g], highest[g]);
  for_each_part([&](int64_t image, int64_t part, int64_t begin, int64_t end) {
    const int64_t first = offsets[image];
    run_for_isa<Decide>(anchors, gt_boxes + 4 * first, offsets[image + 1] - first,
                        static_cast<const T*>(best.get()) + image * num_anchors,
                        matches + image * num_anchors,
                        static_cast<const T*>(part_highest.get()) + part * total + first,
                        static_cast<const T*>(highest.get()) + first, rule, begin, end);
  });
}

template void match_anchors_cpu(const float*, const float*, const int64_t*, int64_t*, int64_t,
                                int64_t, MatchRule<float>, ParallelFor);
template void match_anchors_cpu(const double*, const double*, const int64_t*, int64_t*, int64_t,
                                int64_t, MatchRule<double>, ParallelFor);

}  // namespace sightline
