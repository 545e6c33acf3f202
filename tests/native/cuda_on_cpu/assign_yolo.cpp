// The kernel of YOLO's assignment on host memory, for
// tests/native/test_assign_yolo_cuda_on_cpu.py.
#include "assign/yolo/yolo.h"
#include "cuda_runtime.h"

// levels: shapes, height and width of each.
#define DEFINE(T, SUFFIX)                                                                       \
  extern "C" __attribute__((visibility("default"))) void assign_yolo_##SUFFIX(                  \
      const T* gt_boxes, const T* shapes, int64_t* out, const int64_t* levels,                  \
      const double* strides, int64_t num_levels, int64_t images, int64_t objects, int64_t rule, \
      double ratio) {                                                                           \
    sightline::assign::yolo::YoloLevels table{};                                                \
    for (int64_t l = 0; l < num_levels; ++l)                                                    \
      table.add(levels[3 * l], levels[3 * l + 1], levels[3 * l + 2], strides[l]);               \
    sightline::assign::yolo::assign_yolo_cuda(                                                  \
        gt_boxes, out, images, objects,                                                         \
        sightline::assign::yolo::YoloAssigner<T>{                                               \
            table, shapes, sightline::assign::yolo::yolo_rule(rule), T(ratio)},                 \
        {});                                                                                    \
  }
DEFINE(float, float32)
DEFINE(double, float64)
