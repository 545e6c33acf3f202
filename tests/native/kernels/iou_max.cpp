#include "check.h"
#include "common/box.h"
#include "iou/maxima/maxima.h"

namespace sightline::native {

using namespace iou;
using namespace iou::maxima;
namespace {

template <class T>
void check_maxima(Random& random) {
  const int64_t n = random.size(), m = std::min<int64_t>(random.size(), n > 200 ? 70 : 3000);
  const Buffer<T> a(4 * n), b(4 * m), row_max(n), column_max(m);
  const Buffer<int64_t> row_argmax(n), column_argmax(m);
  const Buffer<T> grad_row(n), grad_column(m), grad_a(4 * n), grad_b(4 * m);
  fill_boxes(a, random);
  fill_boxes(b, random);
  const IouMaxima<T> out{row_max.data(), row_argmax.data(), column_max.data(),
                         column_argmax.data()};
  box_iou_max_cpu<T>(a.data(), b.data(), out, n, m, Parallel(random));
  std::vector<T> rows(n, T(0)), columns(m, T(0));
  std::vector<int64_t> row_at(n, -1), column_at(m, -1);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < m; ++j) {
      const T value = iou_of(load_box(&a[4 * i]), load_box(&b[4 * j]));
      if (value > rows[i]) rows[i] = value, row_at[i] = j;
      if (value > columns[j]) columns[j] = value, column_at[j] = i;
    }
  }
  require_equal(row_max, rows, "row_max");
  require_equal(row_argmax, row_at, "row_argmax");
  require_equal(column_max, columns, "column_max");
  require_equal(column_argmax, column_at, "column_argmax");
  fill(grad_row, [&] { return random.uniform(-1, 1); });
  fill(grad_column, [&] { return random.uniform(-1, 1); });
  box_iou_max_backward_cpu<T>(grad_row.data(), grad_column.data(), a.data(), b.data(),
                              row_argmax.data(), column_argmax.data(), grad_a.data(), grad_b.data(),
                              n, m);
}

const Check check("iou_max", 200, [](Random& random) {
  check_maxima<float>(random);
  check_maxima<double>(random);
});

}  // namespace
}  // namespace sightline::native
