#include "iou/iou.h"

#include "check.h"

namespace sightline::native {
namespace {

template <class Form, class T>
void check_matrix(Random& random) {
  const int64_t n = random.size(), m = std::min<int64_t>(random.size(), n > 200 ? 70 : 3000);
  const Buffer<T> a(4 * n), b(4 * m), out(n * m), grad(n * m), grad_a(4 * n), grad_b(4 * m);
  fill_boxes(a, random);
  fill_boxes(b, random);
  fill(grad, [&] { return random.uniform(-1, 1); });
  const T eps = T(1e-7);
  pairwise_cpu<Form, T>(a.data(), b.data(), out.data(), n, m, eps, Parallel(random));
  std::vector<T> expected(n * m);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j)
      expected[i * m + j] =
          Form::value(prepare_box<Form>(&a[4 * i]), prepare_box<Form>(&b[4 * j]), eps);
  require_equal(out, expected, "matrix");
  pairwise_backward_cpu<Form, T>(grad.data(), a.data(), b.data(), grad_a.data(), grad_b.data(), n,
                                 m, eps, Parallel(random));
}

template <class Form, class T>
void check_loss(Random& random) {
  const int64_t n = random.size();
  const Buffer<T> a(4 * n), b(4 * n), out(n), grad(n), grad_a(4 * n), grad_b(4 * n);
  fill_boxes(a, random);
  fill_boxes(b, random);
  fill(grad, [&] { return random.uniform(-1, 1); });
  const T eps = T(1e-7);
  aligned_loss_cpu<Form, T>(a.data(), b.data(), out.data(), n, eps, Parallel(random));
  std::vector<T> expected(n);
  for (int64_t i = 0; i < n; ++i)
    expected[i] =
        T(1) - Form::value(prepare_box<Form>(&a[4 * i]), prepare_box<Form>(&b[4 * i]), eps);
  require_equal(out, expected, "loss");
  aligned_loss_backward_cpu<Form, T>(grad.data(), a.data(), b.data(), grad_a.data(), grad_b.data(),
                                     n, eps, Parallel(random));
}

const Check matrices("iou", 60, [](Random& random) {
#define CHECK_FORM(Form, T) check_matrix<Form, T>(random);
  SIGHTLINE_MATRIX_FORMS(CHECK_FORM)
#undef CHECK_FORM
});

const Check losses("iou losses", 100, [](Random& random) {
#define CHECK_FORM(Form, T) check_loss<Form, T>(random);
  SIGHTLINE_LOSS_FORMS(CHECK_FORM)
#undef CHECK_FORM
});

}  // namespace
}  // namespace sightline::native
