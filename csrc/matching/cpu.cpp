#include <algorithm>
#include <memory>

#include "common/box_order.h"
#include "common/iou_maxima.h"
#include "common/isa.h"
#include "matching/matching.h"

namespace sightline {
namespace {

// The anchors of an image are cut into parts, each with its own maxima of the objects: at most this
// many over all images, so that memory stays linear.
constexpr int64_t kMaxParts = 64, kMinPartsOfImage = 4;
constexpr int64_t kPairsPerTask = 1 << 17;

// The best object of the anchors begin <= position < end and what follows from it alone, and the
// objects' highest IoU over these anchors.
struct BestObjects {
  template <class T>
  SIGHTLINE_INLINE static void run(const T* anchors, const int32_t* order, ObjectList<T> objects,
                                   ObjectMaxima<T> highest, int32_t* nearby, MatchRule<T> rule,
                                   int32_t* best_object, int64_t* matches, int64_t begin,
                                   int64_t end) {
    const T least = objects.count > 0 ? T(0) : T(-1);
    const auto store = [=](int64_t a, T best, int32_t object) SIGHTLINE_LAMBDA {
      best_object[a] = std::max(object, 0);
      matches[a] = rule.outcome(best + least, best_object[a], false);
    };
    MaximaVisitor<T, false, decltype(store)> visitor{highest, store, {}, {}, {}};
    visit_overlaps(anchors, order, begin, end, objects, nearby, visitor);
  }
};

// Finds the anchors whose IoU with an object is the highest that it has.
template <class T>
struct RestoringVisitor {
  const T* highest;  // [num_objects]
  const int32_t* best_object;
  int64_t* matches;
  LaneInt<T> restored[kTileLanes];

  SIGHTLINE_INLINE void begin(const BoxTile<T>&) {
    for (int64_t j = 0; j < kTileLanes; ++j) restored[j] = 0;
  }
  SIGHTLINE_INLINE void visit(const BoxTile<T>& tile, int64_t g, const Box<T>& object) {
    for (int64_t j = 0; j < kTileLanes; ++j)
      restored[j] |= iou(tile[j], object) == highest[g] ? 1 : 0;
  }
  SIGHTLINE_INLINE void end(const BoxTile<T>& tile) {
    for (int64_t j = 0; j < tile.size; ++j)
      if (restored[j]) matches[tile.index[j]] = best_object[tile.index[j]];
  }
};

struct Restore {
  template <class T>
  SIGHTLINE_INLINE static void run(const T* anchors, const int32_t* order, ObjectList<T> objects,
                                   const T* highest, int32_t* nearby, const int32_t* best_object,
                                   int64_t* matches, int64_t begin, int64_t end) {
    RestoringVisitor<T> visitor{highest, best_object, matches, {}};
    visit_overlaps(anchors, order, begin, end, objects, nearby, visitor);
  }
};

}  // namespace

template <class T>
void match_anchors_cpu(const T* anchors, const T* gt_boxes, const int64_t* offsets,
                       int64_t* matches, int64_t num_anchors, int64_t images, MatchRule<T> rule,
                       ParallelFor parallel_for) {
  if (num_anchors == 0 || images == 0) return;
  const int64_t total = offsets[images];
  const auto objects = std::make_unique_for_overwrite<Box<T>[]>(total);
  for (int64_t g = 0; g < total; ++g) objects[g] = load_box(gt_boxes + 4 * g);
  const auto order = order_for<T>(anchors, num_anchors, objects.get(), total);

  const int64_t blocks = (num_anchors + kBlockLanes - 1) / kBlockLanes;
  const int64_t parts = std::min(blocks, std::max(kMaxParts / images, kMinPartsOfImage));
  const int64_t per_part = (blocks + parts - 1) / parts * kBlockLanes;
  const auto best_object = std::make_unique_for_overwrite<int32_t[]>(images * num_anchors);
  const auto part_highest = std::make_unique<T[]>(parts * total);  // [parts, total]
  const auto part_index = std::make_unique<LaneInt<T>[]>(parts * total);
  const auto nearby = std::make_unique_for_overwrite<int32_t[]>(parts * total);
  const auto highest = std::make_unique<T[]>(total);
  const int64_t grain = kPairsPerTask / (per_part * (total / images + 1)) + 1;

  const auto for_each_part = [&](auto body) {
    parallel_for(images * parts, grain, [&](int64_t first, int64_t last) {
      for (int64_t task = first; task < last; ++task) {
        const int64_t image = task / parts, part = task % parts;
        const int64_t begin = std::min(part * per_part, num_anchors);
        body(image, part * total + offsets[image], begin, std::min(begin + per_part, num_anchors));
      }
    });
  };
  const auto count_of = [&](int64_t image) { return offsets[image + 1] - offsets[image]; };
  const auto objects_of = [&](int64_t image) {
    return ObjectList<T>{objects.get() + offsets[image], nullptr, count_of(image)};
  };
  const auto* const anchor_order = static_cast<const int32_t*>(order.get());
  for_each_part([&](int64_t image, int64_t at, int64_t begin, int64_t end) {
    run_for_isa<BestObjects>(anchors, anchor_order, objects_of(image),
                             ObjectMaxima<T>{part_highest.get() + at, part_index.get() + at},
                             nearby.get() + at, rule, best_object.get() + image * num_anchors,
                             matches + image * num_anchors, begin, end);
  });
  if (!rule.allow_low_quality) return;
  for (int64_t part = 0; part < parts; ++part)
    for (int64_t g = 0; g < total; ++g)
      highest[g] = larger(part_highest[part * total + g], highest[g]);
  // Only where an object's highest IoU over the anchors of a part is the highest of all can one of
  // them be restored.
  const auto chosen = std::make_unique_for_overwrite<int32_t[]>(parts * total);
  for_each_part([&](int64_t image, int64_t at, int64_t begin, int64_t end) {
    const T* const highest_of_image = highest.get() + offsets[image];
    int32_t* const restoring = chosen.get() + at;
    int64_t count = 0;
    bool all = false;  // an object that nothing overlaps restores every anchor
    for (int64_t g = 0; g < count_of(image); ++g) {
      const T top = highest_of_image[g];
      all = all || (top == T(0) && rule.restores(top));
      restoring[count] = static_cast<int32_t>(g);
      count += top > T(0) && part_highest[at + g] == top;
    }
    int64_t* const out = matches + image * num_anchors;
    const int32_t* const best = best_object.get() + image * num_anchors;
    if (all) {
      for (int64_t p = begin; p < end; ++p) {
        const int64_t a = anchor_order == nullptr ? p : anchor_order[p];
        out[a] = best[a];
      }
    } else if (count > 0) {
      const ObjectList<T> list{objects.get() + offsets[image], restoring, count};
      run_for_isa<Restore>(anchors, anchor_order, list, highest_of_image, nearby.get() + at, best,
                           out, begin, end);
    }
  });
}

template void match_anchors_cpu(const float*, const float*, const int64_t*, int64_t*, int64_t,
                                int64_t, MatchRule<float>, ParallelFor);
template void match_anchors_cpu(const double*, const double*, const int64_t*, int64_t*, int64_t,
                                int64_t, MatchRule<double>, ParallelFor);

}  // namespace sightline
