// The NMS kernels that sort by score and by segment first, on host memory, for
// tests/native/test_nms_sorted_cuda_on_cpu.py.
#include "cuda_runtime.h"
#include "nms/fusion/fusion.h"
#include "nms/matrix/matrix.h"
#include "nms/rotated/rotated.h"
#include "nms/soft/soft.h"
#include "workspace_memory.h"

using cuda_on_cpu::WorkspaceMemory;
using namespace sightline::nms;

// Each returns -1 where the kernels wrote past their workspace.
#define EXPORT extern "C" __attribute__((visibility("default")))
#define DEFINE(T, SUFFIX)                                                                          \
  EXPORT int64_t soft_nms_##SUFFIX(const T* boxes, const T* scores, const int64_t* idxs,           \
                                   int64_t* keep, T* kept_scores, int64_t n, int64_t gaussian,     \
                                   double score_threshold, int64_t max_detections) {               \
    WorkspaceMemory memory(soft::soft_nms_workspace_bytes<T>(n));                                  \
    const soft::SoftNmsSettings<T> settings{gaussian != 0, T(0.3), T(0.5), T(score_threshold),     \
                                            max_detections};                                       \
    const int64_t kept = soft::soft_nms_cuda(boxes, scores, idxs, keep, kept_scores, n, settings,  \
                                             memory.get(), {});                                    \
    return memory.fence_is_whole() ? kept : -1;                                                    \
  }                                                                                                \
  EXPORT int64_t matrix_nms_##SUFFIX(const T* boxes, const T* scores, const int64_t* idxs,         \
                                     T* decayed, int64_t n, int64_t gaussian) {                    \
    WorkspaceMemory memory(matrix::matrix_nms_workspace_bytes<T>(n));                              \
    matrix::matrix_nms_cuda(boxes, scores, idxs, decayed, n,                                       \
                            matrix::MatrixNmsSettings<T>{gaussian != 0, T(2)}, memory.get(), {});  \
    return memory.fence_is_whole() ? 0 : -1;                                                       \
  }                                                                                                \
  EXPORT int64_t nms_rotated_##SUFFIX(const T* boxes, const T* scores, const int64_t* idxs,        \
                                      int64_t* keep, int64_t n, double threshold) {                \
    WorkspaceMemory memory(rotated::nms_rotated_workspace_bytes<T, T>(n));                         \
    const int64_t kept =                                                                           \
        rotated::nms_rotated_cuda(boxes, scores, idxs, keep, n, T(threshold),                      \
                                  sightline::AngleUnit::kDegrees, memory.get(), {});               \
    return memory.fence_is_whole() ? kept : -1;                                                    \
  }                                                                                                \
  EXPORT int64_t weighted_boxes_fusion_##SUFFIX(                                                   \
      const T* boxes, const T* scores, const int64_t* labels, const int64_t* models,               \
      const double* weights, T* fused_boxes, T* fused_scores, int64_t* fused_labels, int64_t n,    \
      int64_t num_models, double total_weight, double largest_weight, double threshold) {          \
    WorkspaceMemory memory(fusion::weighted_boxes_fusion_workspace_bytes<T>(n, num_models));       \
    const fusion::FusionSettings<T> settings{T(threshold),  T(0.05),    fusion::FusedScore::kMean, \
                                             false,         num_models, total_weight,              \
                                             largest_weight};                                      \
    const int64_t count = fusion::weighted_boxes_fusion_cuda(                                      \
        boxes, scores, labels, models, weights, fused_boxes, fused_scores, fused_labels, n,        \
        settings, memory.get(), {});                                                               \
    return memory.fence_is_whole() ? count : -1;                                                   \
  }
DEFINE(float, float32)
DEFINE(double, float64)
