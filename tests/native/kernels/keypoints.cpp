#include "evaluation/keypoints/keypoints.h"

#include <cmath>

#include "check.h"

namespace sightline::native {

using namespace evaluation::keypoints;
namespace {

const Check check("keypoints", 200, [](Random& random) {
  const int64_t k = random.pick<int64_t>({1, 7, 8, 17, 65, 200}), groups = random.below(4);
  const int64_t n = random.below(40), m = random.below(9);
  const Buffer<double> dt(3 * k * n), gt(3 * k * m), area(m), boxes(4 * m), sigmas(k);
  fill(dt, [&] { return random.uniform(0, 50); });
  fill(gt, [&] { return random.uniform(0, 50); });
  for (int64_t g = 0; g < m; ++g) {
    const bool none = random.chance(0.3);
    for (int64_t i = 0; i < k; ++i) gt[3 * (k * g + i) + 2] = none ? 0.0 : double(random.below(3));
  }
  fill(area, [&] { return random.uniform(100, 1000); });
  fill(boxes, [&] { return random.uniform(0, 20); });
  fill(sigmas, [&] { return random.uniform(0.05, 0.2); });
  const Buffer<int64_t> dt_rows(groups * n), gt_rows(groups * m);
  const Buffer<int64_t> dt_offsets(groups + 1), gt_offsets(groups + 1);
  fill(dt_rows, [&] { return random.below(n); });
  fill(gt_rows, [&] { return random.below(m); });
  for (int64_t s = 0; s <= groups; ++s) dt_offsets[s] = s * n, gt_offsets[s] = s * m;
  const KeypointGroups in{dt.data(),
                          gt.data(),
                          area.data(),
                          boxes.data(),
                          sigmas.data(),
                          dt_rows.data(),
                          dt_offsets.data(),
                          gt_rows.data(),
                          gt_offsets.data(),
                          groups,
                          k};
  const Buffer<int64_t> counts(groups * m);
  const Buffer<double> terms(count_keypoint_terms_cpu(in, counts.data()));
  const Buffer<double> overlaps(groups * n * m);
  keypoint_terms_cpu(in, counts.data(), terms.data(), Parallel(random));
  for (int64_t i = 0; i < terms.size(); ++i) terms[i] = std::exp(terms[i]);
  keypoint_means_cpu(in, counts.data(), terms.data(), overlaps.data(), Parallel(random));
  for (int64_t cell = 0; cell < overlaps.size(); ++cell) {
    const int64_t s = cell / (n * m), d = dt_rows[s * n + cell / m % n];
    const int64_t g = gt_rows[s * m + cell % m];
    const double* const box = &boxes[4 * g];
    int64_t seen = 0;
    for (int64_t i = 0; i < k; ++i) seen += gt[3 * (k * g + i) + 2] > 0;
    double sum = 0;
    for (int64_t i = 0; i < k; ++i) {
      const double *const p = &dt[3 * (k * d + i)], *const q = &gt[3 * (k * g + i)];
      if (seen > 0 && !(q[2] > 0)) continue;
      double e = 0;
      for (int axis = 0; axis < 2; ++axis) {
        const double low = box[axis] - box[axis + 2], high = box[axis] + 2 * box[axis + 2];
        const double away = seen > 0 ? p[axis] - q[axis]
                                     : std::max(0.0, low - p[axis]) + std::max(0.0, p[axis] - high);
        e += away * away;
      }
      sum += std::exp(-e / (4 * sigmas[i] * sigmas[i]) / area[g] / 2);
    }
    const double expected = sum / double(seen > 0 ? seen : k);
    require(std::abs(overlaps[cell] - expected) <= 1e-12, "similarity ", overlaps[cell],
            ", expected ", expected);
  }
});

}  // namespace
}  // namespace sightline::native
