// SimOTA: each object takes as many anchors as the IoUs of its best predictions add up to, those
// where learning it costs least; an anchor goes to the object it costs least of those that ask.
//
// An anchor counts where its point lies in some object or near some object's centre, its box is
// finite and its scores lie in [0, 1]. Anchors in the object and near its centre come before the
// others; then the lower cost, then the lower anchor; of objects the lower one. An object that lies
// nowhere or has a label outside [0, classes) is none. T is float or double; memory is linear in
// anchors and objects x top_k.
#pragma once

#include <cstdint>

#include "assign/point_tiles.h"
#include "common/box.h"
#include "common/cuda_stream.h"
#include "common/math.h"
#include "common/parallel.h"

namespace sightline::assign::sim_ota {

inline constexpr int64_t kMaxCandidates = 512;

template <class T>
struct SimOtaRule {
  T center_radius;  // in strides
  int64_t top_k;    // IoUs that are added up, from 1 to kMaxCandidates
  T iou_weight, class_weight;
};

template <class T>
struct SimOtaInputs {
  const T* scores;        // [images, anchors, classes]
  const T* boxes;         // [images, anchors, 4]
  const T* points;        // [anchors, 2] xy
  const T* strides;       // [anchors]
  const T* gt_boxes;      // [images, objects, 4]
  const int64_t* labels;  // [images, objects]
  int64_t images, anchors, objects, classes;

  SIGHTLINE_HD bool has_object(int64_t i) const {
    return labels[i] >= 0 && labels[i] < classes &&
           load_box(gt_boxes + 4 * i).x1 <= std::numeric_limits<T>::max();
  }
};

// An object and the square around its centre that counts as near, in strides.
template <class T>
struct SimOtaObject {
  Box<T> box;
  T x, y, radius;

  SIGHTLINE_HD SimOtaObject(const T* p, T center_radius)
      : box(load_box(p)), x(centre_x(box)), y(centre_y(box)), radius(center_radius) {}
  SIGHTLINE_HD bool holds(T px, T py) const { return assign::holds(box, px, py); }
  SIGHTLINE_HD bool is_near(T px, T py, T stride) const {
    const T reach = radius * stride, dx = px - x, dy = py - y;
    return (larger(dx, -dx) < reach) & (larger(dy, -dy) < reach);
  }
};

// An anchor that an object asks for.
template <class T>
struct SimOtaPick {
  T cost, overlap;
  int32_t anchor;
  uint32_t outside;  // 1 unless the anchor lies in the object and near its centre

  SIGHTLINE_HD bool before(const SimOtaPick& other) const {
    if (outside != other.outside) return outside < other.outside;
    return cost < other.cost || (cost == other.cost && anchor < other.anchor);
  }
};

// -log x, at most 100 as in torch's binary cross entropy.
template <class T>
SIGHTLINE_HD T surprise(T x) {
  return smaller(-math::logarithm(x), T(100));
}

inline constexpr int kClassLanes = 16;

// Cross entropy of an anchor's scores if it had no class: class c is added to sum c mod 16, in
// ascending order, and the 16 sums by halves. NaN unless all scores lie in [0, 1].
template <class T>
SIGHTLINE_HD T background_cost(const T* scores /* [classes] */, int64_t classes) {
  T sums[kClassLanes] = {}, doubt[kClassLanes] = {};
  const int64_t whole = classes / kClassLanes * kClassLanes;
  for (int64_t c = 0; c < whole; c += kClassLanes)
    for (int l = 0; l < kClassLanes; ++l) {
      const T p = scores[c + l];
      sums[l] += surprise(T(1) - p);
      doubt[l] = (p >= T(0)) & (p <= T(1)) ? doubt[l] : std::numeric_limits<T>::quiet_NaN();
    }
  for (int l = 0; l < kClassLanes; ++l)
    if (whole + l < classes) {
      const T p = scores[whole + l];
      sums[l] += surprise(T(1) - p);
      doubt[l] = (p >= T(0)) & (p <= T(1)) ? doubt[l] : std::numeric_limits<T>::quiet_NaN();
    }
  for (int half = kClassLanes / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l) sums[l] += sums[l + half], doubt[l] += doubt[l + half];
  return sums[0] + doubt[0];
}

// Not negative, whatever rounding does to the difference.
template <class T>
SIGHTLINE_HD T class_cost(T background, T score) {
  return larger(background - surprise(T(1) - score) + surprise(score), T(0));
}
template <class T>
SIGHTLINE_HD T overlap_cost(T overlap) {
  return larger(-math::logarithm(overlap + T(1e-7)), T(0));
}
template <class T>
SIGHTLINE_HD T pair_cost(const SimOtaRule<T>& rule, T background, T score, T overlap) {
  return rule.class_weight * class_cost(background, score) +
         rule.iou_weight * overlap_cost(overlap);
}

// How many anchors an object takes: the whole part of the sum of its largest IoUs, at least 1.
template <class T>
SIGHTLINE_HD int64_t dynamic_k(T sum, int64_t top_k) {
  const int64_t k = static_cast<int64_t>(sum);
  return k < 1 ? 1 : (k < top_k ? k : top_k);
}

// index: [images, anchors], -1 where an anchor has no object; overlap: the IoU with it, or 0.
template <class T>
void assign_sim_ota_cpu(const SimOtaInputs<T>& in, const SimOtaRule<T>& rule, int64_t* index,
                        T* overlap, ParallelFor parallel_for);

// The same, without synchronising. workspace: that many bytes on the device, aligned to 256.
template <class T>
void assign_sim_ota_cuda(const SimOtaInputs<T>& in, const SimOtaRule<T>& rule, int64_t* index,
                         T* overlap, void* workspace, CudaStream stream);
template <class T>
int64_t assign_sim_ota_workspace_bytes(int64_t images, int64_t anchors, int64_t objects,
                                       int64_t top_k);

}  // namespace sightline::assign::sim_ota
