#include "assign/yolo/yolo.h"
#include "common/cuda.h"

namespace sightline::assign::yolo {
namespace {

// One thread per object of an image.
template <class T>
__global__ void assign_yolo_kernel(const T* __restrict__ gt_boxes,  // [images, objects, 4]
                                   int64_t* out,                    // [images, anchors], all -1
                                   int64_t total, int64_t objects, int64_t anchors,
                                   YoloAssigner<T> assigner) {
  for (int64_t i = first_item(); i < total; i += item_stride()) {
    const int64_t image = i / objects;
    assigner.assign(gt_boxes + 4 * image * objects, i % objects, out + image * anchors);
  }
}

}  // namespace

template <class T>
void assign_yolo_cuda(const T* gt_boxes, int64_t* out, int64_t images, int64_t objects,
                      YoloAssigner<T> assigner, CudaStream stream) {
  const int64_t anchors = assigner.levels.anchors();
  if (images == 0 || anchors == 0) return;
  // Bytes of 255 are -1.
  cuda_check(cudaMemsetAsync(out, 255, static_cast<size_t>(images * anchors) * sizeof(int64_t),
                             native(stream)),
             "assign_yolo");
  if (objects == 0) return;
  constexpr int kObjects = 64;  // a block: there are few objects, and they should not share an SM
  assign_yolo_kernel<<<blocks_for(images * objects, kObjects), kObjects, 0, native(stream)>>>(
      gt_boxes, out, images * objects, objects, anchors, assigner);
  check_launch("assign_yolo");
}

template void assign_yolo_cuda(const float*, int64_t*, int64_t, int64_t, YoloAssigner<float>,
                               CudaStream);
template void assign_yolo_cuda(const double*, int64_t*, int64_t, int64_t, YoloAssigner<double>,
                               CudaStream);

}  // namespace sightline::assign::yolo
