#include "common/numpy.h"

#include "assign/predictions_numpy.h"
#include "assign/task_aligned/task_aligned.h"

namespace sightline::assign::task_aligned {
namespace {

template <class T>
py::tuple assign_task_aligned(const Array<T>& scores, const Array<T>& boxes, const Array<T>& points,
                              const Array<T>& gt_boxes, const Array<int64_t>& gt_labels,
                              int64_t top_k, int64_t kept, double alpha, double beta,
                              bool complete) {
  check_predictions(scores, boxes, points, gt_boxes, gt_labels);
  const int64_t images = scores.shape(0), anchors = scores.shape(1), objects = gt_boxes.shape(1);
  require(top_k >= 1 && top_k <= kMaxTopK && kept >= 1, "top_k must lie in [1, 512]");
  Array<int64_t> index({images, anchors});
  Array<T> metric({images, anchors}), overlap({images, anchors}), target({images, anchors});
  const TaskAlignedInputs<T> in{scores.data(),   boxes.data(),     points.data(),
                                gt_boxes.data(), gt_labels.data(), images,
                                anchors,         objects,          scores.shape(2)};
  const TaskAlignedOutputs<T> out{index.mutable_data(), metric.mutable_data(),
                                  overlap.mutable_data(), target.mutable_data()};
  const TaskAlignedRule<T> rule{math::Exponent<T>(alpha), math::Exponent<T>(beta), top_k, kept,
                                complete};
  {
    const py::gil_scoped_release release;
    assign_task_aligned_cpu(in, rule, out, OwnThreads());
  }
  return py::make_tuple(index, metric, overlap, target);
}

template <class T>
void add_of(py::module_& m) {
  m.def("assign_task_aligned", &assign_task_aligned<T>, py::arg("scores").noconvert(),
        py::arg("boxes").noconvert(), py::arg("points").noconvert(),
        py::arg("gt_boxes").noconvert(), py::arg("gt_labels").noconvert(), py::arg("top_k"),
        py::arg("kept"), py::arg("alpha"), py::arg("beta"), py::arg("complete"));
}

const AddToModule add([](py::module_& m) {
  add_of<float>(m);
  add_of<double>(m);
});

}  // namespace
}  // namespace sightline::assign::task_aligned
