#include "nms.h"

#include "nms/pair.h"

namespace sightline::native {
namespace {

template <class T, class S>
void check_nms(Random& random) {
  const int64_t n = random.size();
  const Buffer<T> boxes(4 * n);
  const Buffer<S> scores(n);
  const Buffer<int64_t> idxs(n);
  fill_boxes(boxes, random);
  fill_scores(scores, random);
  if (n && random.chance(0.2)) scores[random.below(n)] = std::numeric_limits<S>::quiet_NaN();
  const int64_t segments = random.pick<int64_t>({1, 2, 5, 80, 3000});
  fill(idxs, [&] { return random.below(segments) * random.pick<int64_t>({1, -1}); });
  const bool batched = random.chance(0.5);
  const T threshold = random.pick<T>({0, T(0.3), T(0.5), T(0.9), 1});
  const int64_t* const segment_of = batched ? idxs.data() : nullptr;
  const auto keep =
      nms_cpu(boxes.data(), scores.data(), segment_of, n, threshold, Parallel(random));
  const auto expected = greedy<T>(
      by_score(scores.data(), n), threshold, [&](int64_t i) { return batched ? idxs[i] : 0; },
      [&](int64_t i) { return &boxes[4 * i]; });
  require(keep == expected, "kept ", keep.size(), " of ", n, ", expected ", expected.size());

  const Buffer<int64_t> by(n);
  const auto again = nms_suppressed_by_cpu(boxes.data(), scores.data(), segment_of, by.data(), n,
                                           threshold, Parallel(random));
  require(again == expected, "with suppressors kept ", again.size(), " of ", n);
  std::vector<int64_t> suppressor(n, -1);
  std::vector<bool> kept(n, false);
  for (const int64_t i : expected) kept[i] = true;
  for (int64_t i = 0; i < n; ++i) {
    if (kept[i]) continue;
    const Box<T> box = load_box(&boxes[4 * i]);
    suppressor[i] = *std::find_if(expected.begin(), expected.end(), [&](int64_t k) {
      return (!batched || idxs[k] == idxs[i]) &&
             suppresses(load_box(&boxes[4 * k]), box, threshold);
    });
  }
  require_equal(by, suppressor, "suppressor");
}

const Check check("nms", 400, [](Random& random) {
  check_nms<float, float>(random);
  check_nms<float, double>(random);
  check_nms<double, float>(random);
  check_nms<double, double>(random);
});

}  // namespace
}  // namespace sightline::native
