#include "assign/fcos/fcos.h"
#include "check.h"

namespace sightline::native {

using namespace assign::fcos;
namespace {

template <class T>
void check_assign_fcos(Random& random) {
  const int64_t num_points = random.size(), images = random.below(4), objects = random.below(30);
  const Buffer<T> points(2 * num_points), boxes(4 * images * objects);
  const bool whole = random.chance(0.5);  // points on borders and centres
  fill(points, [&] { return whole ? random.below(60) - 10 : random.uniform(-10, 60); });
  fill_boxes(boxes, random);
  const T low = random.pick<T>({0, 8, 20});
  const FcosLevel<T> level{random.pick<T>({T(1.5), 12, 1000}), low,
                           low + random.pick<T>({0, 12, 1000})};
  const Buffer<int64_t> out(images * num_points);
  assign_fcos_cpu(points.data(), boxes.data(), out.data(), num_points, images, objects, level,
                  Parallel(random));

  for (int64_t image = 0; image < images; ++image)
    for (int64_t i = 0; i < num_points; ++i) {
      T area = std::numeric_limits<T>::infinity();
      int64_t expected = -1;
      for (int64_t g = 0; g < objects; ++g) {
        const Box<T> box = load_box(&boxes[4 * (image * objects + g)]);
        if (level.takes(points[2 * i], points[2 * i + 1], box) && box.area < area)
          area = box.area, expected = g;
      }
      const int64_t got = out[image * num_points + i];
      require(got == expected, "point ", i, " of image ", image, ": got ", got, ", expected ",
              expected);
    }
}

const Check check("assign_fcos", 200, [](Random& random) {
  check_assign_fcos<float>(random);
  check_assign_fcos<double>(random);
});

}  // namespace
}  // namespace sightline::native
