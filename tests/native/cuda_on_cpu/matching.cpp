// The kernels of match_anchors on host memory, for tests/native/test_matching_cuda_on_cpu.py.
#include "assign/max_iou/max_iou.h"
#include "cuda_runtime.h"
#include "workspace_memory.h"

namespace {

// thresholds: high, low, min_positive, ignore; flags in the order of MatchRule. Returns -1 where
// the kernels wrote past their workspace.
template <class T>
int64_t match_anchors(const T* anchors, const T* gt_boxes, const T* ignore_boxes, int64_t* index,
                      T* iou, int64_t* best_anchor, const int64_t* sizes, const double* thresholds,
                      const int64_t* flags) {
  const sightline::assign::max_iou::MatchShape shape{sizes[0], sizes[1], sizes[2], sizes[3]};
  const sightline::assign::max_iou::MatchRule<T> rule{
      T(thresholds[0]), T(thresholds[1]), T(thresholds[2]), T(thresholds[3]),
      flags[0] != 0,    flags[1] != 0,    flags[2] != 0,    flags[3] != 0};
  cuda_on_cpu::WorkspaceMemory memory(
      sightline::assign::max_iou::match_anchors_workspace_bytes<T>(shape));
  sightline::assign::max_iou::match_anchors_cuda<T>(
      {anchors, gt_boxes, ignore_boxes}, {index, iou, best_anchor}, shape, rule, memory.get(), {});
  return memory.fence_is_whole() ? 0 : -1;
}

}  // namespace

#define DEFINE(T, SUFFIX)                                                                    \
  extern "C" __attribute__((visibility("default"))) int64_t match_anchors_##SUFFIX(          \
      const T* anchors, const T* gt_boxes, const T* ignore_boxes, int64_t* index, T* iou,    \
      int64_t* best_anchor, const int64_t* sizes, const double* thresholds,                  \
      const int64_t* flags) {                                                                \
    return match_anchors<T>(anchors, gt_boxes, ignore_boxes, index, iou, best_anchor, sizes, \
                            thresholds, flags);                                              \
  }
DEFINE(float, float32)
DEFINE(double, float64)
