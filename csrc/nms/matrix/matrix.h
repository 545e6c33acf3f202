// Matrix NMS, Wang et al. 2020 (SOLOv2), equations 3 and 4: every score is lowered at once, by the
// better box of its segment that says the most against it, given how much better boxes say against
// that one.
//
// Order: score descending, equal scores by ascending index, NaN last. With m_i the largest IoU of
// box i with a better one, a box j keeps of its score
//   linear:   min over better i of (1 - iou_ij) / (1 - m_i); an i with m_i = 1 has no say
//   gaussian: exp(-sigma * max over better i of (iou_ij^2 - m_i^2))
// and never more than all of it. A box that j does not overlap cannot be the least or the largest,
// so that those need not be visited; the order of visits does not matter.
#pragma once

#include <cstdint>

#include "common/box.h"
#include "common/cuda_stream.h"
#include "common/parallel.h"

namespace sightline::nms::matrix {

template <class T>
struct MatrixNmsSettings {
  bool gaussian;  // otherwise linear
  T sigma;        // gaussian: > 0
};

// What a better box has to say, as a number that grows with it; kNoSay of one that says nothing.
inline constexpr int kNoSay = -1;
template <bool kGaussian, class T>
SIGHTLINE_HD T say(T overlap, T most_of_better) {
  if constexpr (kGaussian) {
    return overlap * overlap - most_of_better * most_of_better;
  } else {
    const T rest = T(1) - most_of_better;
    const T share = (T(1) - overlap) / rest;
    return rest > T(0) ? -share : T(kNoSay);  // at least -1 where it matters
  }
}

// What is left of a score: `most_said` is the largest say of better boxes, kNoSay without any.
template <class T>
SIGHTLINE_HD T decay_of(T most_said, const MatrixNmsSettings<T>& settings) {
  const T linear = -most_said;
  const T gaussian = math::exponential(-(settings.sigma * most_said));
  const T left = settings.gaussian ? (most_said > T(0) ? gaussian : T(1)) : linear;
  return smaller(left, T(1));
}

// Memory is linear in n.
template <class T>
void matrix_nms_cpu(const T* boxes,       // [n, 4]
                    const T* scores,      // [n]
                    const int64_t* idxs,  // [n], or null: one segment
                    T* decayed,           // [n]
                    int64_t n, MatrixNmsSettings<T> settings, ParallelFor parallel_for);

// The same bits, without synchronising. workspace: matrix_nms_workspace_bytes<T>(n) bytes on the
// device, aligned to 256.
template <class T>
void matrix_nms_cuda(const T* boxes, const T* scores, const int64_t* idxs, T* decayed, int64_t n,
                     MatrixNmsSettings<T> settings, void* workspace, CudaStream stream);
template <class T>
int64_t matrix_nms_workspace_bytes(int64_t n);

}  // namespace sightline::nms::matrix
