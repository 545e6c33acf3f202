#include <algorithm>
#include <memory>

#include "assign/max_iou/max_iou.h"
#include "common/box_order.h"
#include "common/iou_maxima.h"
#include "common/isa.h"
#include "common/working_memory.h"

namespace sightline::assign::max_iou {
namespace {

// The anchors of an image are cut into parts, each with its own maxima of the objects: at most this
// many over all images, so that memory stays linear.
constexpr int64_t kMaxParts = 64, kMinPartsOfImage = 4;
constexpr int64_t kPairsPerTask = 1 << 17;
constexpr int64_t kImagesPerTask = 4;  // which share the loading of anchors
constexpr int32_t kIgnored = -1;       // in place of an anchor's best object

// The boxes of a padded batch that lie somewhere, image after image.
template <class T>
struct Compact {
  std::unique_ptr<Box<T>[]> boxes;
  std::unique_ptr<int32_t[]> rows;     // of each within its image, and one entry more
  std::unique_ptr<int64_t[]> offsets;  // [images + 1]

  Compact(const T* padded, int64_t images, int64_t n)
      : boxes(working_memory<Box<T>>(images * n)),
        rows(std::make_unique<int32_t[]>(images * n + 1)),
        offsets(std::make_unique<int64_t[]>(images + 1)) {
    int64_t total = 0;
    for (int64_t image = 0; image < images; ++image) {
      for (int64_t row = 0; row < n; ++row) {
        const Box<T> box = load_box(padded + 4 * (image * n + row));
        boxes[total] = box;
        rows[total] = static_cast<int32_t>(row);
        total += box.x1 <= std::numeric_limits<T>::max();
      }
      offsets[image + 1] = total;
    }
    rows[total] = 0;
  }
  // Whether every box kept its row.
  bool is_whole(int64_t image) const {
    return count(image) == 0 || rows[offsets[image + 1] - 1] == count(image) - 1;
  }
  int64_t count(int64_t image) const { return offsets[image + 1] - offsets[image]; }
  ObjectList<T> list(int64_t image) const {
    return {boxes.get() + offsets[image], nullptr, count(image)};
  }
};

// One image as the kernels see it. Objects are meant by their place in the compact list.
template <class T>
struct MatchImage {
  const T* anchors;
  const int32_t* order;  // of the anchors, or null
  ObjectList<T> objects;
  const int32_t* rows;   // of the objects in what was given
  bool rows_differ;      // from the places in the list
  bool ignoring;         // whether best_object holds kIgnored where an anchor is
  int32_t* best_object;  // [anchors]
  int64_t* index;        // [anchors]
  T* iou;                // [anchors] or null

  SIGHTLINE_INLINE void drop_ignored(BoxTile<T>& tile) const {
    constexpr T kInf = std::numeric_limits<T>::infinity();
    if (!ignoring) return;
    BoxLanes<T, kTileLanes>& boxes = tile.boxes;
    for (int64_t j = 0; j < kTileLanes; ++j) {
      const bool drop = best_object[tile.index[j]] < 0;
      boxes.x1[j] = drop ? kInf : boxes.x1[j], boxes.y1[j] = drop ? kInf : boxes.y1[j];
      boxes.x2[j] = drop ? -kInf : boxes.x2[j], boxes.y2[j] = drop ? -kInf : boxes.y2[j];
      boxes.area[j] = drop ? T(0) : boxes.area[j];
    }
  }
};

template <class T>
struct IgnoreVisitor {
  T threshold;
  int32_t* best_object;
  LaneInt<T> ignored[kTileLanes];

  SIGHTLINE_INLINE void begin(const BoxTile<T>&) {
    for (int64_t j = 0; j < kTileLanes; ++j) ignored[j] = 0;
  }
  SIGHTLINE_INLINE void visit(const BoxTile<T>& tile, int64_t, const Box<T>& region) {
    for (int64_t j = 0; j < kTileLanes; ++j) ignored[j] |= ioa(tile[j], region) > threshold ? 1 : 0;
  }
  SIGHTLINE_INLINE void end(const BoxTile<T>& tile) {
    for (int64_t j = 0; j < tile.size; ++j) best_object[tile.index[j]] = ignored[j] ? kIgnored : 0;
  }
};

struct NoStore {};

template <class T, bool kOrdered>
struct BestVisitor : MaximaVisitor<T, kOrdered, NoStore> {
  MatchImage<T> image;
  MatchRule<T> rule;
  T least;  // added to the highest IoU, so that it is -1 in an image without objects

