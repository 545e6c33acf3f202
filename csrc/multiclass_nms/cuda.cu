// No sort and no count on the host: each (image, class) picks its best live candidate, strikes out
// what that suppresses, and picks again. The order of sort_keys.h is total, so the outcome is that
// of sorting first, whatever order candidates were found in.
#include "common/cuda.h"
#include "common/sort_keys.h"
#include "common/workspace.h"
#include "multiclass_nms/multiclass_nms.h"
#include "nms/nms.h"

namespace sightline {
namespace {

constexpr int kWarp = 32;
constexpr int kWarps = kThreads / kWarp;
constexpr int kDigits = 256;  // values of a byte

template <class S>
using Item = Keyed<ScoreKey<S>>;

// The first item of a block in sorting order, given to every thread. shared: [kWarps].
template <class S>
__device__ Item<S> block_first(Item<S> item, Item<S>* shared) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    const Item<S> other{__shfl_down_sync(kFullWarp, item.key, offset),
                        __shfl_down_sync(kFullWarp, item.index, offset)};
    if (other < item) item = other;
  }
  __syncthreads();  // the last call's result has been read by all
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = item;
  __syncthreads();
  item = shared[0];
  for (int w = 1; w < kWarps; ++w)
    if (shared[w] < item) item = shared[w];
  return item;
}

// Counts of one digit of a value over the block; a warp adds equal digits at once.
__device__ void add_to_histogram(unsigned long long* histogram, bool active, unsigned digit) {
  const unsigned alike = __match_any_sync(kFullWarp, active ? digit : kDigits);
  const int leader = __ffs(alike) - 1;
  if (active && threadIdx.x % kWarp == leader)
    atomicAdd(&histogram[digit], static_cast<unsigned long long>(__popc(alike)));
}

// One block an image: the candidate at place pre_top_k in sorting order, or one after all where
// fewer are. A radix select: byte by byte, first of the key and then of the index, the candidates
// that share the bytes found so far are counted by their next byte.
template <class S>
__global__ void last_kernel(const S* __restrict__ scores,  // [images, anchors, classes]
                            Item<S>* __restrict__ last,    // [images]
                            MulticlassShape shape, S threshold) {
  using Key = ScoreKey<S>;
  constexpr int kKeyBytes = sizeof(Key);
  __shared__ unsigned long long histogram[kDigits];
  const int64_t n = shape.scores_per_image();
  int index_bytes = 1;
  while ((n - 1) >> (8 * index_bytes)) ++index_bytes;
  // All threads of a warp stay in the loop: they vote on equal digits.
  const int64_t padded = (n + kThreads - 1) / kThreads * kThreads;
  for (int64_t image = blockIdx.x; image < shape.images; image += gridDim.x) {
    const S* const s = scores + image * n;
    Item<S> found{0, 0};
    unsigned long long place = shape.pre_top_k;  // among those that share the bytes of `found`
    bool all_stay = false;
    for (int step = 0; step < kKeyBytes + index_bytes && !all_stay; ++step) {
      const bool of_key = step < kKeyBytes;
      const int shift = 8 * ((of_key ? kKeyBytes : kKeyBytes + index_bytes) - 1 - step);
      __syncthreads();  // the last histogram has been read by all
      for (int d = threadIdx.x; d < kDigits; d += kThreads) histogram[d] = 0;
      __syncthreads();
      for (int64_t flat = threadIdx.x; flat < padded; flat += kThreads) {
        const bool candidate = flat < n && s[flat] > threshold;
        const Key key = candidate ? score_key(s[flat]) : Key(0);
        // The bytes above the one in question; shifted twice, as one shift by all bits is
        // undefined.
        const bool alike =
            of_key ? (key >> shift >> 8) == (found.key >> shift >> 8)
                   : key == found.key && (flat >> shift >> 8) == (found.index >> shift >> 8);
        const unsigned digit =
            (of_key ? static_cast<uint64_t>(key) >> shift : static_cast<uint64_t>(flat) >> shift) &
            0xff;
        add_to_histogram(histogram, candidate && alike, digit);
      }
      __syncthreads();
      unsigned long long before = 0;
      int digit = 0;
      while (digit < kDigits && before + histogram[digit] < place) before += histogram[digit++];
      all_stay = digit == kDigits;  // in the first step only
      place -= before;
      if (of_key)
        found.key |= static_cast<Key>(digit) << shift;
      else
        found.index |= static_cast<int64_t>(digit) << shift;
    }
    if (threadIdx.x == 0) last[image] = all_stay ? Item<S>::end() : found;
  }
}

