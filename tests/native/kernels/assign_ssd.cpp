#include "assign/ssd/ssd.h"
#include "check.h"

namespace sightline::native {

using namespace assign::ssd;
namespace {

// The pairs that the rule makes, by looking at all of them each time.
template <class T, class Iou>
std::vector<int64_t> expected_of(const T* boxes, int64_t num_anchors, int64_t objects, T threshold,
                                 SsdRule rule, Iou overlap) {
  std::vector<int64_t> out(num_anchors, -1), left;
  for (int64_t g = 0; g < objects; ++g)
    if (is_object(boxes + 4 * g)) left.push_back(g);
  for (int64_t a = 0; a < num_anchors; ++a) {
    T best = left.empty() ? T(-1) : T(0);
    int64_t object = -1;
    for (const int64_t g : left)
      if (overlap(g, a) > best) best = overlap(g, a), object = g;
    out[a] = ssd_outcome(best, object, threshold, rule, boxes, objects);
  }
  if (num_anchors == 0) return out;
  if (rule == SsdRule::kOverwrite) {
    for (const int64_t g : left) {
      int64_t best = 0;
      for (int64_t a = 1; a < num_anchors; ++a)
        if (overlap(g, a) > overlap(g, best)) best = a;
      out[best] = g;
    }
    return out;
  }
  std::vector<bool> taken(num_anchors);
  while (!left.empty()) {
    SsdPair<T> best{0, num_anchors, objects};
    for (int64_t a = 0; a < num_anchors; ++a)
      for (const int64_t g : left) {
        const SsdPair<T> pair{overlap(g, a), a, g};
        if (!taken[a] && pair.iou > T(0) && pair.before(best)) best = pair;
      }
    if (!(best.iou > T(0))) break;
    out[best.anchor] = best.object, taken[best.anchor] = true;
    std::erase(left, best.object);
  }
  return out;
}

template <class T>
void check_assign_ssd(Random& random) {
  const int64_t num_anchors = std::min<int64_t>(random.size(), 400);
  const int64_t images = random.below(3), objects = random.below(12);
  const Buffer<T> anchors(4 * num_anchors), boxes(4 * images * objects);
  fill_boxes(anchors, random);
  fill_boxes(boxes, random);
  const T threshold = random.pick<T>({0, T(0.3), T(0.5), 1});
  const SsdRule rule = random.pick({SsdRule::kBipartite, SsdRule::kOverwrite});
  const Buffer<int64_t> out(images * num_anchors);
  assign_ssd_cpu(anchors.data(), boxes.data(), out.data(), num_anchors, images, objects, threshold,
                 rule, Parallel(random));

  for (int64_t image = 0; image < images; ++image) {
    const T* const own = boxes.data() + 4 * image * objects;
    const auto overlap = [&](int64_t g, int64_t a) {
      return iou_of(load_box(&anchors[4 * a]), load_box(own + 4 * g));
    };
    const auto expected = expected_of(own, num_anchors, objects, threshold, rule, overlap);
    for (int64_t a = 0; a < num_anchors; ++a)
      require(out[image * num_anchors + a] == expected[a], "anchor ", a, " of image ", image,
              ": got ", out[image * num_anchors + a], ", expected ", expected[a]);
  }
}

const Check check("assign_ssd", 200, [](Random& random) {
  check_assign_ssd<float>(random);
  check_assign_ssd<double>(random);
});

}  // namespace
}  // namespace sightline::native
