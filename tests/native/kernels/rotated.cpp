#include "iou/rotated/rotated.h"

#include "nms.h"
#include "nms/rotated/rotated.h"

namespace sightline::native {

using namespace nms;
using namespace iou;
using namespace iou::rotated;
using namespace nms::rotated;
namespace {

// [n, 5]; some upright or identical, some with nothing in them or not finite.
template <class T>
void fill_rotated(const Buffer<T>& boxes, Random& random) {
  const bool whole = random.chance(0.3), bad = random.chance(0.3);
  for (int64_t i = 0; i < boxes.size(); i += 5) {
    T* box = &boxes[i];
    for (int k = 0; k < 5; ++k) {
      const double value = k < 2   ? random.uniform(-50, 90)
                           : k < 4 ? random.uniform(0.5, 40)
                                   : random.uniform(-400, 400);
      box[k] = T(whole ? std::int64_t(value) : value);
    }
    if (whole) box[4] = T(90) * T(random.below(9) - 4);
    if (i > 0 && random.chance(0.1)) std::copy(&boxes[0], &boxes[0] + 5, box);
    if (bad && random.chance(0.2)) {
      const T big = std::numeric_limits<T>::max(), inf = std::numeric_limits<T>::infinity();
      box[random.below(5)] =
          random.pick<T>({T(0), big, -big, inf, -inf, std::numeric_limits<T>::min(), T(-30),
                          std::numeric_limits<T>::quiet_NaN()});
    }
  }
}

AngleUnit any_unit(Random& random) {
  return random.pick<AngleUnit>({AngleUnit::kDegrees, AngleUnit::kRadians});
}

template <class T>
void check_iou(Random& random) {
  const int64_t n = random.size(), m = n > 200 ? random.below(40) : random.size();
  const Buffer<T> boxes1(5 * n), boxes2(5 * m), out(n * m), grad(n * m);
  const Buffer<T> grad1(5 * n), grad2(5 * m);
  fill_rotated(boxes1, random);
  fill_rotated(boxes2, random);
  const AngleUnit unit = any_unit(random);
  box_iou_rotated_cpu(boxes1.data(), boxes2.data(), out.data(), n, m, unit, Parallel(random));
  std::vector<T> expected(n * m);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j)
      expected[i * m + j] = rotated_iou(load_rotated_box(&boxes1[5 * i], unit),
                                        load_rotated_box(&boxes2[5 * j], unit));
  require_equal(out, expected, "IoU");
  for (const T iou : expected) require(iou >= T(0) && iou <= T(1), "IoU of ", iou);

  fill(grad, [&] { return random.below(3) - 1; });
  box_iou_rotated_backward_cpu(grad.data(), boxes1.data(), boxes2.data(), grad1.data(),
                               grad2.data(), n, m, unit, Parallel(random));
  for (const Buffer<T>* buffer : {&grad1, &grad2})
    for (int64_t i = 0; i < buffer->size(); ++i)
      require(std::isfinite((*buffer)[i]), "gradient of ", (*buffer)[i]);
}

template <class T>
void check_aligned(Random& random) {
  const int64_t n = random.size();
  const Buffer<T> boxes1(5 * n), boxes2(5 * n), out(n), grad(n), grad1(5 * n), grad2(5 * n);
  fill_rotated(boxes1, random);
  fill_rotated(boxes2, random);
  const AngleUnit unit = any_unit(random);
  aligned_box_iou_rotated_cpu(boxes1.data(), boxes2.data(), out.data(), n, unit, Parallel(random));
  std::vector<T> expected(n);
  for (int64_t i = 0; i < n; ++i)
    expected[i] =
        rotated_iou(load_rotated_box(&boxes1[5 * i], unit), load_rotated_box(&boxes2[5 * i], unit));
  require_equal(out, expected, "aligned IoU");
  fill(grad, [&] { return random.uniform(-1, 1); });
  aligned_box_iou_rotated_backward_cpu(grad.data(), boxes1.data(), boxes2.data(), grad1.data(),
                                       grad2.data(), n, unit, Parallel(random));
  for (int64_t i = 0; i < 5 * n; ++i)
    require(std::isfinite(grad1[i]) && std::isfinite(grad2[i]), "gradient is not finite");
}

template <class T, class S>
void check_nms(Random& random) {
  const int64_t n = random.size();
  const Buffer<T> boxes(5 * n);
  const Buffer<S> scores(n);
  const Buffer<int64_t> idxs(n);
  fill_rotated(boxes, random);
  fill_scores(scores, random);
  if (n && random.chance(0.2)) scores[random.below(n)] = std::numeric_limits<S>::quiet_NaN();
  const int64_t segments = random.pick<int64_t>({1, 2, 80});
  fill(idxs, [&] { return random.below(segments) * random.pick<int64_t>({1, -1}); });
  const bool batched = random.chance(0.5);
  const AngleUnit unit = any_unit(random);
  const T threshold = random.pick<T>({0, T(0.3), T(0.5), 1});
  const auto keep = nms_rotated_cpu(boxes.data(), scores.data(), batched ? idxs.data() : nullptr, n,
                                    threshold, unit, Parallel(random));
  std::vector<RotatedBox<T>> loaded(n);
  for (int64_t i = 0; i < n; ++i) loaded[i] = load_rotated_box(&boxes[5 * i], unit);
  std::vector<int64_t> expected;
  for (const int64_t i : by_score(scores.data(), n)) {
    const auto removes = [&](int64_t kept) {
      return (!batched || idxs[kept] == idxs[i]) &&
             rotated_iou(loaded[kept], loaded[i]) > threshold;
    };
    if (std::none_of(expected.begin(), expected.end(), removes)) expected.push_back(i);
  }
  require(keep == expected, "kept ", keep.size(), " of ", n, ", expected ", expected.size());
}

const Check iou_check("iou_rotated", 300, [](Random& random) {
  check_iou<float>(random);
  check_iou<double>(random);
  check_aligned<float>(random);
  check_aligned<double>(random);
});
const Check nms_check("nms_rotated", 200, [](Random& random) {
  check_nms<float, float>(random);
  check_nms<float, double>(random);
  check_nms<double, double>(random);
});

}  // namespace
}  // namespace sightline::native
