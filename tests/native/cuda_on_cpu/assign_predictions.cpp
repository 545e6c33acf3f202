// The kernels of the assigners that look at predictions on host memory, for
// tests/native/test_assign_predictions_cuda_on_cpu.py.
#include "assign/sim_ota/sim_ota.h"
#include "assign/task_aligned/task_aligned.h"
#include "cuda_runtime.h"
#include "workspace_memory.h"

// Each returns -1 where the kernels wrote past their workspace.
#define DEFINE(T, SUFFIX)                                                                         \
  extern "C" __attribute__((visibility("default"))) int64_t task_aligned_##SUFFIX(                \
      const T* scores, const T* boxes, const T* points, const T* gt_boxes, const int64_t* labels, \
      int64_t* index, T* metric, T* overlap, T* target, int64_t images, int64_t anchors,          \
      int64_t objects, int64_t classes, int64_t top_k, int64_t kept, double alpha, double beta,   \
      bool complete) {                                                                            \
    using sightline::math::Exponent;                                                              \
    cuda_on_cpu::WorkspaceMemory memory(                                                          \
        sightline::assign::task_aligned::assign_task_aligned_workspace_bytes<T>(images, anchors,  \
                                                                                objects, top_k)); \
    sightline::assign::task_aligned::assign_task_aligned_cuda<T>(                                 \
        {scores, boxes, points, gt_boxes, labels, images, anchors, objects, classes},             \
        {Exponent<T>(alpha), Exponent<T>(beta), top_k, kept, complete},                           \
        {index, metric, overlap, target}, memory.get(), {});                                      \
    return memory.fence_is_whole() ? 0 : -1;                                                      \
  }                                                                                               \
  extern "C" __attribute__((visibility("default"))) int64_t sim_ota_##SUFFIX(                     \
      const T* scores, const T* boxes, const T* points, const T* strides, const T* gt_boxes,      \
      const int64_t* labels, int64_t* index, T* overlap, int64_t images, int64_t anchors,         \
      int64_t objects, int64_t classes, int64_t top_k, double center_radius, double iou_weight,   \
      double class_weight) {                                                                      \
    cuda_on_cpu::WorkspaceMemory memory(                                                          \
        sightline::assign::sim_ota::assign_sim_ota_workspace_bytes<T>(images, anchors, objects,   \
                                                                      top_k));                    \
    sightline::assign::sim_ota::assign_sim_ota_cuda<T>(                                           \
        {scores, boxes, points, strides, gt_boxes, labels, images, anchors, objects, classes},    \
        {T(center_radius), top_k, T(iou_weight), T(class_weight)}, index, overlap, memory.get(),  \
        {});                                                                                      \
    return memory.fence_is_whole() ? 0 : -1;                                                      \
  }
DEFINE(float, float32)
DEFINE(double, float64)
