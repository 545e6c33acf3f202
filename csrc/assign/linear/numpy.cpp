#include "common/numpy.h"

#include "assign/linear/linear.h"

namespace sightline::assign::linear {
namespace {

template <class T>
Array<int64_t> linear_assignment(const Array<T>& cost) {
  require(cost.ndim() == 3, "cost must have shape [B, N, M]");
  const AssignmentShape shape{cost.shape(0), cost.shape(1), cost.shape(2)};
  Array<int64_t> columns({shape.problems, shape.rows});
  const T* const costs = cost.data();
  int64_t* const out = columns.mutable_data();
  const py::gil_scoped_release release;
  linear_assignment_cpu(costs, out, shape, OwnThreads());
  return columns;
}

const AddToModule add([](py::module_& m) {
  m.def("linear_assignment", &linear_assignment<float>, py::arg("cost").noconvert());
  m.def("linear_assignment", &linear_assignment<double>, py::arg("cost").noconvert());
});

}  // namespace
}  // namespace sightline::assign::linear
