#include "common/cuda.h"
#include "nms/order_cuda.h"
#include "nms/padded/padded.h"
#include "nms/scored_boxes.h"
#include "nms/tiles.cuh"

namespace sightline::nms::padded {
namespace {

template <class S>
struct Buffers {
  OrderBuffers<S> order;
  TileBoard board;

  Buffers(Workspace& space, const PaddedShape& shape)
      : order(space, shape.images, shape.boxes),
        board(space, shape.images * tiles_of_list(shape.boxes)) {}
};

}  // namespace

template <class S>
int64_t nms_padded_workspace_bytes(PaddedShape shape) {
  return workspace_bytes<Buffers<S>>(shape);
}

template <class T, class S>
void nms_padded_cuda(const T* boxes, const S* scores, const int64_t* idxs, int64_t* indices,
                     int64_t* counts, PaddedShape shape, T iou_threshold,
                     std::optional<S> score_threshold, void* workspace, CudaStream stream) {
  if (shape.images == 0) return;
  Workspace space(workspace);
  Buffers<S> buffer(space, shape);
  order_lists_cuda(scores, buffer.order, shape.images, shape.boxes, score_threshold,
                   buffer.board.drawn, buffer.board.zeros, stream);
  TileOutput out;
  out.indices = indices;
  out.counts = counts;
  out.max_kept = shape.max_detections;
  const TileInput<T> in{buffer.order.order, shape.images, shape.boxes,
                        shape.boxes,        nullptr,      iou_threshold};
  suppress_tiles(in, ScoredBoxes<T>{boxes, idxs, shape.boxes}, buffer.board, out, native(stream));
}

#define INSTANTIATE(T, S)                                                               \
  template void nms_padded_cuda(const T*, const S*, const int64_t*, int64_t*, int64_t*, \
                                PaddedShape, T, std::optional<S>, void*, CudaStream);
INSTANTIATE(float, float)
INSTANTIATE(float, double)
INSTANTIATE(double, float)
INSTANTIATE(double, double)
#undef INSTANTIATE
template int64_t nms_padded_workspace_bytes<float>(PaddedShape);
template int64_t nms_padded_workspace_bytes<double>(PaddedShape);

}  // namespace sightline::nms::padded