// Candidates of a group that have a place in the workspace.
__host__ __device__ int64_t group_capacity(const MulticlassShape& shape) {
  return shape.pre_top_k < shape.anchors ? shape.pre_top_k : shape.anchors;
}
__host__ __device__ int64_t group_kept(const MulticlassShape& shape) {
  const int64_t capacity = group_capacity(shape);
  return shape.max_detections < capacity ? shape.max_detections : capacity;
}

// One block a group, which is (image, class): gathers its candidates, then in each round every
// thread goes through some of them, strikes out what the last kept box suppresses and finds the
// best of the rest.
template <class T, class S>
__global__ void class_nms_kernel(const T* __restrict__ boxes,   // [images, anchors, (classes,) 4]
                                 const S* __restrict__ scores,  // [images, anchors, classes]
                                 const Item<S>* __restrict__ last,  // [images], or null
                                 Item<S>* candidates,               // [groups, group_capacity]
                                 Item<S>* __restrict__ kept,        // [groups, group_kept]
                                 int64_t* __restrict__ num_kept,    // [groups]
                                 MulticlassShape shape, S score_threshold, T iou_threshold) {
  __shared__ unsigned long long num_candidates;
  __shared__ Item<S> shared[kWarps];
  for (int64_t group = blockIdx.x; group < shape.images * shape.classes; group += gridDim.x) {
    const int64_t image = group / shape.classes, label = group % shape.classes;
    const S* const s = scores + image * shape.scores_per_image();
    Item<S>* const own = candidates + group * group_capacity(shape);
    const Item<S> worst = last == nullptr ? Item<S>::end() : last[image];
    __syncthreads();  // the last group is done with the shared memory
    if (threadIdx.x == 0) num_candidates = 0;
    __syncthreads();
    for (int64_t a = threadIdx.x; a < shape.anchors; a += kThreads) {
      const int64_t flat = a * shape.classes + label;
      if (!(s[flat] > score_threshold)) continue;
      const Item<S> item{score_key(s[flat]), flat};
      if (!(worst < item)) own[atomicAdd(&num_candidates, 1ull)] = item;
    }
    __syncthreads();
    const int64_t n = static_cast<int64_t>(num_candidates);

    Item<S> chosen = Item<S>::end();  // by the last round
    Box<T> chosen_box;
    int64_t rounds = 0;
    while (rounds < group_kept(shape)) {
      Item<S> best = Item<S>::end();
      for (int64_t i = threadIdx.x; i < n; i += kThreads) {
        const Item<S> item = own[i];
        if (item.is_end()) continue;
        if (rounds > 0) {
          const Box<T> box = load_box(boxes + shape.box_offset(image, item.index));
          if (item.index == chosen.index || suppresses(chosen_box, box, iou_threshold)) {
            own[i] = Item<S>::end();
            continue;
          }
        }
        if (item < best) best = item;
      }
      chosen = block_first<S>(best, shared);
      if (chosen.is_end()) break;
      chosen_box = load_box(boxes + shape.box_offset(image, chosen.index));
      if (threadIdx.x == 0) kept[group * group_kept(shape) + rounds] = chosen;
      ++rounds;
    }
    if (threadIdx.x == 0) num_kept[group] = rounds;
  }
}

