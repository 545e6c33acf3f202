#include "assign/max_iou/max_iou.h"
#include "check.h"

namespace sightline::native {

using namespace assign::max_iou;
namespace {

template <class T>
bool lies_somewhere(const T* box) {
  return load_box(box).x1 <= std::numeric_limits<T>::max();
}

template <class T>
void check_matching(Random& random) {
  const MatchShape shape{random.size(), random.below(4), random.below(30), random.below(4)};
  const Buffer<T> anchors(4 * shape.anchors), objects(4 * shape.images * shape.objects);
  const Buffer<T> regions(4 * shape.images * shape.regions);
  for (const auto* boxes : {&anchors, &objects, &regions}) fill_boxes(*boxes, random);
  const bool with_iou = random.chance(0.5), with_best_anchor = random.chance(0.5);
  const Buffer<int64_t> index(shape.images * shape.anchors);
  const Buffer<int64_t> best_anchor(with_best_anchor ? shape.images * shape.objects : 0);
  const Buffer<T> ious(with_iou ? shape.images * shape.anchors : 0);
  const T low = random.pick<T>({0, T(0.3), T(0.5)});
  const MatchRule<T> rule{low + random.pick<T>({0, T(0.2), T(0.5)}),
                          low,
                          random.pick<T>({0, T(0.2)}),
                          random.pick<T>({0, T(0.5)}),
                          random.chance(0.7),
                          random.chance(0.3),
                          random.chance(0.5),
                          random.chance(0.5)};
  match_anchors_cpu<T>({anchors.data(), objects.data(), regions.data()},
                       {index.data(), with_iou ? ious.data() : nullptr,
                        with_best_anchor ? best_anchor.data() : nullptr},
                       shape, rule, Parallel(random));

  for (int64_t image = 0; image < shape.images; ++image) {
    const T* const boxes = objects.data() + 4 * image * shape.objects;
    const auto overlap = [&](int64_t object, int64_t anchor) {
      return iou_of(load_box(boxes + 4 * object), load_box(&anchors[4 * anchor]));
    };
    std::vector<bool> ignored(shape.anchors);
    for (int64_t a = 0; a < shape.anchors; ++a)
      for (int64_t r = 0; r < shape.regions; ++r) {
        const T* const region = &regions[4 * (image * shape.regions + r)];
        if (ioa(load_box(&anchors[4 * a]), load_box(region)) > rule.ignore) ignored[a] = true;
      }
    std::vector<int64_t> restoring(shape.anchors, -1);
    for (int64_t g = 0; g < shape.objects; ++g) {
      T highest = -1;
      int64_t first = -1;
      for (int64_t a = 0; a < shape.anchors && lies_somewhere(boxes + 4 * g); ++a)
        if (!ignored[a] && overlap(g, a) > highest) highest = overlap(g, a), first = a;
      if (with_best_anchor)
        require(best_anchor[image * shape.objects + g] == (highest > 0 ? first : -1),
                "best anchor of object ", g);
      if (first < 0 || !rule.restores(highest)) continue;
      for (int64_t a = first; a < (rule.first_anchor_only ? first + 1 : shape.anchors); ++a)
        if (!ignored[a] && overlap(g, a) == highest) restoring[a] = g;
    }
    for (int64_t a = 0; a < shape.anchors; ++a) {
      T best = -1;
      int64_t object = -1;
      for (int64_t g = 0; g < shape.objects; ++g)
        if (lies_somewhere(boxes + 4 * g) && overlap(g, a) > best) best = overlap(g, a), object = g;
      const int64_t got = index[image * shape.anchors + a];
      const int64_t expected = ignored[a] ? kNeither : rule.outcome(best, object, restoring[a]);
      require(got == expected, "anchor ", a, " of image ", image, ": got ", got, ", expected ",
              expected);
      if (with_iou)
        require(ious[image * shape.anchors + a] == (ignored[a] || best < 0 ? T(0) : best),
                "IoU of anchor ", a);
    }
  }
}

const Check check("matching", 200, [](Random& random) {
  check_matching<float>(random);
  check_matching<double>(random);
});

}  // namespace
}  // namespace sightline::native
