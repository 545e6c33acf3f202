#include "common/torch.h"

#include <vector>

#include "assign/yolo/yolo.h"

namespace sightline::assign::yolo {
namespace {

using Integers = std::vector<int64_t>;

// rule: 2, 3 or 5.
Tensor assign_yolo(const Tensor& gt_boxes, const Tensor& shapes, Integers level_shapes,
                   Integers heights, Integers widths, std::vector<double> strides, int64_t rule,
                   double ratio) {
  STD_TORCH_CHECK(gt_boxes.dim() == 3 && gt_boxes.size(2) == 4,
                  "gt_boxes must have shape [B, G, 4]");
  STD_TORCH_CHECK(shapes.dim() == 2 && shapes.size(1) == 2, "shapes must have shape [S, 2]");
  check_alike(gt_boxes, shapes, "gt_boxes and shapes");
  const size_t count = level_shapes.size();
  STD_TORCH_CHECK(count <= size_t{kMaxYoloLevels} && heights.size() == count &&
                      widths.size() == count && strides.size() == count,
                  "level_shapes, heights, widths and strides must have one entry per level");
  const YoloRule version = yolo_rule(rule);
  YoloLevels levels{};
  for (size_t l = 0; l < count; ++l) levels.add(level_shapes[l], heights[l], widths[l], strides[l]);
  STD_TORCH_CHECK(levels.shapes() == shapes.size(0), "level_shapes must sum to those of shapes");
  const DeviceScope scope(gt_boxes);
  const Tensor g = as_contiguous(gt_boxes), s = as_contiguous(shapes);
  const int64_t images = g.size(0), objects = g.size(1);
  Tensor index = allocate(g, {images, levels.anchors()}, ScalarType::Long);
  int64_t* const out = index.mutable_data_ptr<int64_t>();
  dispatch_float(g, [&]<class T>(T) {
    const YoloAssigner<T> assigner{levels, s.const_data_ptr<T>(), version, T(ratio)};
    const T* const boxes = g.const_data_ptr<T>();
    if constexpr (kHasCuda) {
      if (scope.on_cuda())
        return assign_yolo_cuda(boxes, out, images, objects, assigner, scope.stream());
    }
    assign_yolo_cpu(boxes, out, images, objects, assigner, TorchThreads());
  });
  return index;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def(
      "assign_yolo(Tensor gt_boxes, Tensor shapes, int[] level_shapes, int[] heights, "
      "int[] widths, float[] strides, int rule, float ratio) -> Tensor");
}
SIGHTLINE_TORCH_KERNELS(m) { m.impl("assign_yolo", TORCH_BOX(&assign_yolo)); }

}  // namespace sightline::assign::yolo
