#include "nms.h"
#include "nms/multiclass/multiclass.h"

namespace sightline::native {

using namespace nms;
using namespace nms::multiclass;
namespace {

template <class T, class S>
void check_multiclass(Random& random) {
  const int64_t anchors = std::min<int64_t>(random.size(), 300);
  const MulticlassShape shape{random.below(4),  anchors,
                              random.below(12), random.chance(0.5),
                              random.below(40), random.pick<int64_t>({1, 7, 100, 1 << 20})};
  const int64_t rows = shape.images * shape.max_detections;
  const Buffer<T> boxes(4 * shape.images * anchors * (shape.boxes_per_class ? shape.classes : 1));
  const Buffer<S> scores(shape.images * shape.scores_per_image());
  const Buffer<T> out_boxes(4 * rows);
  const Buffer<S> out_scores(rows);
  const Buffer<int64_t> labels(rows), counts(shape.images);
  fill_boxes(boxes, random);
  fill_scores(scores, random);
  const S least = S(random.pick({0.0, 0.25, 0.9}));
  const T threshold = random.pick<T>({T(0.3), T(0.5), 1});
  multiclass_nms_cpu(boxes.data(), scores.data(), out_boxes.data(), out_scores.data(),
                     labels.data(), counts.data(), shape, least, threshold, Parallel(random));
  for (int64_t image = 0; image < shape.images; ++image) {
    const S* own = scores.data() + image * shape.scores_per_image();
    std::vector<int64_t> candidates = by_score(own, shape.scores_per_image());
    std::erase_if(candidates, [&](int64_t flat) { return !(own[flat] > least); });
    candidates.resize(std::min<int64_t>(candidates.size(), shape.pre_top_k));
    const auto box = [&](int64_t flat) { return boxes.data() + shape.box_offset(image, flat); };
    auto keep =
        greedy<T>(candidates, threshold, [&](int64_t flat) { return flat % shape.classes; }, box);
    keep.resize(std::min<int64_t>(keep.size(), shape.max_detections));
    require(counts[image] == int64_t(keep.size()), "image ", image, ": ", counts[image],
            " detections, expected ", keep.size());
    for (int64_t d = 0; d < shape.max_detections; ++d) {
      const int64_t row = image * shape.max_detections + d;
      const bool there = d < counts[image];
      require(labels[row] == (there ? keep[d] % shape.classes : -1), "label of row ", row);
      require(out_scores[row] == (there ? own[keep[d]] : S(0)), "score of row ", row);
      for (int k = 0; k < 4; ++k) {
        const T got = out_boxes[4 * row + k], expected = there ? box(keep[d])[k] : T(0);
        require(got == expected || (got != got && expected != expected), "box of row ", row);
      }
    }
  }
}

const Check check("multiclass_nms", 150, [](Random& random) {
  check_multiclass<float, float>(random);
  check_multiclass<double, double>(random);
});

}  // namespace
}  // namespace sightline::native
