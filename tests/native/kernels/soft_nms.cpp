#include "nms.h"
#include "nms/soft/soft.h"

namespace sightline::native {

using namespace nms;
using namespace nms::soft;
namespace {

template <class T>
void check_soft_nms(Random& random) {
  const int64_t n = random.size();
  const Buffer<T> boxes(4 * n), scores(n);
  const Buffer<int64_t> idxs(n);
  fill_boxes(boxes, random);
  fill_scores(scores, random);
  if (n && random.chance(0.2))
    scores[random.below(n)] = random.pick<T>({T(-1), std::numeric_limits<T>::quiet_NaN()});
  const int64_t segments = random.pick<int64_t>({1, 2, 80});
  fill(idxs, [&] { return random.below(segments) * random.pick<int64_t>({1, -1}); });
  const bool batched = random.chance(0.5);
  const SoftNmsSettings<T> settings{
      random.chance(0.5), random.pick<T>({0, T(0.3), T(0.5), 1}), random.pick<T>({T(0.1), T(0.5)}),
      random.pick<T>({0, T(0.001), T(0.2)}), random.chance(0.7) ? n : random.below(20)};
  const auto got = soft_nms_cpu(boxes.data(), scores.data(), batched ? idxs.data() : nullptr, n,
                                settings, Parallel(random));

  std::vector<T> current(n), kept_scores;
  std::vector<int64_t> keep;
  for (int64_t i = 0; i < n; ++i) current[i] = entry_score(scores[i], settings.score_threshold);
  while (int64_t(keep.size()) < settings.max_detections) {
    const auto found = std::max_element(current.begin(), current.end());
    if (found == current.end() || *found < T(0)) break;
    const int64_t best = found - current.begin();
    keep.push_back(best);
    kept_scores.push_back(*found);
    *found = kGone;
    for (int64_t i = 0; i < n; ++i) {
      if (current[i] < T(0) || (batched && idxs[i] != idxs[best])) continue;
      const T overlap = iou_of(load_box(&boxes[4 * best]), load_box(&boxes[4 * i]));
      current[i] = settings.gaussian ? decayed<true>(current[i], overlap, settings)
                                     : decayed<false>(current[i], overlap, settings);
    }
  }
  require(got.keep == keep, "kept ", got.keep.size(), " of ", n, ", expected ", keep.size());
  require(got.scores == kept_scores, "other scores of ", keep.size());
}

const Check check("soft_nms", 200, [](Random& random) {
  check_soft_nms<float>(random);
  check_soft_nms<double>(random);
});

}  // namespace
}  // namespace sightline::native
