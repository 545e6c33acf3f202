#include "assign/sim_ota/sim_ota.h"
#include "assign/task_aligned/task_aligned.h"
#include "check.h"

namespace sightline::native {

using namespace assign::sim_ota;
using namespace assign::task_aligned;
namespace {

// Results are held to what they must satisfy; tests/ops holds them to the reference.
template <class T>
void check_assigners(Random& random) {
  const int64_t images = random.below(4), anchors = random.size(), objects = random.below(9),
                classes = 1 + random.below(40), top_k = random.pick<int64_t>({1, 10, 512});
  const Buffer<T> scores(images * anchors * classes), boxes(4 * images * anchors),
      points(2 * anchors), strides(anchors), gt_boxes(4 * images * objects);
  const Buffer<int64_t> labels(images * objects), index(images * anchors);
  const Buffer<T> metric(images * anchors), overlap(images * anchors), target(images * anchors);
  fill_scores(scores, random);
  fill_boxes(boxes, random);
  fill_boxes(gt_boxes, random);
  fill(points, [&] { return random.uniform(-20, 80); });
  fill(strides, [&] { return random.pick<double>({4, 8, 16}); });
  fill(labels, [&] { return random.below(classes + 2) - 1; });
  const auto check_index = [&](const char* what) {
    for (int64_t i = 0; i < images * anchors; ++i) {
      require(index[i] >= -1 && index[i] < objects, what, ": index ", index[i]);
      const int64_t object = i / anchors * objects + index[i];
      const T expected =
          index[i] < 0 ? T(0) : iou_of(load_box(&boxes[4 * i]), load_box(&gt_boxes[4 * object]));
      require(overlap[i] == expected, what, ": overlap ", overlap[i], " for ", expected);
    }
  };
  const math::Exponent<T> alpha(random.pick({0.0, 0.5, 1.0, 1.7})), beta(random.pick({1.0, 6.0}));
  assign_task_aligned_cpu<T>({scores.data(), boxes.data(), points.data(), gt_boxes.data(),
                              labels.data(), images, anchors, objects, classes},
                             {alpha, beta, top_k, 1 + random.below(top_k), false},
                             {index.data(), metric.data(), overlap.data(), target.data()},
                             Parallel(random));
  check_index("assign_task_aligned");
  for (int64_t i = 0; i < images * anchors; ++i)
    require((index[i] >= 0) == (metric[i] > T(0)) && target[i] <= T(1), "target ", target[i]);
  assign_sim_ota_cpu<T>({scores.data(), boxes.data(), points.data(), strides.data(),
                         gt_boxes.data(), labels.data(), images, anchors, objects, classes},
                        {T(random.pick({0.5, 2.5})), top_k, T(3), T(1)}, index.data(),
                        overlap.data(), Parallel(random));
  check_index("assign_sim_ota");
}

const Check check("assign_predictions", 200, [](Random& random) {
  check_assigners<float>(random);
  check_assigners<double>(random);
});

}  // namespace
}  // namespace sightline::native
