#include <limits>
#include <vector>

#include "common/working_memory.h"
#include "nms/kept_boxes.h"
#include "nms/multiclass/best_scores.h"
#include "nms/multiclass/multiclass.h"

namespace sightline::nms::multiclass {
namespace {

constexpr int64_t kScoresPerTask = 1 << 16;
// The first batch of an image's best scores: so many for each detection, and at least as many as
// cost little beside one pass over the scores. Later batches are larger, as each costs such a pass.
constexpr int64_t kBatchPerDetection = 8, kLeastBatch = 1024, kBatchGrowth = 16;

// Goes through candidates, best first, and notes the flat index of each that none kept before it
// suppresses, until max_detections are there.
struct KeepCandidates {
  template <class T, class Item>
  SIGHTLINE_INLINE static void run(const Item* candidates, int64_t n, const T* boxes, int64_t image,
                                   const MulticlassShape* shape,
                                   KeptBoxes<T>* kept_boxes,  // [segments]
                                   int64_t* kept,             // [max_detections]
                                   int64_t* count, ParallelFor parallel_for) {
    constexpr int64_t kBetweenLooks = 1024;
    int64_t found = *count;
    for (int64_t i = 0; i < n && found < shape->max_detections; ++i) {
      if (i % kBetweenLooks == kBetweenLooks - 1) parallel_for.throw_if_stopped();
      const int64_t flat = candidates[i].index;
      const Box<T> box = load_box(boxes + shape->box_offset(image, flat));
      if (box.area > T(0)) {  // others overlap nothing
        KeptBoxes<T>& segment = kept_boxes[flat % shape->segments()];
        if (segment.suppresses_any(box, 0)) continue;
        segment.add(box, found);
      }
      kept[found++] = flat;
    }
    *count = found;
  }
};

// The flat indices of an image's detections, best first; returns how many.
template <class T, class S>
int64_t detect(const T* boxes, const S* scores, int64_t image, const MulticlassShape& shape,
               S score_threshold, T iou_threshold, int64_t* kept /* [max_detections] */,
               ParallelFor parallel_for) {
  const int64_t n = shape.scores_per_image();
  if (n == 0) return 0;
  BestScores<S> best(scores + image * n, n, score_threshold);
  std::vector<KeptBoxes<T>> kept_boxes;
  kept_boxes.reserve(shape.segments());
  const int64_t most = std::min(shape.segment_size(), shape.max_detections);
  for (int64_t s = 0; s < shape.segments(); ++s) kept_boxes.emplace_back(most, iou_threshold);
  int64_t count = 0, left = std::min(n, shape.pre_top_k);
  int64_t batch = std::max(kLeastBatch, std::min(n, shape.max_detections) * kBatchPerDetection);
  while (count < shape.max_detections && left > 0 && best.next(std::min(left, batch))) {
    const int64_t size = best.end() - best.begin();
    run_for_isa<KeepCandidates>(best.begin(), size, boxes, image, &shape, kept_boxes.data(), kept,
                                &count, parallel_for);
    left -= size;
    batch = std::min(n, batch * kBatchGrowth);
  }
  return count;
}

}  // namespace

template <class T, class S>
void multiclass_nms_cpu(const T* boxes, const S* scores, T* out_boxes, S* out_scores,
                        int64_t* out_labels, int64_t* out_counts, MulticlassShape shape,
                        S score_threshold, T iou_threshold, ParallelFor parallel_for) {
  const int64_t grain = kScoresPerTask / (shape.scores_per_image() + 1) + 1;
  parallel_for(shape.images, grain, [&](int64_t begin, int64_t end) {
    const auto kept = working_memory<int64_t>(shape.max_detections);
    for (int64_t image = begin; image < end; ++image) {
      const int64_t count = detect(boxes, scores, image, shape, score_threshold, iou_threshold,
                                   kept.get(), parallel_for);
      out_counts[image] = count;
      for (int64_t d = 0; d < shape.max_detections; ++d) {
        const int64_t row = image * shape.max_detections + d;
        const bool filled = d < count;
        const int64_t flat = filled ? kept[d] : 0;
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

}  // namespace sightline::nms::multiclass
