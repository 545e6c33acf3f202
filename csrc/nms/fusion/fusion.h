// Weighted boxes fusion, Solovyev et al. 2021: the boxes of several models, best first, gather in
// clusters by overlap with the cluster's mean box, which their scores weigh.
//
// Labels are fused each by itself. Order: score times the weight of the model, descending, equal
// ones by ascending index. A box joins the cluster whose mean box it overlaps most, the first of
// equal ones, where that IoU > iou_threshold; otherwise it founds one. Out from the start are boxes
// without area (inverted, not finite and overflowing ones too) and scores that are not finite or
// not >= score_threshold, which is at least 0. Sums and scores are computed in double.
#pragma once

#include <cstdint>
#include <vector>

#include "common/box.h"
#include "common/cuda_stream.h"
#include "common/parallel.h"

namespace sightline::nms::fusion {

// What the score of a fused box is.
enum class FusedScore : int64_t { kMean, kLargest, kBoxAndModelMean, kAbsentModelAwareMean };

template <class T>
struct FusionSettings {
  T iou_threshold, score_threshold;
  FusedScore score;
  bool allows_overflow;  // of kMean: scores may exceed 1 where clusters outnumber models
  int64_t num_models;
  double total_weight, largest_weight;  // of the models
};

template <class T>
SIGHTLINE_HD bool can_be_fused(const Box<T>& box, T score, T score_threshold) {
  return box.area > T(0) && score >= score_threshold && score - score == T(0);
}

// The sums of a cluster.
struct Cluster {
  double x1, y1, x2, y2;  // coordinates times weighted scores
  double score, largest_score, weight;
  int64_t count;
};

inline constexpr int64_t kModelsOfWord = 64;  // which models a cluster has is kept as bits

SIGHTLINE_HD int64_t words_of_models(int64_t num_models) {
  return (num_models + kModelsOfWord - 1) / kModelsOfWord;
}

template <class T>
SIGHTLINE_HD void add_to_cluster(Cluster& cluster, uint64_t* models /* [words] */,
                                 const Box<T>& box, double weighted_score, double weight,
                                 int64_t model) {
  cluster.x1 += weighted_score * double(box.x1), cluster.y1 += weighted_score * double(box.y1);
  cluster.x2 += weighted_score * double(box.x2), cluster.y2 += weighted_score * double(box.y2);
  cluster.score += weighted_score;
  cluster.largest_score = larger(weighted_score, cluster.largest_score);
  cluster.weight += weight;
  ++cluster.count;
  models[model / kModelsOfWord] |= uint64_t(1) << (model % kModelsOfWord);
}

// The mean box, which comes out; the founder itself where it is alone or all scores are 0.
template <class T>
SIGHTLINE_HD void write_mean_box(const Cluster& cluster, const T* founder /* [4] */,
                                 T* mean /* [4] */) {
  const bool weighed = cluster.count > 1 && cluster.score > 0;
  mean[0] = weighed ? T(cluster.x1 / cluster.score) : founder[0];
  mean[1] = weighed ? T(cluster.y1 / cluster.score) : founder[1];
  mean[2] = weighed ? T(cluster.x2 / cluster.score) : founder[2];
  mean[3] = weighed ? T(cluster.y2 / cluster.score) : founder[3];
}

// The mean box as others are compared with it: it lies nowhere where its area overflows, though the
// areas of its members do not. `before`: the one of the members up to the last.
template <class T>
SIGHTLINE_HD Box<T> mean_box(const Cluster& cluster, const Box<T>& before) {
  const T founder[4] = {before.x1, before.y1, before.x2, before.y2};
  T mean[4];
  write_mean_box(cluster, founder, mean);
  return load_box(mean);
}

template <class T>
SIGHTLINE_HD T fused_score(const Cluster& cluster, const uint64_t* models /* [words] */,
                           const double* weights /* [num_models] */,
                           const FusionSettings<T>& settings) {
  double present = 0, absent = 0;
  for (int64_t m = 0; m < settings.num_models; ++m) {
    const bool has = models[m / kModelsOfWord] >> (m % kModelsOfWord) & 1;
    (has ? present : absent) += weights[m];
  }
  const double count = static_cast<double>(cluster.count);
  const double models_or_boxes = static_cast<double>(smaller(settings.num_models, cluster.count));
  switch (settings.score) {
    case FusedScore::kMean:
      return T(cluster.score / count * (settings.allows_overflow ? count : models_or_boxes) /
               settings.total_weight);
    case FusedScore::kLargest:
      return T(cluster.largest_score / settings.largest_weight);
    case FusedScore::kBoxAndModelMean:
      return cluster.weight > 0
                 ? T(cluster.score / cluster.weight * present / settings.total_weight)
                 : T(0);
    case FusedScore::kAbsentModelAwareMean:
      break;
  }
  return T(cluster.score / (cluster.weight + absent));
}

template <class T>
struct FusedBoxes {
  std::vector<T> boxes;  // [K, 4], best first; equal scores by the founder's index
  std::vector<T> scores;
  std::vector<int64_t> labels;
};

// Memory is linear in n * ceil(num_models / 64).
template <class T>
FusedBoxes<T> weighted_boxes_fusion_cpu(const T* boxes,         // [n, 4]
                                        const T* scores,        // [n]
                                        const int64_t* labels,  // [n]
                                        const int64_t* models,  // [n], in [0, num_models)
                                        const double* weights,  // [num_models]
                                        int64_t n, FusionSettings<T> settings,
                                        ParallelFor parallel_for);

// Writes the same and returns how many are left. Synchronises the stream once, at the end, to know
// that. workspace: weighted_boxes_fusion_workspace_bytes<T>(n, num_models) bytes on the device,
// aligned to 256. weights lie on the host.
template <class T>
int64_t weighted_boxes_fusion_cuda(const T* boxes, const T* scores, const int64_t* labels,
                                   const int64_t* models, const double* weights,
                                   T* fused_boxes,         // [n, 4]
                                   T* fused_scores,        // [n]
                                   int64_t* fused_labels,  // [n]
                                   int64_t n, FusionSettings<T> settings, void* workspace,
                                   CudaStream stream);
template <class T>
int64_t weighted_boxes_fusion_workspace_bytes(int64_t n, int64_t num_models);

}  // namespace sightline::nms::fusion
