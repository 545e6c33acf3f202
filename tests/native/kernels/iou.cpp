#include "check.h"
#include "iou/pairwise/pairwise.h"

namespace sightline::native {

using namespace iou;
using namespace iou::pairwise;
namespace {

template <class Form, class T>
void check_matrix(Random& random) {
  const int64_t n = random.size(), m = std::min<int64_t>(random.size(), n > 200 ? 70 : 3000);
  const PairShape shape{random.pick<int64_t>({0, 1, 1, 2, 3}), n, m, random.chance(0.3),
                        random.chance(0.3)};
  const int64_t batch = shape.batch, pairs = batch * n * m;
  const Buffer<T> a(4 * n * (shape.shared1 ? 1 : batch)), b(4 * m * (shape.shared2 ? 1 : batch));
  const Buffer<T> out(pairs), grad(pairs), grad_a(4 * n * batch), grad_b(4 * m * batch);
  fill_boxes(a, random);
  fill_boxes(b, random);
  fill(grad, [&] { return random.uniform(-1, 1); });
  const T eps = T(1e-7);
  pairwise_cpu<Form, T>(a.data(), b.data(), out.data(), shape, eps, random.chance(0.5),
                        Parallel(random));
  std::vector<T> expected(pairs);
  for (int64_t k = 0; k < pairs; ++k) {
    const int64_t e = k / (n * m), i = k / m % n, j = k % m;
    expected[k] = Form::value(prepare_box<Form>(a.data() + 4 * (shape.first_box1(e) + i)),
                              prepare_box<Form>(b.data() + 4 * (shape.first_box2(e) + j)), eps);
  }
  require_equal(out, expected, "matrix");
  pairwise_backward_cpu<Form, T>(grad.data(), a.data(), b.data(), grad_a.data(), grad_b.data(),
                                 shape, eps, Parallel(random));
}

template <class Form, class T>
void check_aligned(Random& random) {
  const int64_t n = random.size();
  const Buffer<T> a(4 * n), b(4 * n), out(n), grad(n), grad_a(4 * n), grad_b(4 * n);
  fill_boxes(a, random);
  fill_boxes(b, random);
  fill(grad, [&] { return random.uniform(-1, 1); });
  const T eps = T(1e-7);
  aligned_cpu<Form, T>(a.data(), b.data(), out.data(), n, eps, Parallel(random));
  std::vector<T> expected(n);
  for (int64_t i = 0; i < n; ++i)
    expected[i] =
        aligned_value<Form>(prepare_box<Form>(&a[4 * i]), prepare_box<Form>(&b[4 * i]), eps);
  require_equal(out, expected, "aligned");
  aligned_backward_cpu<Form, T>(grad.data(), a.data(), b.data(), grad_a.data(), grad_b.data(), n,
                                eps, Parallel(random));
}

const Check matrices("iou", 60, [](Random& random) {
#define CHECK_FORM(Form, T) check_matrix<Form, T>(random);
  SIGHTLINE_MATRIX_FORMS(CHECK_FORM)
#undef CHECK_FORM
});

const Check aligned("aligned iou", 100, [](Random& random) {
#define CHECK_FORM(Form, T) check_aligned<Form, T>(random);
  SIGHTLINE_MATRIX_FORMS(CHECK_FORM)
  SIGHTLINE_LOSS_FORMS(CHECK_FORM)
#undef CHECK_FORM
});

}  // namespace
}  // namespace sightline::native
