// What the torch adapters of NMS share: the checks of scored boxes, and what is kept as a tensor.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "common/torch.h"

namespace sightline::nms {

// scores [N] and idxs int64 [N] beside boxes [N, ..], all on one device.
inline void check_scored(const Tensor& boxes, const Tensor& scores,
                         const std::optional<Tensor>& idxs = std::nullopt) {
  const auto is_column = [&](const Tensor& t) {
    return t.dim() == 1 && t.size(0) == boxes.size(0) &&
           t.get_device_index() == boxes.get_device_index();
  };
  STD_TORCH_CHECK(is_column(scores),
                  "scores must have one number for each of boxes, on their device");
  STD_TORCH_CHECK(!idxs || (is_column(*idxs) && idxs->scalar_type() == ScalarType::Long),
                  "idxs must have one int64 for each of boxes, on their device");
}

inline std::optional<Tensor> as_contiguous(const std::optional<Tensor>& t) {
  return t ? std::optional(sightline::as_contiguous(*t)) : std::nullopt;
}
using sightline::as_contiguous;

// Null where there are none.
inline const int64_t* data_of(const std::optional<Tensor>& idxs) {
  return idxs ? idxs->const_data_ptr<int64_t>() : nullptr;
}

inline Tensor tensor_of(const std::vector<int64_t>& values, const Tensor& like) {
  Tensor out = allocate(like, {static_cast<int64_t>(values.size())}, ScalarType::Long);
  std::copy(values.begin(), values.end(), out.mutable_data_ptr<int64_t>());
  return out;
}

}  // namespace sightline::nms
