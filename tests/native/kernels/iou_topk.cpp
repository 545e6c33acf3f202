#include <numeric>

#include "check.h"
#include "common/box.h"
#include "iou/topk/topk.h"

namespace sightline::native {

using namespace iou;
using namespace iou::topk;
namespace {

template <class T>
void check_topk(Random& random) {
  const int64_t n = random.size(), m = std::min<int64_t>(random.size(), n > 200 ? 70 : 3000);
  const int64_t k = random.pick<int64_t>({0, 1, 2, 9, 64, 100});
  const Buffer<T> a(4 * n), b(4 * m), values(n * k);
  const Buffer<int64_t> indices(n * k);
  fill_boxes(a, random);
  fill_boxes(b, random);
  box_iou_topk_cpu(a.data(), b.data(), values.data(), indices.data(), n, m, k, Parallel(random));
  std::vector<T> expected(n * k, T(0)), row(m);
  std::vector<int64_t> places(n * k, -1), order(m);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < m; ++j) row[j] = iou_of(load_box(&a[4 * i]), load_box(&b[4 * j]));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t p, int64_t q) { return row[p] > row[q]; });
    for (int64_t r = 0; r < std::min(k, m) && row[order[r]] > T(0); ++r) {
      expected[i * k + r] = row[order[r]];
      places[i * k + r] = order[r];
    }
  }
  require_equal(values, expected, "value");
  require_equal(indices, places, "index");
}

const Check check("iou_topk", 150, [](Random& random) {
  check_topk<float>(random);
  check_topk<double>(random);
});

}  // namespace
}  // namespace sightline::native
