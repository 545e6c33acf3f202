// The NMS kernels on host memory, for tests/native/test_nms_cuda_on_cpu.py.
#include "cuda_runtime.h"
#include "nms/greedy/greedy.h"
#include "nms/multiclass/multiclass.h"
#include "nms/padded/padded.h"
#include "workspace_memory.h"

namespace {

using cuda_on_cpu::WorkspaceMemory;
using sightline::nms::multiclass::MulticlassShape;
using sightline::nms::padded::PaddedShape;

}  // namespace

// Each returns -1 where the kernels wrote past their workspace.
#define EXPORT extern "C" __attribute__((visibility("default")))
#define DEFINE(T, S, SUFFIX)                                                                       \
  EXPORT int64_t nms_##SUFFIX(const T* boxes, const S* scores, const int64_t* idxs, int64_t* keep, \
                              int64_t n, double threshold) {                                       \
    WorkspaceMemory memory(sightline::nms::greedy::nms_workspace_bytes<T, S>(n));                  \
    const int64_t kept = sightline::nms::greedy::nms_cuda(boxes, scores, idxs, keep, n,            \
                                                          T(threshold), memory.get(), {});         \
    return memory.fence_is_whole() ? kept : -1;                                                    \
  }                                                                                                \
  EXPORT int64_t nms_suppressed_by_##SUFFIX(const T* boxes, const S* scores, const int64_t* idxs,  \
                                            int64_t* keep, int64_t* suppressed_by, int64_t n,      \
                                            double threshold) {                                    \
    WorkspaceMemory memory(sightline::nms::greedy::nms_workspace_bytes<T, S>(n));                  \
    const int64_t kept = sightline::nms::greedy::nms_suppressed_by_cuda(                           \
        boxes, scores, idxs, keep, suppressed_by, n, T(threshold), memory.get(), {});              \
    return memory.fence_is_whole() ? kept : -1;                                                    \
  }                                                                                                \
  EXPORT int64_t nms_padded_##SUFFIX(const T* boxes, const S* scores, const int64_t* idxs,         \
                                     int64_t* indices, int64_t* counts, int64_t images, int64_t n, \
                                     int64_t max_detections, double iou_threshold,                 \
                                     const double* score_threshold) {                              \
    const PaddedShape shape{images, n, max_detections};                                            \
    WorkspaceMemory memory(sightline::nms::padded::nms_padded_workspace_bytes<S>(shape));          \
    std::optional<S> above;                                                                        \
    if (score_threshold != nullptr) above = S(*score_threshold);                                   \
    sightline::nms::padded::nms_padded_cuda(boxes, scores, idxs, indices, counts, shape,           \
                                            T(iou_threshold), above, memory.get(), {});            \
    return memory.fence_is_whole() ? 0 : -1;                                                       \
  }                                                                                                \
  EXPORT int64_t multiclass_nms_##SUFFIX(const T* boxes, const S* scores, T* out_boxes,            \
                                         S* out_scores, int64_t* labels, int64_t* counts,          \
                                         const int64_t* sizes /* images, anchors, classes, boxes   \
                        per class, max_detections, pre_top_k, agnostic */                          \
                                         ,                                                         \
                                         double score_threshold, double iou_threshold) {           \
    const MulticlassShape shape{sizes[0], sizes[1], sizes[2],     sizes[3] != 0,                   \
                                sizes[4], sizes[5], sizes[6] != 0};                                \
    WorkspaceMemory memory(sightline::nms::multiclass::multiclass_nms_workspace_bytes<S>(shape));  \
    sightline::nms::multiclass::multiclass_nms_cuda(boxes, scores, out_boxes, out_scores, labels,  \
                                                    counts, shape, S(score_threshold),             \
                                                    T(iou_threshold), memory.get(), {});           \
    return memory.fence_is_whole() ? 0 : -1;                                                       \
  }
DEFINE(float, float, float32_float32)
DEFINE(float, double, float32_float64)
DEFINE(double, float, float64_float32)
DEFINE(double, double, float64_float64)
