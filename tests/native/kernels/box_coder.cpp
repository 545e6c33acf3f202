#include "boxes/coder/coder.h"
#include "check.h"

namespace sightline::native {

using namespace boxes::coder;
namespace {

// Bad boxes give NaN on both sides, which equals nothing.
template <class T>
T comparable(T v) {
  return v == v ? v : T(12345);
}

template <class T>
void check_coding(Random& random) {
  const int64_t m = random.size(), images = random.pick<int64_t>({1, 1, 2, 5}), n = m * images;
  const Buffer<T> boxes(4 * n), anchors(4 * m), deltas(4 * n), coded(4 * n), decoded(4 * n);
  const Buffer<T> grad(4 * n), by_rows(4 * n), by_anchors(4 * n);
  fill_boxes(boxes, random);
  fill_boxes(anchors, random);
  fill(deltas, [&] { return random.uniform(-3, 6); });
  fill(grad, [&] { return random.uniform(-1, 1); });
  const BoxCoding<T> coding{{T(10), T(-2), T(5), T(1)}, random.chance(0.5), T(40), T(30.5)};
  encode_boxes_cpu(boxes.data(), anchors.data(), coded.data(), n, m, coding, Parallel(random));
  decode_boxes_cpu(deltas.data(), anchors.data(), decoded.data(), n, m, coding, Parallel(random));
  std::vector<T> expected_codes(4 * n), expected_boxes(4 * n);
  for (int64_t i = 0; i < n; ++i)
    for (int axis = 0; axis < 2; ++axis) {
      const T *b = &boxes[4 * i], *d = &deltas[4 * i], *a = &anchors[4 * (i % m)];
      const Span<T> anchor{a[axis], a[2 + axis]};
      const Delta<T> weight = coding.weight(axis);
      const Delta<T> code = box_coder::encode({b[axis], b[2 + axis]}, anchor, weight);
      const Span<T> box = box_coder::decode({d[axis], d[2 + axis]}, anchor, weight);
      const auto placed = [&](T v) {
        return comparable(coding.clip ? box_coder::clipped(v, coding.limit(axis)) : v);
      };
      expected_codes[4 * i + axis] = comparable(code.shift);
      expected_codes[4 * i + 2 + axis] = comparable(code.scale);
      expected_boxes[4 * i + axis] = placed(box.low);
      expected_boxes[4 * i + 2 + axis] = placed(box.high);
    }
  for (int64_t i = 0; i < 4 * n; ++i) {
    coded[i] = comparable(coded[i]);
    decoded[i] = comparable(decoded[i]);
  }
  require_equal(coded, expected_codes, "deltas");
  require_equal(decoded, expected_boxes, "boxes");
  encode_boxes_backward_cpu(grad.data(), boxes.data(), anchors.data(), by_rows.data(),
                            by_anchors.data(), n, m, coding, Parallel(random));
  decode_boxes_backward_cpu(grad.data(), deltas.data(), anchors.data(), by_rows.data(),
                            by_anchors.data(), n, m, coding, Parallel(random));
}

const Check coding("box coder", 200, [](Random& random) {
  check_coding<float>(random);
  check_coding<double>(random);
});

}  // namespace
}  // namespace sightline::native
