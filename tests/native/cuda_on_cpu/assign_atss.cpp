// The kernels of ATSS on host memory, for tests/native/test_assign_atss_cuda_on_cpu.py.
#include "assign/atss/atss.h"
#include "cuda_runtime.h"
#include "workspace_memory.h"

// Returns -1 where the kernels wrote past their workspace.
#define DEFINE(T, SUFFIX)                                                                        \
  extern "C" __attribute__((visibility("default"))) int64_t assign_atss_##SUFFIX(                \
      const T* anchors, const T* gt_boxes, int64_t* out, const int64_t* level_sizes,             \
      int64_t num_levels, int64_t images, int64_t objects, int64_t top_k) {                      \
    sightline::assign::atss::AtssLevels levels{0, {}};                                           \
    int64_t end = 0;                                                                             \
    for (int64_t l = 0; l < num_levels; ++l) levels.end[levels.count++] = end += level_sizes[l]; \
    cuda_on_cpu::WorkspaceMemory memory(                                                         \
        sightline::assign::atss::assign_atss_workspace_bytes<T>(levels, images, objects));       \
    sightline::assign::atss::assign_atss_cuda(anchors, gt_boxes, out, levels, images, objects,   \
                                              top_k, memory.get(), {});                          \
    return memory.fence_is_whole() ? 0 : -1;                                                     \
  }
DEFINE(float, float32)
DEFINE(double, float64)