// One block an image: merges what its classes kept, which is sorted, and fills the output's rows.
template <class T, class S>
__global__ void merge_kernel(const T* __restrict__ boxes,       // [images, anchors, (classes,) 4]
                             const S* __restrict__ scores,      // [images, anchors, classes]
                             const Item<S>* __restrict__ kept,  // [groups, group_kept]
                             const int64_t* __restrict__ num_kept,  // [groups]
                             int64_t* heads,                        // [groups], zeros
                             T* __restrict__ out_boxes,             // [images, max_detections, 4]
                             S* __restrict__ out_scores,            // [images, max_detections]
                             int64_t* __restrict__ out_labels,      // [images, max_detections]
                             int64_t* __restrict__ out_counts,      // [images]
                             MulticlassShape shape) {
  __shared__ Item<S> shared[kWarps];
  for (int64_t image = blockIdx.x; image < shape.images; image += gridDim.x) {
    int64_t count = 0;
    for (int64_t d = 0; d < shape.max_detections; ++d) {
      Item<S> best = Item<S>::end();
      for (int64_t c = threadIdx.x; c < shape.classes; c += kThreads) {
        const int64_t group = image * shape.classes + c;
        if (heads[group] == num_kept[group]) continue;
        const Item<S> head = kept[group * group_kept(shape) + heads[group]];
        if (head < best) best = head;
      }
      best = block_first<S>(best, shared);
      const bool filled = !best.is_end();
      const int64_t row = image * shape.max_detections + d;
      const int64_t label = filled ? best.index % shape.classes : -1;
      // The thread that owns the class moves its head, so that only it reads and writes that.
      if (filled && label % kThreads == threadIdx.x) ++heads[image * shape.classes + label];
      if (threadIdx.x < 4)
        out_boxes[4 * row + threadIdx.x] =
            filled ? boxes[shape.box_offset(image, best.index) + threadIdx.x] : T(0);
      if (threadIdx.x == 0) {
        out_scores[row] = filled ? scores[image * shape.scores_per_image() + best.index] : S(0);
        out_labels[row] = label;
      }
      count += filled;
    }
    if (threadIdx.x == 0) out_counts[image] = count;
  }
}

template <class S>
struct Buffers {
  Item<S>*last, *candidates, *kept;
  int64_t *num_kept, *heads;

  Buffers(Workspace& space, const MulticlassShape& shape)
      : last(space.take<Item<S>>(shape.images)),
        candidates(space.take<Item<S>>(shape.images * shape.classes * group_capacity(shape))),
        kept(space.take<Item<S>>(shape.images * shape.classes * group_kept(shape))),
        num_kept(space.take<int64_t>(shape.images * shape.classes)),
        heads(space.take<int64_t>(shape.images * shape.classes)) {}
};

}  // namespace

template <class S>
int64_t multiclass_nms_workspace_bytes(MulticlassShape shape) {
  Workspace measure;
  Buffers<S>(measure, shape);
  return measure.bytes();
}

template <class T, class S>
void multiclass_nms_cuda(const T* boxes, const S* scores, T* out_boxes, S* out_scores,
                         int64_t* out_labels, int64_t* out_counts, MulticlassShape shape,
                         S score_threshold, T iou_threshold, void* workspace, CudaStream stream) {
  if (shape.images == 0) return;
  const int64_t groups = shape.images * shape.classes;
  Workspace space(workspace);
  const Buffers<S> buffer(space, shape);
  const cudaStream_t s = native(stream);
  const Item<S>* last = nullptr;
  if (shape.pre_top_k < shape.scores_per_image()) {
    last_kernel<<<blocks_for(shape.images, 1), kThreads, 0, s>>>(scores, buffer.last, shape,
                                                                 score_threshold);
    check_launch("last_kernel");
    last = buffer.last;
  }
  cuda_check(cudaMemsetAsync(buffer.heads, 0, groups * sizeof(int64_t), s), "multiclass_nms");
  if (groups > 0) {
    class_nms_kernel<<<blocks_for(groups, 1), kThreads, 0, s>>>(
        boxes, scores, last, buffer.candidates, buffer.kept, buffer.num_kept, shape,
        score_threshold, iou_threshold);
    check_launch("class_nms_kernel");
  }
  merge_kernel<<<blocks_for(shape.images, 1), kThreads, 0, s>>>(
      boxes, scores, buffer.kept, buffer.num_kept, buffer.heads, out_boxes, out_scores, out_labels,
      out_counts, shape);
  check_launch("merge_kernel");
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

}  // namespace sightline
