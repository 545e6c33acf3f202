#include "assign/anchor_owners.cuh"
#include "assign/sim_ota/sim_ota.h"
#include "common/block_sort.cuh"
#include "common/cuda.h"
#include "common/workspace.h"

namespace sightline::assign::sim_ota {
namespace {

constexpr int kBuffer = 1024;  // picks of a block before the last are dropped
static_assert(kMaxCandidates + kThreads <= kBuffer);

// In the order of the picks of one anchor; costs are not negative, so that their sign is free.
template <class T>
__device__ OrderedBits key_of(T cost, uint32_t outside) {
  return ordered_bits(cost) | OrderedBits{outside} << 63;
}

template <class T>
struct State {
  SimOtaPick<T>* picks;  // [images, objects, top_k]
  int32_t* counts;       // [images, objects]
  T* background;         // [images, anchors]: NaN where the anchor does not count
  OrderedBits* best;     // [images, anchors]: the first pick's key
  int32_t* owner;        // [images, anchors]: the first object with that key

  State(Workspace& w, int64_t images, int64_t anchors, int64_t objects, int64_t top_k)
      : picks(w.take<SimOtaPick<T>>(images * objects * top_k)),
        counts(w.take<int32_t>(images * objects)),
        background(w.take<T>(images * anchors)),
        best(w.take<OrderedBits>(images * anchors)),
        owner(w.take<int32_t>(images * anchors)) {}
};

// One thread per anchor of an image: whether it counts, and what its scores cost as background.
template <class T>
__global__ void prepare_kernel(SimOtaInputs<T> in, SimOtaRule<T> rule, State<T> state,
                               T* __restrict__ overlap) {
  for (int64_t i = first_item(); i < in.images * in.anchors; i += item_stride()) {
    const int64_t image = i / in.anchors, anchor = i - image * in.anchors;
    const T x = in.points[2 * anchor], y = in.points[2 * anchor + 1], stride = in.strides[anchor];
    bool counts = false;
    for (int64_t g = image * in.objects; g < (image + 1) * in.objects && !counts; ++g) {
      if (!in.has_object(g)) continue;
      const SimOtaObject<T> object(in.gt_boxes + 4 * g, rule.center_radius);
      counts = object.holds(x, y) || object.is_near(x, y, stride);
    }
    counts = counts && load_box(in.boxes + 4 * i).x1 <= std::numeric_limits<T>::max();
    state.background[i] = counts ? background_cost(in.scores + i * in.classes, in.classes)
                                 : std::numeric_limits<T>::quiet_NaN();
    state.best[i] = ~OrderedBits{0};
    state.owner[i] = kNoOwner;
    overlap[i] = T(0);
  }
}

// The first `limit` of what the threads of a block give to add(), in their order, in `items`.
template <class T>
struct BlockPicks {
  SimOtaPick<T>* items;  // [kBuffer], shared
  int* filled;           // shared
  int limit;
  int count = 0;      // the same in all threads
  bool full = false;  // items[limit - 1] is to be beaten
  SimOtaPick<T> worst{};

  static constexpr T kInf = std::numeric_limits<T>::infinity();

