// Checking and copying the rows of one image.
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "evaluation/store/store.h"

namespace sightline::evaluation::store {

// Each returns whether every element may stand, and writes all of them.

template <class T>
bool copy_boxes(const StridedArray& in, bool xyxy,
                double* out) {  // [N, 4] xywh
  const int64_t next = in.strides[1];
  bool good = true;
  for (int64_t i = 0; i < in.shape[0]; ++i, out += 4) {
    const char* row = in.data + i * in.strides[0];
    const double x = load<T>(row), y = load<T>(row + next);
    const double right = load<T>(row + 2 * next), bottom = load<T>(row + 3 * next);
    const double w = xyxy ? right - x : right, h = xyxy ? bottom - y : bottom;
    // comparisons with NaN are false
    good &= (std::abs(x) <= DBL_MAX) & (std::abs(y) <= DBL_MAX);
    good &= (w >= 0) & (w <= DBL_MAX) & (h >= 0) & (h <= DBL_MAX);
    out[0] = x, out[1] = y, out[2] = w, out[3] = h;
  }
  return good;
}

template <class T>
bool copy_finite(const StridedArray& in, bool any,
                 double* out) {  // [N]
  bool good = true;
  for (int64_t i = 0; i < in.shape[0]; ++i) {
    out[i] = load<T>(in.data + i * in.strides[0]);
    good &= any | (std::abs(out[i]) <= DBL_MAX);
  }
  return good;
}

template <class T>
bool copy_labels(const StridedArray& in, int64_t num_labels,
                 int32_t* out) {  // [N]
  bool good = true;
  for (int64_t i = 0; i < in.shape[0]; ++i) {
    const auto label = static_cast<uint64_t>(load<T>(in.data + i * in.strides[0]));
    good &= label < static_cast<uint64_t>(num_labels);  // a negative one wraps to a large one
    out[i] = static_cast<int32_t>(label);
  }
  return good;
}

template <class T>
bool add_flag(const StridedArray& in, uint8_t flag,
              uint8_t* out) {  // [N]
  bool good = true;
  for (int64_t i = 0; i < in.shape[0]; ++i) {
    const auto value = load<T>(in.data + i * in.strides[0]);
    good &= std::abs(static_cast<double>(value)) <= DBL_MAX;
    out[i] |= value != 0 ? flag : uint8_t{0};
  }
  return good;
}

template <class T>
bool copy_keypoints(const StridedArray& in, int64_t num_keypoints,
                    double* out) {  // [N, K, 3]
  bool good = true;
  for (int64_t i = 0; i < in.shape[0]; ++i)
    for (int64_t k = 0; k < num_keypoints; ++k)
      for (int64_t c = 0; c < 3; ++c, ++out) {
        *out = load<T>(in.data + i * in.strides[0] + k * in.strides[1] + c * in.strides[2]);
        good &= std::abs(*out) <= DBL_MAX;
      }
  return good;
}

}  // namespace sightline::evaluation::store