  SIGHTLINE_INLINE void begin(BoxTile<T>& tile) {
    image.drop_ignored(tile);
    MaximaVisitor<T, kOrdered, NoStore>::begin(tile);
  }
  SIGHTLINE_INLINE void end(const BoxTile<T>& tile) {
    using Int = LaneInt<T>;
    Int own[kTileLanes], outcome[kTileLanes];
    for (int64_t j = 0; j < kTileLanes; ++j) {
      own[j] = larger(this->object_of[j], Int(0));
      outcome[j] = rule.outcome(this->best[j] + least, own[j], Int(-1));
    }
    if (image.rows_differ)
      for (int64_t j = 0; j < tile.size; ++j)
        outcome[j] = outcome[j] < 0 ? outcome[j] : Int(image.rows[outcome[j]]);
    if (image.order == nullptr && !image.ignoring) {
      int64_t* const index = image.index + tile.begin;
      int32_t* const best_object = image.best_object + tile.begin;
      for (int64_t j = 0; j < tile.size; ++j) index[j] = outcome[j];
      for (int64_t j = 0; j < tile.size; ++j) best_object[j] = static_cast<int32_t>(own[j]);
      if (image.iou != nullptr) std::copy_n(this->best, tile.size, image.iou + tile.begin);
      return;
    }
    for (int64_t j = 0; j < tile.size; ++j) {
      const int64_t a = tile.index[j];
      const bool ignored = image.ignoring && image.best_object[a] == kIgnored;
      image.best_object[a] = ignored ? kIgnored : static_cast<int32_t>(own[j]);
      image.index[a] = ignored ? kNeither : outcome[j];
      if (image.iou != nullptr) image.iou[a] = this->best[j];
    }
  }
};

// What a task writes of one image.
template <class T>
struct MatchTask {
  MatchImage<T> image;
  ObjectList<T> regions;
  ObjectMaxima<T> highest;  // of the objects over the anchors of the task
  int32_t *nearby, *nearby_regions;
};

// The best object of the anchors begin <= position < end and what follows from it alone, and the
// objects' highest IoU over these anchors.
template <bool kOrdered>
struct BestObjects {
  template <class T>
  SIGHTLINE_INLINE static void run(const MatchTask<T>* tasks, int64_t count, MatchRule<T> rule,
                                   Hull<T>* hulls,  // of each tile of all anchors, or null
                                   int64_t begin, int64_t end, ParallelFor parallel_for) {
    const T* const anchors = tasks[0].image.anchors;
    const int32_t* const order = tasks[0].image.order;
    BoxBlock<T> block;
    for (int64_t start = begin; start < end; start += kBlockLanes) {
      if (start > begin && parallel_for.should_stop()) return;
      const int64_t last = std::min(start + kBlockLanes, end);
      block.load(anchors, order, start, last);
      for (int64_t t = 0; hulls != nullptr && t < block.count; ++t)
        hulls[start / kTileLanes + t] = block.tiles[t].hull;
      for (int64_t i = 0; i < count; ++i) {
        const MatchTask<T>& task = tasks[i];
        const MatchImage<T>& image = task.image;
        if (image.ignoring) {
          IgnoreVisitor<T> ignore{rule.ignore, image.best_object, {}};
          visit_overlaps(block, task.regions, task.nearby_regions, ignore);
        }
        const T least = image.objects.count > 0 ? T(0) : T(-1);
        BestVisitor<T, kOrdered> visitor{{task.highest, {}, {}, {}, {}}, image, rule, least};
        visit_overlaps(block, image.objects, task.nearby, visitor);
        if (image.ignoring) block.load(anchors, order, start, last);  // what was dropped of it
      }
    }
  }
};

// Finds the anchors whose IoU with an object is the highest that it has.
template <class T>
struct RestoringVisitor {
  MatchImage<T> image;
  const T* highest;  // [objects]
  LaneInt<T> first;  // the last object that takes every anchor, or -1
  bool takes_that_object;
  LaneInt<T> restoring[kTileLanes];