  __device__ BlockPicks(SimOtaPick<T>* items, int* filled, int limit)
      : items(items), filled(filled), limit(limit) {
    __syncthreads();  // what was in `items` has been read by all
    if (threadIdx.x == 0) *filled = 0;
    __syncthreads();
  }
  // All threads call it.
  __device__ void add(const SimOtaPick<T>& pick, bool wanted) {
    wanted = wanted && (!full || pick.before(worst));
    if (wanted) items[atomicAdd(filled, 1)] = pick;
    count += __syncthreads_count(wanted);
    if (count <= kBuffer - kThreads) return;
    finish();
    if (threadIdx.x == 0) *filled = count;
    full = true;
    worst = items[limit - 1];
    __syncthreads();
  }
  __device__ void finish() {
    sort_in_block(items, count, SimOtaPick<T>{kInf, T(0), 0, 2});
    count = count < limit ? count : limit;
  }
};

// One block per object: its threads go through the anchors twice, for the largest IoUs and for the
// lowest costs.
template <class T>
__global__ void __launch_bounds__(kThreads)
    pick_kernel(SimOtaInputs<T> in, SimOtaRule<T> rule, State<T> state) {
  __shared__ SimOtaPick<T> items[kBuffer];
  __shared__ int filled;
  for (int64_t i = blockIdx.x; i < in.images * in.objects; i += gridDim.x) {
    if (threadIdx.x == 0) state.counts[i] = 0;
    if (!in.has_object(i)) continue;  // alike in all threads
    const int64_t first = i / in.objects * in.anchors;
    const SimOtaObject<T> object(in.gt_boxes + 4 * i, rule.center_radius);
    const auto overlap_of = [&](int64_t a) {  // -1 where the anchor does not count
      if (a >= in.anchors || !(state.background[first + a] >= T(0))) return T(-1);
      return iou_of(load_box(in.boxes + 4 * (first + a)), object.box);
    };
    BlockPicks<T> largest(items, &filled, static_cast<int>(rule.top_k));
    for (int64_t start = 0; start < in.anchors; start += kThreads) {
      const int64_t a = start + threadIdx.x;
      const T value = overlap_of(a);
      largest.add({-value, value, static_cast<int32_t>(a), 0}, value > T(0));
    }
    largest.finish();
    T sum = T(0);
    for (int k = 0; k < largest.count; ++k) sum += items[k].overlap;
    BlockPicks<T> picks(items, &filled, static_cast<int>(dynamic_k(sum, rule.top_k)));
    for (int64_t start = 0; start < in.anchors; start += kThreads) {
      const int64_t a = start + threadIdx.x;
      const T value = overlap_of(a);
      SimOtaPick<T> pick{T(0), value, static_cast<int32_t>(a), 0};
      if (value >= T(0)) {
        const T x = in.points[2 * a], y = in.points[2 * a + 1];
        pick.outside = object.holds(x, y) && object.is_near(x, y, in.strides[a]) ? 0 : 1;
        pick.cost = pair_cost(rule, state.background[first + a],
                              in.scores[(first + a) * in.classes + in.labels[i]], value);
      }
      picks.add(pick, value >= T(0));
    }
    picks.finish();
    for (int k = threadIdx.x; k < picks.count; k += kThreads) {
      state.picks[i * rule.top_k + k] = items[k];
      atomicMin(state.best + first + items[k].anchor, key_of(items[k].cost, items[k].outside));
    }
    if (threadIdx.x == 0) state.counts[i] = picks.count;
  }
}

// Whether pick i exists and is the first of its anchor; one thread per pick calls it.
template <class T>
__device__ bool is_first(const SimOtaInputs<T>& in, const SimOtaRule<T>& rule,
                         const State<T>& state, int64_t i, int64_t* anchor, int32_t* object) {
  const int64_t row = i / rule.top_k, image = row / in.objects;
  if (i - row * rule.top_k >= state.counts[row]) return false;
  const SimOtaPick<T>& pick = state.picks[i];
  *anchor = image * in.anchors + pick.anchor;
  *object = static_cast<int32_t>(row - image * in.objects);
  return key_of(pick.cost, pick.outside) == state.best[*anchor];
}

// One thread per pick: of those that are first alike the lowest object has the anchor.
template <class T>
__global__ void own_kernel(SimOtaInputs<T> in, SimOtaRule<T> rule, State<T> state) {
  int64_t anchor;
  int32_t object;
  for (int64_t i = first_item(); i < in.images * in.objects * rule.top_k; i += item_stride())
    if (is_first(in, rule, state, i, &anchor, &object)) atomicMin(state.owner + anchor, object);
}

// One thread per pick: the owner's says what the overlap is.
template <class T>
__global__ void overlap_kernel(SimOtaInputs<T> in, SimOtaRule<T> rule, State<T> state,
                               T* __restrict__ overlap) {
  int64_t anchor;
  int32_t object;
  for (int64_t i = first_item(); i < in.images * in.objects * rule.top_k; i += item_stride())
    if (is_first(in, rule, state, i, &anchor, &object) && state.owner[anchor] == object)
      overlap[anchor] = state.picks[i].overlap;
}

}  // namespace

template <class T>
void assign_sim_ota_cuda(const SimOtaInputs<T>& in, const SimOtaRule<T>& rule, int64_t* index,
                         T* overlap, void* workspace, CudaStream stream) {
  const int64_t total = in.images * in.anchors, objects = in.images * in.objects;
  if (total == 0) return;
  Workspace memory(workspace);
  const State<T> state(memory, in.images, in.anchors, in.objects, rule.top_k);
  const cudaStream_t s = native(stream);
  prepare_kernel<T><<<blocks_for(total), kThreads, 0, s>>>(in, rule, state, overlap);
  if (objects > 0) {
    pick_kernel<T><<<blocks_for(objects, 1), kThreads, 0, s>>>(in, rule, state);
    const unsigned blocks = blocks_for(objects * rule.top_k);
    own_kernel<T><<<blocks, kThreads, 0, s>>>(in, rule, state);
    overlap_kernel<T><<<blocks, kThreads, 0, s>>>(in, rule, state, overlap);
  }
  index_kernel<<<blocks_for(total), kThreads, 0, s>>>(state.owner, index, total);
  check_launch("assign_sim_ota");
}

template <class T>
int64_t assign_sim_ota_workspace_bytes(int64_t images, int64_t anchors, int64_t objects,
                                       int64_t top_k) {
  return workspace_bytes<State<T>>(images, anchors, objects, top_k);
}

#define INSTANTIATE(T)                                                                          \
  template void assign_sim_ota_cuda(const SimOtaInputs<T>&, const SimOtaRule<T>&, int64_t*, T*, \
                                    void*, CudaStream);                                         \
  template int64_t assign_sim_ota_workspace_bytes<T>(int64_t, int64_t, int64_t, int64_t);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace sightline::assign::sim_ota
