#include "assign/yolo/yolo.h"
#include "check.h"

namespace sightline::native {

using namespace assign::yolo;
namespace {

// Objects in the opposite order give the same anchors, each to an object of its image.
template <class T>
void check_order(Random& random) {
  YoloLevels levels{};
  for (int64_t l = random.below(4); l >= 0; --l)
    levels.add(random.below(4), random.below(9), random.below(9), random.uniform(2, 30));
  const int64_t images = random.below(3), objects = random.size(), n = levels.anchors();
  const Buffer<T> gt_boxes(4 * images * objects), shapes(2 * levels.shapes());
  const Buffer<int64_t> out(images * n);
  fill_boxes(gt_boxes, random);
  fill(shapes, [&] { return random.chance(0.05) ? -1 : random.uniform(1, 40); });
  const YoloAssigner<T> assigner{levels, shapes.data(), yolo_rule(random.pick<int64_t>({2, 3, 5})),
                                 T(random.uniform(1, 5))};
  assign_yolo_cpu(gt_boxes.data(), out.data(), images, objects, assigner, Parallel(random));
  std::vector<int64_t> expected(images * n, -1);
  for (int64_t b = 0; b < images; ++b)
    for (int64_t g = objects - 1; g >= 0; --g)
      assigner.assign(gt_boxes.data() + 4 * b * objects, g, expected.data() + b * n);
  require_equal(out, expected, "assign_yolo");
  for (const int64_t g : expected) require(-1 <= g && g < objects, "no object: ", g);
}

const Check check("assign_yolo", 300, [](Random& random) {
  check_order<float>(random);
  check_order<double>(random);
});

}  // namespace
}  // namespace sightline::native
