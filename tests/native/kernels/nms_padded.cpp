#include "nms.h"
#include "nms/padded/padded.h"

namespace sightline::native {

using namespace nms;
using namespace nms::padded;
namespace {

template <class T, class S>
void check_nms_padded(Random& random) {
  const PaddedShape shape{random.below(4), random.size(), random.pick<int64_t>({0, 1, 7, 300})};
  const Buffer<T> boxes(4 * shape.images * shape.boxes);
  const Buffer<S> scores(shape.images * shape.boxes);
  const Buffer<int64_t> idxs(shape.images * shape.boxes);
  fill_boxes(boxes, random);
  fill_scores(scores, random);
  fill(idxs, [&] { return random.below(3) - 1; });
  const bool segmented = random.chance(0.5);
  const T threshold = random.pick<T>({0, T(0.3), T(0.5), 1});
  const std::optional<S> above = random.chance(0.5) ? std::optional(S(0.5)) : std::nullopt;
  const Buffer<int64_t> indices(shape.images * shape.max_detections), counts(shape.images);
  nms_padded_cpu(boxes.data(), scores.data(), segmented ? idxs.data() : nullptr, indices.data(),
                 counts.data(), shape, threshold, above, Parallel(random));

  std::vector<int64_t> expected, expected_counts;
  for (int64_t image = 0; image < shape.images; ++image) {
    const int64_t first = image * shape.boxes;
    std::vector<int64_t> order = by_score(scores.data() + first, shape.boxes);
    std::erase_if(order, [&](int64_t i) { return above && !(scores[first + i] > *above); });
    std::vector<int64_t> keep = greedy<T>(
        order, threshold, [&](int64_t i) { return segmented ? idxs[first + i] : 0; },
        [&](int64_t i) { return &boxes[4 * (first + i)]; });
    expected_counts.push_back(std::min<int64_t>(keep.size(), shape.max_detections));
    keep.resize(shape.max_detections, -1);
    expected.insert(expected.end(), keep.begin(), keep.end());
  }
  require_equal(counts, expected_counts, "counts");
  require_equal(indices, expected, "indices");
}

const Check check("nms_padded", 200, [](Random& random) {
  check_nms_padded<float, float>(random);
  check_nms_padded<float, double>(random);
  check_nms_padded<double, float>(random);
  check_nms_padded<double, double>(random);
});

}  // namespace
}  // namespace sightline::native
