#include <vector>

#include "common/sort.h"
#include "multiclass_nms/multiclass_nms.h"
#include "nms/suppress.h"

namespace sightline {
namespace {

constexpr int64_t kScoresPerTask = 1 << 16;
constexpr int64_t kCandidatesPerTask = 2048;

// Candidates lie by group, which is (image, class), and within one in ascending order of flat
// index.
template <class S>
struct Candidates {
  using Item = Keyed<ScoreKey<S>>;
  std::vector<int64_t> starts;             // [images * classes + 1]
  std::unique_ptr<Item[]> items, scratch;  // [starts.back()]
  std::vector<Item> last;                  // [images]: the worst that pre_top_k lets stay
};

int64_t images_per_task(const MulticlassShape& shape) {
  return kScoresPerTask / (shape.scores_per_image() + 1) + 1;
}

template <class S>
std::vector<int64_t> group_starts(const S* scores, const MulticlassShape& shape, S threshold,
                                  ParallelFor parallel_for) {
  std::vector<int64_t> starts(shape.images * shape.classes + 1, 0);
  parallel_for(shape.images, images_per_task(shape), [&](int64_t begin, int64_t end) {
    for (int64_t image = begin; image < end; ++image) {
      int64_t* const counts = starts.data() + 1 + image * shape.classes;
      const S* s = scores + image * shape.scores_per_image();
      for (int64_t a = 0; a < shape.anchors; ++a)
        for (int64_t c = 0; c < shape.classes; ++c) counts[c] += *s++ > threshold;
    }
  });
  for (size_t g = 1; g < starts.size(); ++g) starts[g] += starts[g - 1];
  return starts;
}

template <class S>
Candidates<S> find_candidates(const S* scores, const MulticlassShape& shape, S threshold,
                              ParallelFor parallel_for) {
  using Item = typename Candidates<S>::Item;
  Candidates<S> found{group_starts(scores, shape, threshold, parallel_for), {}, {}, {}};
  found.items = std::make_unique_for_overwrite<Item[]>(found.starts.back());
  found.scratch = std::make_unique_for_overwrite<Item[]>(found.starts.back());
  found.last.resize(shape.images);
  std::vector<int64_t> next(found.starts.begin(), found.starts.end() - 1);
  parallel_for(shape.images, images_per_task(shape), [&](int64_t begin, int64_t end) {
    for (int64_t image = begin; image < end; ++image) {
      int64_t* const cursor = next.data() + image * shape.classes;
      const S* const s = scores + image * shape.scores_per_image();
      for (int64_t a = 0, flat = 0; a < shape.anchors; ++a)
        for (int64_t c = 0; c < shape.classes; ++c, ++flat)
          if (s[flat] > threshold) found.items[cursor[c]++] = {score_key(s[flat]), flat};
      const int64_t first = found.starts[image * shape.classes];
      const int64_t count = found.starts[(image + 1) * shape.classes] - first;
      found.last[image] = Item::end();
      if (count <= shape.pre_top_k) continue;
      Item* const copy = found.scratch.get() + first;
      std::copy_n(found.items.get() + first, count, copy);
      std::nth_element(copy, copy + shape.pre_top_k - 1, copy + count);
      found.last[image] = copy[shape.pre_top_k - 1];
    }
  });
  return found;
}

// Sorts each group and moves what it keeps, best first, to the group's front; returns how many.
template <class T, class S>
std::vector<int64_t> suppress_groups(const T* boxes, Candidates<S>& candidates,
                                     const MulticlassShape& shape, T iou_threshold,
                                     ParallelFor parallel_for) {
  const int64_t groups = shape.images * shape.classes, total = candidates.starts.back();
  const auto memory = std::make_unique_for_overwrite<T[]>(5 * total);
  const BoxColumns<T> columns(memory.get(), total);
  const auto positions = std::make_unique_for_overwrite<int64_t[]>(total);
  std::vector<int64_t> kept(groups);
  const int64_t grain = kCandidatesPerTask * groups / (total + 1) + 1;
  parallel_for(groups, grain, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      const int64_t start = candidates.starts[g], size = candidates.starts[g + 1] - start;
      const int64_t image = g / shape.classes;
      auto* const items = candidates.items.get() + start;
      sort_keyed(items, candidates.scratch.get() + start, size);
      const int64_t n = std::upper_bound(items, items + size, candidates.last[image]) - items;
      const BoxColumns<T> own = columns.from(start);
      for (int64_t i = 0; i < n; ++i)
        own.set(i, load_box(boxes + shape.box_offset(image, items[i].index)));
      int64_t* const position = positions.get() + start;
      kept[g] = suppress(own, position, n, shape.max_detections, iou_threshold, serial_for);
      for (int64_t k = 0; k < kept[g]; ++k) items[k] = items[position[k]];
    }
  });
  return kept;
}

}  // namespace

template <class T, class S>
void multiclass_nms_cpu(const T* boxes, const S* scores, T* out_boxes, S* out_scores,
                        int64_t* out_labels, int64_t* out_counts, MulticlassShape shape,
                        S score_threshold, T iou_threshold, ParallelFor parallel_for) {
  Candidates<S> candidates = find_candidates(scores, shape, score_threshold, parallel_for);
  const std::vector<int64_t> kept =
      suppress_groups(boxes, candidates, shape, iou_threshold, parallel_for);
  parallel_for(shape.images, images_per_task(shape), [&](int64_t begin, int64_t end) {
    for (int64_t image = begin; image < end; ++image) {
      // What the classes kept moves together at the front of the image's items.
      const int64_t first_group = image * shape.classes;
      auto* const best = candidates.items.get() + candidates.starts[first_group];
      int64_t n = 0;
      for (int64_t g = first_group; g < first_group + shape.classes; ++g)
        for (int64_t k = 0; k < kept[g]; ++k)
          best[n++] = candidates.items[candidates.starts[g] + k];
      const int64_t count = std::min(n, shape.max_detections);
      std::partial_sort(best, best + count, best + n);
      out_counts[image] = count;
      for (int64_t d = 0; d < shape.max_detections; ++d) {
        const int64_t row = image * shape.max_detections + d;
        const bool filled = d < count;
        const int64_t flat = filled ? best[d].index : 0;
        for (int k = 0; k < 4; ++k)
          out_boxes[4 * row + k] = filled ? boxes[shape.box_offset(image, flat) + k] : T(0);
        out_scores[row] = filled ? scores[image * shape.scores_per_image() + flat] : S(0);
        out_labels[row] = filled ? flat % shape.classes : -1;
      }
    }
  });
}

#define INSTANTIATE(T, S)                                                          \
  template void multiclass_nms_cpu(const T*, const S*, T*, S*, int64_t*, int64_t*, \
                                   MulticlassShape, S, T, ParallelFor);
INSTANTIATE(float, float)
INSTANTIATE(float, double)
INSTANTIATE(double, float)
INSTANTIATE(double, double)
#undef INSTANTIATE

}  // namespace sightline
