#include "matching/matching.h"

#include "check.h"

namespace sightline::native {
namespace {

template <class T>
void check_matching(Random& random) {
  const int64_t num_anchors = random.size(), images = random.below(4);
  const Buffer<int64_t> offsets(images + 1), matches(images * num_anchors);
  offsets[0] = 0;
  for (int64_t i = 0; i < images; ++i) offsets[i + 1] = offsets[i] + random.below(30);
  const Buffer<T> anchors(4 * num_anchors), objects(4 * offsets[images]);
  fill_boxes(anchors, random);
  fill_boxes(objects, random);
  const T low = random.pick<T>({0, T(0.3), T(0.5)});
  const MatchRule<T> rule{low + random.pick<T>({0, T(0.2), T(0.5)}), low, random.chance(0.7),
                          random.chance(0.5)};
  match_anchors_cpu(anchors.data(), objects.data(), offsets.data(), matches.data(), num_anchors,
                    images, rule, Parallel(random));

  for (int64_t image = 0; image < images; ++image) {
    const int64_t first = offsets[image], count = offsets[image + 1] - first;
    const auto overlap = [&](int64_t object, int64_t anchor) {
      return iou(load_box(&objects[4 * (first + object)]), load_box(&anchors[4 * anchor]));
    };
    std::vector<T> highest(count, T(0));
    for (int64_t g = 0; g < count; ++g)
      for (int64_t a = 0; a < num_anchors; ++a) highest[g] = std::max(highest[g], overlap(g, a));
    for (int64_t a = 0; a < num_anchors; ++a) {
      T best = -1;
      int64_t object = -1;
      bool restored = false;
      for (int64_t g = 0; g < count; ++g) {
        const T value = overlap(g, a);
        if (value > best) best = value, object = g;
        restored |= rule.restores(highest[g]) && value == highest[g];
      }
      const int64_t got = matches[image * num_anchors + a];
      const int64_t expected = rule.outcome(best, object, restored);
      require(got == expected, "anchor ", a, " of image ", image, ": got ", got, ", expected ",
              expected);
    }
  }
}

const Check check("matching", 200, [](Random& random) {
  check_matching<float>(random);
  check_matching<double>(random);
});

}  // namespace
}  // namespace sightline::native
