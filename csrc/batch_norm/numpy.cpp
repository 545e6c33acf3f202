#include "common/numpy.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <type_traits>

#include "batch_norm/batch_norm.h"
#include "batch_norm/ghost_batches.h"

namespace sightline::batch_norm {
namespace {

// pybind11 has no float16: those arrays come as their bits, uint16.
template <class T>
using Stored = std::conditional_t<std::is_same_v<T, Float16>, uint16_t, T>;

template <class S>
const S* per_channel(const std::optional<Array<S>>& values, int64_t channels, const char* name) {
  if (!values.has_value()) return nullptr;
  require(values->ndim() == 1 && values->shape(0) == channels, name);
  return values->data();
}

// x [N, C, L] -> y [N, C, L], and the mean and biased variance it was made with, float64
// [ghost_batches * C]; in inference there is one.
template <class T>
py::tuple batch_norm_act(const Array<Stored<T>>& x, const std::optional<Array<Compute<T>>>& weight,
                         const std::optional<Array<Compute<T>>>& bias,
                         const std::optional<Array<double>>& running_mean,
                         const std::optional<Array<double>>& running_var,
                         const std::optional<Array<Stored<T>>>& residual, int64_t activation,
                         double negative_slope, bool training, double eps, int64_t ghost_batches) {
  require(x.ndim() == 3, "x must have shape [N, C, L]");
  require(ghost_batches >= 1 && x.shape(0) % ghost_batches == 0,
          "x must hold a multiple of ghost_batches samples");
  require(training || ghost_batches == 1, "inference has no ghost batches");
  require(0 <= activation && activation <= int64_t(Activation::kSilu),
          "activation must be 0, 1, 2 or 3");
  const BatchNormShape shape{x.shape(0) / ghost_batches, x.shape(1), x.shape(2), x.shape(2) == 1};
  const int64_t channels = shape.channels;
  Array<double> mean(ghost_batches * channels), var(ghost_batches * channels);
  Array<Stored<T>> y({x.shape(0), x.shape(1), x.shape(2)});
  const auto* means = per_channel(running_mean, channels, "running_mean must have shape [C]");
  const auto* vars = per_channel(running_var, channels, "running_var must have shape [C]");
  require(training || (means != nullptr && vars != nullptr),
          "inference needs running_mean and running_var");
  std::fill_n(mean.mutable_data(), mean.size(), 0.0);
  std::fill_n(var.mutable_data(), var.size(), 0.0);
  if (!training) {
    std::copy_n(means, channels, mean.mutable_data());
    std::copy_n(vars, channels, var.mutable_data());
  }
  if (residual.has_value())
    require(residual->ndim() == 3 && std::equal(x.shape(), x.shape() + 3, residual->shape()),
            "x and residual must have one shape");
  const BatchNormForward<T> arrays{
      reinterpret_cast<const T*>(x.data()),
      residual.has_value() ? reinterpret_cast<const T*>(residual->data()) : nullptr,
      per_channel(weight, channels, "weight must have shape [C]"),
      per_channel(bias, channels, "bias must have shape [C]"),
      mean.mutable_data(),
      var.mutable_data(),
      reinterpret_cast<T*>(y.mutable_data()),
      nullptr};
  const BatchNormOptions options{static_cast<Activation>(activation), negative_slope, eps,
                                 training};
  {
    const py::gil_scoped_release release;
    for_each_ghost_batch(ghost_batches, shape, most_threads(), OwnThreads(),
                         [&](int64_t run, ParallelFor parallel_for) {
                           batch_norm_act_cpu(ghost_batch(arrays, shape, run), shape, options,
                                              parallel_for);
                         });
  }
  return py::make_tuple(y, mean, var);
}

template <class T>
void add_type(py::module_& m) {
  m.def("batch_norm_act", &batch_norm_act<T>, py::arg("x").noconvert(),
        py::arg("weight").noconvert(), py::arg("bias").noconvert(),
        py::arg("running_mean").noconvert(), py::arg("running_var").noconvert(),
        py::arg("residual").noconvert(), py::arg("activation"), py::arg("negative_slope"),
        py::arg("training"), py::arg("eps"), py::arg("ghost_batches"));
}

const AddToModule add([](py::module_& m) {
  add_type<float>(m);
  add_type<double>(m);
  add_type<Float16>(m);
});

}  // namespace
}  // namespace sightline::batch_norm
