#include "assign/anchor_owners.cuh"
#include "assign/point_tiles.h"
#include "assign/task_aligned/task_aligned.h"
#include "common/block_sort.cuh"
#include "common/cuda.h"
#include "common/workspace.h"
#include "iou/forms.h"

namespace sightline::assign::task_aligned {
namespace {

using iou::prepare_box;
using iou::PreparedBox;

constexpr int kBuffer = 1024;  // picks of a block before the worst are dropped
static_assert(kMaxTopK + kThreads <= kBuffer);

template <class T>
struct State {
  TaskAlignedPick<T>* picks;  // [images, objects, top_k]
  int32_t* counts;            // [images, objects]
  OrderedBits* best;          // [images, anchors]: bits of the largest overlap asked with
  int32_t* owner;             // [images, anchors]: the first object with that overlap

  State(Workspace& w, int64_t images, int64_t anchors, int64_t objects, int64_t top_k)
      : picks(w.take<TaskAlignedPick<T>>(images * objects * top_k)),
        counts(w.take<int32_t>(images * objects)),
        best(w.take<OrderedBits>(images * anchors)),
        owner(w.take<int32_t>(images * anchors)) {}
};

// One thread per anchor of an image.
template <class T>
__global__ void clear_kernel(State<T> state, TaskAlignedOutputs<T> out, int64_t total) {
  for (int64_t i = first_item(); i < total; i += item_stride()) {
    state.best[i] = 0;
    state.owner[i] = kNoOwner;
    out.metric[i] = out.overlap[i] = out.target[i] = T(0);
  }
}

// What an object would have of an anchor; its metric is 0 where it may not have it.
template <class Form, class T>
__device__ TaskAlignedPick<T> pick_of(const TaskAlignedInputs<T>& in,
                                      const TaskAlignedRule<T>& rule, const PreparedBox<T>& object,
                                      int64_t image, int64_t anchor, int64_t label) {
  TaskAlignedPick<T> pick{T(0), T(0), static_cast<int32_t>(anchor)};
  if (!holds<T>(object, in.points[2 * anchor], in.points[2 * anchor + 1])) return pick;
  const int64_t row = image * in.anchors + anchor;
  pick.overlap =
      Form::value(prepare_box<Form>(in.boxes + 4 * row), object, static_cast<T>(kCompleteEps));
  T score = in.scores[row * in.classes + label], closeness = pick.overlap;
  if (!(pick.overlap > T(0) && score >= T(0))) return pick;
  math::power<1>(&score, rule.alpha);
  math::power<1>(&closeness, rule.beta);
  const T metric = score * closeness;
  if (is_metric(metric)) pick.metric = metric;
  return pick;
}

// One block per object: its threads go through the anchors and put what it may have into a buffer
// in shared memory; when that is full only the best top_k stay.
template <class Form, class T>
__global__ void __launch_bounds__(kThreads)
    pick_kernel(TaskAlignedInputs<T> in, TaskAlignedRule<T> rule, State<T> state) {
  __shared__ TaskAlignedPick<T> buffer[kBuffer];
  __shared__ int filled;
  const int top_k = static_cast<int>(rule.top_k);
  for (int64_t i = blockIdx.x; i < in.images * in.objects; i += gridDim.x) {
    const int64_t image = i / in.objects;
    const PreparedBox<T> object = prepare_box<Form>(in.gt_boxes + 4 * i);
    const TaskAlignedPick<T> last{T(-1), T(0), 0};
    int count = 0;   // picks in the buffer, the same in all threads
    T worst = T(0);  // the least metric of top_k picks
    if (threadIdx.x == 0) filled = 0;
    __syncthreads();
    for (int64_t start = 0; in.has_label(i) && start < in.anchors; start += kThreads) {
      const int64_t anchor = start + threadIdx.x;
      bool wanted = false;
      if (anchor < in.anchors) {
        const TaskAlignedPick<T> pick =
            pick_of<Form>(in, rule, object, image, anchor, in.labels[i]);
        // Later anchors stay behind equal metrics.
        wanted = pick.metric > worst;
        if (wanted) buffer[atomicAdd(&filled, 1)] = pick;
      }
      count += __syncthreads_count(wanted);
      if (count > kBuffer - kThreads) {
        sort_in_block(buffer, count, last);
        count = top_k;  // there were more
        if (threadIdx.x == 0) filled = top_k;
        worst = buffer[top_k - 1].metric;
        __syncthreads();
      }
    }
    sort_in_block(buffer, count, last);
    count = count < top_k ? count : top_k;
    for (int k = threadIdx.x; k < count; k += kThreads) {
      state.picks[i * rule.top_k + k] = buffer[k];
      atomicMax(state.best + image * in.anchors + buffer[k].anchor,
                ordered_bits(buffer[k].overlap));
    }
    if (threadIdx.x == 0) state.counts[i] = count;
    __syncthreads();  // read by all before the next object writes
  }
}

// One thread per pick: of those with the largest overlap the first object has the anchor.
template <class T>
__global__ void own_kernel(TaskAlignedInputs<T> in, TaskAlignedRule<T> rule, State<T> state) {
  for (int64_t i = first_item(); i < in.images * in.objects * rule.top_k; i += item_stride()) {
    const int64_t object = i / rule.top_k, image = object / in.objects;
    if (i % rule.top_k >= state.counts[object]) continue;
    const TaskAlignedPick<T> pick = state.picks[i];
    const int64_t anchor = image * in.anchors + pick.anchor;
    if (ordered_bits(pick.overlap) == state.best[anchor])
      atomicMin(state.owner + anchor, static_cast<int32_t>(object - image * in.objects));
  }
}

// One thread per object; it writes to the anchors that are its own alone.
template <class T>
__global__ void finish_kernel(TaskAlignedInputs<T> in, TaskAlignedRule<T> rule, State<T> state,
                              TaskAlignedOutputs<T> out) {
  for (int64_t i = first_item(); i < in.images * in.objects; i += item_stride()) {
    const int64_t image = i / in.objects, first = image * in.anchors;
    finish_object<T>(
        state.picks + i * rule.top_k, state.counts[i], i - image * in.objects, rule.kept,
        {out.index + first, out.metric + first, out.overlap + first, out.target + first});
  }
}

}  // namespace

template <class T>
void assign_task_aligned_cuda(const TaskAlignedInputs<T>& in, const TaskAlignedRule<T>& rule,
                              const TaskAlignedOutputs<T>& out, void* workspace,
                              CudaStream stream) {
  const int64_t total = in.images * in.anchors, objects = in.images * in.objects;
  if (total == 0) return;
  Workspace memory(workspace);
  const State<T> state(memory, in.images, in.anchors, in.objects, rule.top_k);
  const cudaStream_t s = native(stream);
  clear_kernel<T><<<blocks_for(total), kThreads, 0, s>>>(state, out, total);
  if (objects > 0) {
    if (rule.complete)
      pick_kernel<iou::CompleteBoxIou, T>
          <<<blocks_for(objects, 1), kThreads, 0, s>>>(in, rule, state);
    else
      pick_kernel<iou::BoxIou, T><<<blocks_for(objects, 1), kThreads, 0, s>>>(in, rule, state);
    own_kernel<T><<<blocks_for(objects * rule.top_k), kThreads, 0, s>>>(in, rule, state);
  }
  index_kernel<<<blocks_for(total), kThreads, 0, s>>>(state.owner, out.index, total);
  if (objects > 0) finish_kernel<T><<<blocks_for(objects), kThreads, 0, s>>>(in, rule, state, out);
  check_launch("assign_task_aligned");
}

template <class T>
int64_t assign_task_aligned_workspace_bytes(int64_t images, int64_t anchors, int64_t objects,
                                            int64_t top_k) {
  return workspace_bytes<State<T>>(images, anchors, objects, top_k);
}

#define INSTANTIATE(T)                                                                           \
  template void assign_task_aligned_cuda(const TaskAlignedInputs<T>&, const TaskAlignedRule<T>&, \
                                         const TaskAlignedOutputs<T>&, void*, CudaStream);       \
  template int64_t assign_task_aligned_workspace_bytes<T>(int64_t, int64_t, int64_t, int64_t);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace sightline::assign::task_aligned
