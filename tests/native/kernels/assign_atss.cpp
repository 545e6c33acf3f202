#include "assign/atss/atss.h"
#include "check.h"

namespace sightline::native {

using namespace assign::atss;
namespace {

template <class T>
void check_candidates(Random& random) {
  AtssLevels levels{0, {}};
  int64_t n = 0;
  for (int64_t l = random.below(4); l >= 0; --l) levels.end[levels.count++] = n += random.size();
  const int64_t images = random.below(3), objects = std::min<int64_t>(random.size(), 40);
  const int64_t top_k = random.pick<int64_t>({1, 2, 9, 70, 100000});
  const Buffer<T> anchors(4 * n), gt_boxes(4 * images * objects);
  const Buffer<int64_t> out(images * n);
  fill_boxes(anchors, random);
  fill_boxes(gt_boxes, random);
  assign_atss_cpu(anchors.data(), gt_boxes.data(), out.data(), levels, images, objects, top_k,
                  Parallel(random));
  std::vector<int64_t> expected(images * n, -1);
  for (int64_t b = 0; b < images; ++b) {
    std::vector<T> best(n, T(0));
    for (int64_t g = 0; g < objects; ++g) {
      const Box<T> object = load_box(&gt_boxes[4 * (b * objects + g)]);
      std::vector<int64_t> candidates;
      for (int l = 0; l < levels.count; ++l) {
        std::vector<std::pair<T, int64_t>> level;
        for (int64_t a = levels.begin(l); a < levels.end[l]; ++a) {
          const Box<T> anchor = load_box(&anchors[4 * a]);
          const T d = squared_distance(centre_x(anchor), centre_y(anchor), centre_x(object),
                                       centre_y(object));
          if (d >= T(0)) level.push_back({d, a});
        }
        std::sort(level.begin(), level.end());
        if (int64_t(level.size()) > top_k) level.resize(top_k);
        for (const auto& [d, a] : level) candidates.push_back(a);
      }
      std::sort(candidates.begin(), candidates.end());
      AtssThreshold threshold;
      const auto overlap = [&](int64_t a) { return iou_of(load_box(&anchors[4 * a]), object); };
      for (const int64_t a : candidates) threshold.add(overlap(a));
      for (const int64_t a : candidates) threshold.add_square(overlap(a));
      for (const int64_t a : candidates) {
        const Box<T> anchor = load_box(&anchors[4 * a]);
        if (overlap(a) > best[a] && overlap(a) >= threshold.value() &&
            holds_centre(object, centre_x(anchor), centre_y(anchor)))
          best[a] = overlap(a), expected[b * n + a] = g;
      }
    }
  }
  require_equal(out, expected, "assign_atss");
}

const Check check("assign_atss", 200, [](Random& random) {
  check_candidates<float>(random);
  check_candidates<double>(random);
});

}  // namespace
}  // namespace sightline::native
