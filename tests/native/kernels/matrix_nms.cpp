#include "nms.h"
#include "nms/matrix/matrix.h"

namespace sightline::native {

using namespace nms;
using namespace nms::matrix;
namespace {

template <class T>
void check_matrix_nms(Random& random) {
  const int64_t n = random.size();
  const Buffer<T> boxes(4 * n), scores(n), got(n);
  const Buffer<int64_t> idxs(n);
  fill_boxes(boxes, random);
  fill_scores(scores, random);
  const int64_t segments = random.pick<int64_t>({1, 2, 80});
  fill(idxs, [&] { return random.below(segments) * random.pick<int64_t>({1, -1}); });
  const bool batched = random.chance(0.5);
  const MatrixNmsSettings<T> settings{random.chance(0.5), random.pick<T>({T(0.5), 2})};
  matrix_nms_cpu(boxes.data(), scores.data(), batched ? idxs.data() : nullptr, got.data(), n,
                 settings, Parallel(random));

  const std::vector<int64_t> order = by_score(scores.data(), n);
  std::vector<T> most(n, T(0)), expected(n);
  for (int64_t j = 0; j < n; ++j) {
    T said = kNoSay;
    for (int64_t i = 0; i < j; ++i) {
      if (batched && idxs[order[i]] != idxs[order[j]]) continue;
      const T overlap = iou_of(load_box(&boxes[4 * order[i]]), load_box(&boxes[4 * order[j]]));
      if (overlap > most[j]) most[j] = overlap;
      if (!(overlap > T(0))) continue;
      const T word = settings.gaussian ? say<true>(overlap, most[i]) : say<false>(overlap, most[i]);
      if (word > said) said = word;
    }
    expected[order[j]] = scores[order[j]] * decay_of(said, settings);
  }
  require_equal(got, expected, "score");
}

const Check check("matrix_nms", 200, [](Random& random) {
  check_matrix_nms<float>(random);
  check_matrix_nms<double>(random);
});

}  // namespace
}  // namespace sightline::native
