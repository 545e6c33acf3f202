// What the NumPy adapters of NMS share: the checks of scored boxes, and what is kept as an array.
#pragma once

#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "common/numpy.h"

namespace sightline::nms {

// scores [N] and idxs [N] beside boxes [N, ..].
template <class T, class S>
void check_scored(const Array<T>& boxes, const Array<S>& scores,
                  const std::optional<Array<int64_t>>& idxs = std::nullopt) {
  require(scores.ndim() == 1 && scores.shape(0) == boxes.shape(0),
          "scores must have one number for each of boxes");
  require(!idxs || (idxs->ndim() == 1 && idxs->shape(0) == boxes.shape(0)),
          "idxs must have one integer for each of boxes");
}

// Null where there are none.
inline const int64_t* data_of(const std::optional<Array<int64_t>>& idxs) {
  return idxs ? idxs->data() : nullptr;
}

template <class T>
Array<T> array_of(const std::vector<T>& values) {
  Array<T> out(static_cast<py::ssize_t>(values.size()));
  std::copy(values.begin(), values.end(), out.mutable_data());
  return out;
}

}  // namespace sightline::nms
