// The scores of an image are one list in order; NMS goes through it from the best, with classes as
// segments, and stops at max_detections. So classes never meet, and no more candidates are looked
// at than it takes.
#include "common/cuda.h"
#include "common/workspace.h"
#include "nms/multiclass/multiclass.h"
#include "nms/order_cuda.h"
#include "nms/tiles.cuh"

namespace sightline::nms::multiclass {
namespace {

// What an index of an image's list, which is anchor * classes + label, stands for.
template <class T>
struct AnchorBoxes {
  const T* boxes;  // [images, anchors, (classes,) 4]
  MulticlassShape shape;

  SIGHTLINE_HD bool segmented() const { return shape.segments() > 1; }
  SIGHTLINE_HD Box<T> box(int64_t image, int64_t flat) const {
    return load_box(boxes + shape.box_offset(image, flat));
  }
  SIGHTLINE_HD int64_t segment(int64_t, int64_t flat) const { return flat % shape.segments(); }
};

// One thread per row of the output.
template <class T, class S>
__global__ void detections_kernel(const T* __restrict__ boxes,   // [images, anchors, (classes,) 4]
                                  const S* __restrict__ scores,  // [images, anchors, classes]
                                  const int64_t* __restrict__ indices,  // [images, max_detections]
                                  T* __restrict__ out_boxes,         // [images, max_detections, 4]
                                  S* __restrict__ out_scores,        // [images, max_detections]
                                  int64_t* __restrict__ out_labels,  // [images, max_detections]
                                  MulticlassShape shape) {
  for (int64_t row = first_item(); row < shape.images * shape.max_detections;
       row += item_stride()) {
    const int64_t image = row / shape.max_detections, flat = indices[row];
    const bool filled = flat >= 0;
    for (int k = 0; k < 4; ++k)
      out_boxes[4 * row + k] = filled ? boxes[shape.box_offset(image, flat) + k] : T(0);
    out_scores[row] = filled ? scores[image * shape.scores_per_image() + flat] : S(0);
    out_labels[row] = filled ? flat % shape.classes : -1;
  }
}

// Scores of an image that take part in suppression.
int64_t list_length(const MulticlassShape& shape) {
  return std::min(shape.scores_per_image(), shape.pre_top_k);
}

template <class S>
struct Buffers {
  OrderBuffers<S> order;
  TileBoard board;
  int64_t* indices;

  Buffers(Workspace& space, const MulticlassShape& shape)
      : order(space, shape.images, shape.scores_per_image()),
        board(space, shape.images * tiles_of_list(list_length(shape))),
        indices(space.take<int64_t>(shape.images * shape.max_detections)) {}
};

}  // namespace

template <class S>
int64_t multiclass_nms_workspace_bytes(MulticlassShape shape) {
  return workspace_bytes<Buffers<S>>(shape);
}

template <class T, class S>
void multiclass_nms_cuda(const T* boxes, const S* scores, T* out_boxes, S* out_scores,
                         int64_t* out_labels, int64_t* out_counts, MulticlassShape shape,
                         S score_threshold, T iou_threshold, void* workspace, CudaStream stream) {
  if (shape.images == 0) return;
  const int64_t n = shape.scores_per_image();
  Workspace space(workspace);
  Buffers<S> buffer(space, shape);
  const cudaStream_t s = native(stream);
  order_lists_cuda(scores, buffer.order, shape.images, n, std::optional(score_threshold),
                   buffer.board.drawn, buffer.board.zeros, stream);
  TileOutput out;
  out.indices = buffer.indices;
  out.counts = out_counts;
  out.max_kept = shape.max_detections;
  const TileInput<T> in{buffer.order.order, shape.images, n,
                        list_length(shape), nullptr,      iou_threshold};
  suppress_tiles(in, AnchorBoxes<T>{boxes, shape}, buffer.board, out, s);
  const int64_t rows = shape.images * shape.max_detections;
  detections_kernel<<<blocks_for(rows), kThreads, 0, s>>>(boxes, scores, buffer.indices, out_boxes,
                                                          out_scores, out_labels, shape);
  check_launch("detections_kernel");
}

#define INSTANTIATE(T, S)                                                           \
  template void multiclass_nms_cuda(const T*, const S*, T*, S*, int64_t*, int64_t*, \
                                    MulticlassShape, S, T, void*, CudaStream);
INSTANTIATE(float, float)
INSTANTIATE(float, double)
INSTANTIATE(double, float)
INSTANTIATE(double, double)
#undef INSTANTIATE
template int64_t multiclass_nms_workspace_bytes<float>(MulticlassShape);
template int64_t multiclass_nms_workspace_bytes<double>(MulticlassShape);

}  // namespace sightline::nms::multiclass