  SIGHTLINE_INLINE void begin(BoxTile<T>& tile) {
    image.drop_ignored(tile);
    for (int64_t j = 0; j < kTileLanes; ++j) restoring[j] = first;
  }
  SIGHTLINE_INLINE void visit(const BoxTile<T>& tile, int64_t g, const Box<T>& object) {
    const LaneInt<T> own = larger(static_cast<LaneInt<T>>(g), first);
    for (int64_t j = 0; j < kTileLanes; ++j)
      restoring[j] = iou_of(tile[j], object) == highest[g] ? own : restoring[j];
  }
  SIGHTLINE_INLINE void end(const BoxTile<T>& tile) {
    for (int64_t j = 0; j < tile.size; ++j) {
      const int64_t a = tile.index[j];
      if (restoring[j] >= 0 && image.best_object[a] != kIgnored)
        image.index[a] = image.rows[takes_that_object ? restoring[j] : image.best_object[a]];
    }
  }
};

struct Restore {
  template <class T>
  SIGHTLINE_INLINE static void run(const MatchImage<T>& image, ObjectList<T> restoring,
                                   const T* highest, int32_t first, int32_t* nearby,
                                   MatchRule<T> rule, const Hull<T>* hulls, int64_t begin,
                                   int64_t end) {
    RestoringVisitor<T> visitor{
        image, highest, static_cast<LaneInt<T>>(first), rule.takes_that_object, {}};
    BoxTile<T> tile;
    for (int64_t start = begin; start < end; start += kBlockLanes) {
      const int64_t last = std::min(start + kBlockLanes, end);
      const int64_t tiles = (last - start + kTileLanes - 1) / kTileLanes;
      const Hull<T>* const own = hulls + start / kTileLanes;
      Hull<T> block;
      for (int64_t t = 0; t < tiles; ++t) block.add(own[t]);
      int64_t found = 0;
      for (int64_t k = 0; k < restoring.count; ++k) {
        nearby[found] = restoring[k];
        found += block.meets(restoring.boxes[restoring[k]]);
      }
      // Anchors are loaded only where one of the few objects lies.
      for (int64_t t = 0; t < tiles; ++t) {
        bool loaded = false;
        const auto load = [&]() SIGHTLINE_LAMBDA {
          tile.load(image.anchors, image.order, start + t * kTileLanes, last);
          visitor.begin(tile);
          loaded = true;
        };
        if (first >= 0) load();
        for (int64_t k = 0; k < found; ++k) {
          const Box<T> object = restoring.boxes[nearby[k]];
          if (!own[t].meets(object)) continue;
          if (!loaded) load();
          if (tile.overlaps(object)) visitor.visit(tile, nearby[k], object);
        }
        if (loaded) visitor.end(tile);
      }
    }
  }
};

// Low-quality matches where each object takes one anchor.
template <class T>
void restore_first_anchors(const MatchImage<T>& image, int64_t num_anchors, const T* highest,
                           const int64_t* first_anchor, MatchRule<T> rule) {
  const auto ignored = [&](int64_t a) {
    return image.ignoring && image.best_object[a] == kIgnored;
  };
  int64_t first_of_all = 0;  // which an object takes that overlaps none
  while (first_of_all < num_anchors && ignored(first_of_all)) ++first_of_all;
  for (int64_t g = 0; g < image.objects.count; ++g) {
    const int64_t a = highest[g] > T(0) ? first_anchor[g] : first_of_all;
    if (!rule.restores(highest[g]) || a == num_anchors) continue;
    image.index[a] = image.rows[rule.takes_that_object ? g : image.best_object[a]];
  }
}

}  // namespace

template <class T>
void match_anchors_cpu(MatchInput<T> in, MatchOutput<T> out, MatchShape shape, MatchRule<T> rule,
                       ParallelFor parallel_for) {
  const int64_t num_anchors = shape.anchors, images = shape.images;
  if (out.best_anchor != nullptr) std::fill_n(out.best_anchor, images * shape.objects, int64_t{-1});
  if (num_anchors == 0 || images == 0) return;
  const Compact<T> objects(in.gt_boxes, images, shape.objects);
  const Compact<T> regions(in.ignore_boxes, images, shape.regions);
  const int64_t total = objects.offsets[images], total_regions = regions.offsets[images];
  const auto order = order_for<T>(in.anchors, num_anchors, objects.boxes.get(), total);

  const int64_t blocks = (num_anchors + kBlockLanes - 1) / kBlockLanes;
  const int64_t parts = std::min(blocks, std::max(kMaxParts / images, kMinPartsOfImage));
  const int64_t per_part = (blocks + parts - 1) / parts * kBlockLanes;
  const auto best_object = working_memory<int32_t>(images * num_anchors);
  const auto part_highest = std::make_unique<T[]>(parts * total);  // [parts, total]
  const auto part_index = std::make_unique<LaneInt<T>[]>(parts * total);
  const auto nearby = working_memory<int32_t>(parts * total);
  const auto nearby_regions = working_memory<int32_t>(parts * total_regions);
  const int64_t grain = kPairsPerTask / (per_part * kImagesPerTask * (total / images + 1)) + 1;

  const auto image_of = [&](int64_t image) {
    const int64_t first = image * num_anchors;
    return MatchImage<T>{in.anchors,
                         order.empty() ? nullptr : order.data(),
                         objects.list(image),
                         objects.rows.get() + objects.offsets[image],
                         !objects.is_whole(image),
                         regions.count(image) > 0,
                         best_object.get() + first,
                         out.index + first,
                         out.iou == nullptr ? nullptr : out.iou + first};
  };
  // body(first image, last image, part, begin, end): of anchors begin <= position < end
  const auto for_each_part = [&](auto body) {
    const int64_t groups = (images + kImagesPerTask - 1) / kImagesPerTask;
    parallel_for(parts * groups, grain, [&](int64_t first, int64_t last) {
      for (int64_t task = first; task < last; ++task) {
        const int64_t image = task / parts * kImagesPerTask, part = task % parts;
        const int64_t begin = std::min(part * per_part, num_anchors);
        body(image, std::min(image + kImagesPerTask, images), part, begin,
             std::min(begin + per_part, num_anchors));
      }
    });
  };
  const bool one_anchor = rule.allow_low_quality && rule.first_anchor_only;
  const bool needs_anchors = out.best_anchor != nullptr || one_anchor;
  const bool ordered = !order.empty() && needs_anchors;  // else ties need no care
  const auto hulls = working_memory<Hull<T>>(blocks * kTilesOfBlock);
  for_each_part([&](int64_t first, int64_t last, int64_t part, int64_t begin, int64_t end) {
    MatchTask<T> tasks[kImagesPerTask];
    for (int64_t image = first; image < last; ++image) {
      const int64_t at = part * total + objects.offsets[image];
      tasks[image - first] = {image_of(image),
                              regions.list(image),
                              {part_highest.get() + at, part_index.get() + at},
                              nearby.get() + at,
                              nearby_regions.get() + part * total_regions + regions.offsets[image]};
    }
    Hull<T>* const to = first == 0 ? hulls.get() : nullptr;  // they are the same for all images
    const auto* const own = static_cast<const MatchTask<T>*>(tasks);
    if (ordered)
      run_for_isa<BestObjects<true>>(own, last - first, rule, to, begin, end, parallel_for);
    else
      run_for_isa<BestObjects<false>>(own, last - first, rule, to, begin, end, parallel_for);
  });
  if (!rule.allow_low_quality && out.best_anchor == nullptr) return;

  const auto highest = std::make_unique<T[]>(total);
  for (int64_t part = 0; part < parts; ++part)
    for (int64_t g = 0; g < total; ++g)
      highest[g] = larger(part_highest[part * total + g], highest[g]);
  if (needs_anchors) {
    const auto first_anchor = std::make_unique<int64_t[]>(total);
    std::fill_n(first_anchor.get(), total, num_anchors);
    for (int64_t part = 0; part < parts; ++part)
      for (int64_t g = 0; g < total; ++g)
        if (part_highest[part * total + g] == highest[g])
          first_anchor[g] = std::min<int64_t>(first_anchor[g], part_index[part * total + g]);
    for (int64_t image = 0; image < images; ++image) {
      const int64_t begin = objects.offsets[image], end = objects.offsets[image + 1];
      for (int64_t g = begin; out.best_anchor != nullptr && g < end; ++g)
        if (highest[g] > T(0))
          out.best_anchor[image * shape.objects + objects.rows[g]] = first_anchor[g];
      if (one_anchor)
        restore_first_anchors(image_of(image), num_anchors, highest.get() + begin,
                              first_anchor.get() + begin, rule);
    }
  }
  if (!rule.allow_low_quality || rule.first_anchor_only) return;
  // Only where an object's highest IoU over the anchors of a part is the highest of all can one of
  // them be restored.
  const auto chosen = working_memory<int32_t>(parts * total);
  const auto restore = [&](int64_t image, int64_t part, int64_t begin, int64_t end) {
    const int64_t at = part * total + objects.offsets[image];
    const T* const highest_of_image = highest.get() + objects.offsets[image];
    int32_t* const restoring = chosen.get() + at;
    int64_t count = 0;
    int32_t first = -1;  // the last of those that nothing overlaps, which restore every anchor
    for (int64_t g = 0; g < objects.count(image); ++g) {
      const T top = highest_of_image[g];
      const bool restores = rule.restores(top);
      if (restores && top == T(0)) first = static_cast<int32_t>(g);
      restoring[count] = static_cast<int32_t>(g);
      count += restores && top > T(0) && part_highest[at + g] == top;
    }
    if (first >= 0 && !rule.takes_that_object) count = 0;  // all are restored as it is
    if (first < 0 && count == 0) return;
    const ObjectList<T> list{objects.boxes.get() + objects.offsets[image], restoring, count};
    run_for_isa<Restore>(image_of(image), list, highest_of_image, first, nearby.get() + at, rule,
                         static_cast<const Hull<T>*>(hulls.get()), begin, end);
  };
  for_each_part([&](int64_t first, int64_t last, int64_t part, int64_t begin, int64_t end) {
    for (int64_t image = first; image < last; ++image) restore(image, part, begin, end);
  });
}

template void match_anchors_cpu(MatchInput<float>, MatchOutput<float>, MatchShape, MatchRule<float>,
                                ParallelFor);
template void match_anchors_cpu(MatchInput<double>, MatchOutput<double>, MatchShape,
                                MatchRule<double>, ParallelFor);

}  // namespace sightline::assign::max_iou
