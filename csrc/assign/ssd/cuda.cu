#include "assign/ssd/ssd.h"
#include "common/block_sort.cuh"
#include "common/workspace.h"
#include "iou/maxima/maxima.h"

namespace sightline::assign::ssd {
namespace {

template <class T>
struct State {
  T* best;               // [images, num_anchors]
  int64_t* best_object;  // [images, num_anchors]
  T* object_best;        // [images, objects]
  int64_t* best_anchor;  // [images, objects]; -1 once the object is done
  uint8_t* taken;        // [images, num_anchors]

  State(Workspace& w, int64_t num_anchors, int64_t images, int64_t objects)
      : best(w.take<T>(images * num_anchors)),
        best_object(w.take<int64_t>(images * num_anchors)),
        object_best(w.take<T>(images * objects)),
        best_anchor(w.take<int64_t>(images * objects)),
        taken(w.take<uint8_t>(images * num_anchors)) {}
};

// One thread per anchor of an image.
template <class T>
__global__ void outcome_kernel(State<T> state, const T* __restrict__ gt_boxes,
                               int64_t* __restrict__ out, int64_t num_anchors, int64_t total,
                               int64_t objects, T threshold, SsdRule rule) {
  for (int64_t i = first_item(); i < total; i += item_stride()) {
    out[i] = ssd_outcome(state.best[i], state.best_object[i], threshold, rule,
                         gt_boxes + 4 * (i / num_anchors) * objects, objects);
    state.taken[i] = 0;
  }
}

// One thread per image: its objects write one after another.
template <class T>
__global__ void overwrite_kernel(State<T> state, const T* __restrict__ gt_boxes, int64_t* out,
                                 int64_t num_anchors, int64_t images, int64_t objects) {
  for (int64_t b = first_item(); b < images; b += item_stride())
    for (int64_t g = b * objects; g < (b + 1) * objects; ++g) {
      if (!is_object(gt_boxes + 4 * g)) continue;
      const int64_t anchor = state.best_anchor[g] < 0 ? 0 : state.best_anchor[g];
      out[b * num_anchors + anchor] = g - b * objects;
    }
}

// One block per image. Its threads look for the first pair over the objects; where its anchor is
// taken, over the anchors for the best that is left to the object. Shared memory: one pair per
// thread.
template <class T>
__global__ void bipartite_kernel(State<T> state, const T* __restrict__ anchors,
                                 const T* __restrict__ gt_boxes, int64_t* out, int64_t num_anchors,
                                 int64_t images, int64_t objects) {
  __shared__ SsdPair<T> shared[kThreads];
  for (int64_t b = blockIdx.x; b < images; b += gridDim.x) {
    T* const best = state.object_best + b * objects;
    int64_t* const best_anchor = state.best_anchor + b * objects;
    uint8_t* const taken = state.taken + b * num_anchors;
    for (;;) {
      SsdPair<T> own{T(0), -1, -1};
      for (int64_t g = threadIdx.x; g < objects; g += kThreads) {
        const SsdPair<T> pair{best[g], best_anchor[g], g};
        if (pair.anchor >= 0 && pair.before(own)) own = pair;
      }
      const SsdPair<T> first = first_of_block(own, shared);
      if (first.anchor < 0) break;  // alike in every thread
      if (!taken[first.anchor]) {
        __syncthreads();  // read by all before thread 0 takes it
        if (threadIdx.x == 0) {
          taken[first.anchor] = 1;
          out[b * num_anchors + first.anchor] = first.object;
          best_anchor[first.object] = -1;
        }
      } else {
        const Box<T> object = load_box(gt_boxes + 4 * (b * objects + first.object));
        SsdPair<T> left{T(0), -1, first.object};
        for (int64_t a = threadIdx.x; a < num_anchors; a += kThreads) {
          if (taken[a]) continue;
          const SsdPair<T> pair{iou_of(load_box(anchors + 4 * a), object), a, first.object};
          if (pair.iou > T(0) && pair.before(left)) left = pair;
        }
        left = first_of_block(left, shared);
        if (threadIdx.x == 0) {
          best[first.object] = left.iou;
          best_anchor[first.object] = left.anchor;
        }
      }
      __syncthreads();  // what thread 0 wrote can be read by all
    }
  }
}

}  // namespace

template <class T>
void assign_ssd_cuda(const T* anchors, const T* gt_boxes, int64_t* out, int64_t num_anchors,
                     int64_t images, int64_t objects, T threshold, SsdRule rule, void* workspace,
                     CudaStream stream) {
  if (num_anchors == 0 || images == 0) return;
  Workspace memory(workspace);
  const State<T> state(memory, num_anchors, images, objects);
  const iou::maxima::IouMaxima<T> maxima{state.best, state.best_object, state.object_best,
                                         state.best_anchor};
  for (int64_t b = 0; b < images; ++b)
    iou::maxima::box_iou_max_cuda(anchors, gt_boxes + 4 * b * objects,
                                  maxima.at(b, num_anchors, objects), num_anchors, objects, stream);
  const int64_t total = images * num_anchors;
  outcome_kernel<<<blocks_for(total), kThreads, 0, native(stream)>>>(
      state, gt_boxes, out, num_anchors, total, objects, threshold, rule);
  if (rule == SsdRule::kBipartite)
    bipartite_kernel<<<blocks_for(images, 1), kThreads, 0, native(stream)>>>(
        state, anchors, gt_boxes, out, num_anchors, images, objects);
  else
    overwrite_kernel<<<blocks_for(images), kThreads, 0, native(stream)>>>(
        state, gt_boxes, out, num_anchors, images, objects);
  check_launch("assign_ssd");
}

template <class T>
int64_t assign_ssd_workspace_bytes(int64_t num_anchors, int64_t images, int64_t objects) {
  return workspace_bytes<State<T>>(num_anchors, images, objects);
}

#define INSTANTIATE(T)                                                                      \
  template void assign_ssd_cuda(const T*, const T*, int64_t*, int64_t, int64_t, int64_t, T, \
                                SsdRule, void*, CudaStream);                                \
  template int64_t assign_ssd_workspace_bytes<T>(int64_t, int64_t, int64_t);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace sightline::assign::ssd
