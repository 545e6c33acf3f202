// Soft non-maximum suppression, Bodla et al. 2017: boxes are kept best first, and each that is kept
// lowers the scores of the others of its segment by their overlap with it.
//
// Order: score descending, equal scores by ascending index. A box leaves once its score is not
// >= score_threshold, which is at least 0; so negative scores and NaN are out from the start, and
// scores only fall. A score is multiplied by one factor for each kept box, in the order of keeping.
#pragma once

#include <cstdint>
#include <vector>

#include "common/box.h"
#include "common/cuda_stream.h"
#include "common/parallel.h"

namespace sightline::nms::soft {

template <class T>
struct SoftNmsSettings {
  bool gaussian;    // otherwise linear
  T iou_threshold;  // linear: overlaps up to it do not count
  T sigma;          // gaussian: > 0
  T score_threshold;
  int64_t max_detections;
};

// What a kept box with this IoU leaves of a score. It is 1 where boxes do not overlap, so that
// those need not be visited.
template <bool kGaussian, class T>
SIGHTLINE_HD T decay_factor(T overlap, const SoftNmsSettings<T>& settings) {
  if constexpr (kGaussian) {
    const T factor = math::exponential(-(overlap * overlap) / settings.sigma);
    return overlap > T(0) ? factor : T(1);
  } else {
    return overlap > settings.iou_threshold ? T(1) - overlap : T(1);
  }
}

inline constexpr int kGone = -1;  // the score of a box that left or was kept

template <class T>
SIGHTLINE_HD T entry_score(T score, T score_threshold) {
  return score >= score_threshold ? score + T(0) : T(kGone);  // -0 becomes 0
}

template <bool kGaussian, class T>
SIGHTLINE_HD T decayed(T score, T overlap, const SoftNmsSettings<T>& settings) {
  const T lower = score * decay_factor<kGaussian>(overlap, settings);
  const bool stays = (score >= T(0)) & (lower >= settings.score_threshold);
  return stays ? lower : T(kGone);
}

template <class T>
struct SoftNmsResult {
  std::vector<int64_t> keep;  // best first
  std::vector<T> scores;      // as they were when kept
};

// Memory is linear in n.
template <class T>
SoftNmsResult<T> soft_nms_cpu(const T* boxes,       // [n, 4]
                              const T* scores,      // [n]
                              const int64_t* idxs,  // [n], or null: one segment
                              int64_t n, SoftNmsSettings<T> settings, ParallelFor parallel_for);

// Writes the same and returns how many are kept. Synchronises the stream once, at the end, to know
// that. workspace: soft_nms_workspace_bytes<T>(n) bytes on the device, aligned to 256.
template <class T>
int64_t soft_nms_cuda(const T* boxes, const T* scores, const int64_t* idxs,
                      int64_t* keep,   // [n]
                      T* kept_scores,  // [n]
                      int64_t n, SoftNmsSettings<T> settings, void* workspace, CudaStream stream);
template <class T>
int64_t soft_nms_workspace_bytes(int64_t n);

}  // namespace sightline::nms::soft
