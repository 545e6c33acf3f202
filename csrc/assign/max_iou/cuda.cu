#include "assign/max_iou/max_iou.h"
#include "common/cuda.h"
#include "common/workspace.h"

namespace sightline::assign::max_iou {
namespace {

// IoU is never negative nor NaN, so its bits order as integers do: atomicMax is exact and gives the
// same result in any order.
__device__ unsigned bits_of(float iou) { return __float_as_uint(iou); }
__device__ unsigned long long bits_of(double iou) { return __double_as_longlong(iou); }
__device__ float from_bits(unsigned bits) { return __uint_as_float(bits); }
__device__ double from_bits(unsigned long long bits) { return __longlong_as_double(bits); }
template <class T>
using Bits = std::conditional_t<sizeof(T) == 4, unsigned, unsigned long long>;

inline constexpr unsigned kNoAnchor = ~0u;  // what filling with 0xff gives
inline constexpr int kAnchorIgnored = -2;   // below every IoU and below kNoObjects
inline constexpr int kNoObjects = -1;

template <class T>
struct Buffers {
  T* best;           // [images, anchors], or a mark above
  Bits<T>* highest;  // [images, objects]
  unsigned* first;   // [images, objects]: lowest anchor that reaches highest
  int* restoring;    // [images, anchors]: the last object that takes the anchor, or -1

  Buffers(Workspace& space, MatchShape s)
      : best(space.take<T>(s.images * s.anchors)),
        highest(space.take<Bits<T>>(s.images * s.objects)),
        first(space.take<unsigned>(s.images * s.objects)),
        restoring(space.take<int>(s.images * s.anchors)) {}
};

template <class T>
__device__ bool lies_somewhere(const Box<T>& box) {
  return box.x1 <= std::numeric_limits<T>::max();
}

// Whether the anchor of each thread is ignored: the regions of the image pass through shared memory
// kThreads at a time. For all threads of a block.
template <class T>
__device__ bool is_ignored(const Box<T>& anchor, const T* __restrict__ regions, int64_t count,
                           T threshold, Box<T>* shared) {
  bool ignored = false;
  for (int64_t start = 0; start < count; start += kThreads) {
    const int n = static_cast<int>(count - start < kThreads ? count - start : kThreads);
    __syncthreads();  // the last boxes have been read by all
    if (threadIdx.x < n) shared[threadIdx.x] = load_box(regions + 4 * (start + threadIdx.x));
    __syncthreads();
    for (int r = 0; r < n && !ignored; ++r) ignored = ioa(anchor, shared[r]) > threshold;
  }
  return ignored;
}

// One block per tile of kThreads anchors of one image, one thread per anchor; the objects pass
// through shared memory kThreads at a time. An anchor's best stays in registers; an object's
// highest is gathered in shared memory and merged into `highest` once a tile.
template <class T>
__global__ void best_overlaps_kernel(MatchInput<T> in, MatchShape shape, T ignore_threshold,
                                     T* __restrict__ best,             // [images, anchors]
                                     int64_t* __restrict__ object_of,  // [images, anchors]
                                     Bits<T>* highest) {               // [images, objects], zeros
  __shared__ Box<T> objects[kThreads];
  __shared__ Bits<T> tile_highest[kThreads];
  const int t = threadIdx.x;
  const int64_t tiles = (shape.anchors + kThreads - 1) / kThreads;
  for (int64_t task = blockIdx.x; task < shape.images * tiles; task += gridDim.x) {
    const int64_t image = task / tiles, a = task % tiles * kThreads + t;
    // A thread past the end takes the last anchor, which changes no maximum.
    const Box<T> anchor = load_box(in.anchors + 4 * (a < shape.anchors ? a : shape.anchors - 1));
    const bool ignored = is_ignored(anchor, in.ignore_boxes + 4 * image * shape.regions,
                                    shape.regions, ignore_threshold, objects);
    const T* const boxes = in.gt_boxes + 4 * image * shape.objects;
    T own_best = T(kNoObjects);
    int64_t object = 0;
    for (int64_t start = 0; start < shape.objects; start += kThreads) {
      const int64_t left = shape.objects - start;
      const int count = static_cast<int>(left < kThreads ? left : kThreads);
      __syncthreads();  // the last boxes have been read by all
      if (t < count) {
        objects[t] = load_box(boxes + 4 * (start + t));
        tile_highest[t] = 0;
      }
      __syncthreads();
      for (int g = 0; g < count && !ignored; ++g) {
        if (!lies_somewhere(objects[g])) continue;
        const T overlap = iou_of(anchor, objects[g]);
        if (overlap > own_best) {
          own_best = overlap;
          object = start + g;
        }
        // Most pairs do not overlap, and of the others few raise the maximum.
        if (bits_of(overlap) > tile_highest[g]) atomicMax(&tile_highest[g], bits_of(overlap));
      }
      __syncthreads();
      if (t < count && tile_highest[t] > 0)
        atomicMax(&highest[image * shape.objects + start + t], tile_highest[t]);
    }
    if (a < shape.anchors) {
      best[image * shape.anchors + a] = ignored ? T(kAnchorIgnored) : own_best;
      object_of[image * shape.anchors + a] = object;
    }
  }
}

// One thread per anchor of one image, in tiles as above: looks for the objects whose highest IoU it
// reaches. Writes `restoring` where all such anchors are taken, `first` where it is not null.
template <class T>
__global__ void reach_kernel(MatchInput<T> in, MatchShape shape, MatchRule<T> rule,
                             const T* __restrict__ best,           // [images, anchors]
                             const Bits<T>* __restrict__ highest,  // [images, objects]
                             unsigned* first,                      // [images, objects] or null
                             int* __restrict__ restoring) {        // [images, anchors]
  __shared__ Box<T> objects[kThreads];
  __shared__ T object_highest[kThreads];
  const int t = threadIdx.x;
  const int64_t tiles = (shape.anchors + kThreads - 1) / kThreads;
  for (int64_t task = blockIdx.x; task < shape.images * tiles; task += gridDim.x) {
    const int64_t image = task / tiles, a = task % tiles * kThreads + t;
    const int64_t own = a < shape.anchors ? a : shape.anchors - 1;
    const Box<T> anchor = load_box(in.anchors + 4 * own);
    const bool ignored = best[image * shape.anchors + own] == T(kAnchorIgnored);
    int last = -1;
    for (int64_t start = 0; start < shape.objects; start += kThreads) {
      const int64_t left = shape.objects - start, at = image * shape.objects + start;
      const int count = static_cast<int>(left < kThreads ? left : kThreads);
      __syncthreads();  // the last boxes have been read by all
      if (t < count) {
        objects[t] = load_box(in.gt_boxes + 4 * (at + t));
        const T top = from_bits(highest[at + t]);
        const bool wanted = rule.restores(top) || (first != nullptr && top > T(0));
        object_highest[t] = wanted && lies_somewhere(objects[t]) ? top : T(-1);  // no IoU is -1
      }
      __syncthreads();
      for (int g = 0; g < count && !ignored; ++g) {
        if (iou_of(anchor, objects[g]) != object_highest[g]) continue;
        if (first != nullptr) atomicMin(&first[at + g], static_cast<unsigned>(own));
        if (rule.restores(object_highest[g])) last = static_cast<int>(start) + g;
      }
    }
    if (a < shape.anchors && !rule.first_anchor_only) restoring[image * shape.anchors + a] = last;
  }
}

// One thread per object: it takes its first anchor.
template <class T>
__global__ void restore_first_kernel(MatchShape shape, MatchRule<T> rule,
                                     const Bits<T>* __restrict__ highest,  // [images, objects]
                                     const unsigned* __restrict__ first,   // [images, objects]
                                     int* restoring) {                     // [images, anchors], -1
  for (int64_t i = first_item(); i < shape.images * shape.objects; i += item_stride())
    if (first[i] != kNoAnchor && rule.restores(from_bits(highest[i])))
      atomicMax(&restoring[i / shape.objects * shape.anchors + first[i]],
                static_cast<int>(i % shape.objects));
}

// One thread per anchor of one image: the outcome. `index` holds the best object.
template <class T>
__global__ void decide_kernel(MatchShape shape, MatchRule<T> rule,
                              const T* __restrict__ best,         // [images, anchors]
                              const int* __restrict__ restoring,  // [images, anchors]
                              MatchOutput<T> out) {
  for (int64_t i = first_item(); i < shape.images * shape.anchors; i += item_stride()) {
    const T top = best[i];
    out.index[i] = top == T(kAnchorIgnored)
                       ? kNeither
                       : rule.outcome(top, out.index[i], int64_t{restoring[i]});
    if (out.iou != nullptr) out.iou[i] = top > T(0) ? top : T(0);
  }
}

template <class T>
__global__ void best_anchor_kernel(MatchShape shape,
                                   const Bits<T>* __restrict__ highest,  // [images, objects]
                                   const unsigned* __restrict__ first,   // [images, objects]
                                   int64_t* __restrict__ best_anchor) {  // [images, objects]
  for (int64_t i = first_item(); i < shape.images * shape.objects; i += item_stride())
    best_anchor[i] = highest[i] > 0 && first[i] != kNoAnchor ? int64_t{first[i]} : -1;
}

}  // namespace

template <class T>
int64_t match_anchors_workspace_bytes(MatchShape shape) {
  return workspace_bytes<Buffers<T>>(shape);
}

template <class T>
void match_anchors_cuda(MatchInput<T> in, MatchOutput<T> out, MatchShape shape, MatchRule<T> rule,
                        void* workspace, CudaStream stream) {
  const int64_t anchors = shape.images * shape.anchors, objects = shape.images * shape.objects;
  const cudaStream_t s = native(stream);
  const auto fill = [=](void* p, int byte, int64_t bytes) {
    cuda_check(cudaMemsetAsync(p, byte, bytes, s), "match_anchors");
  };
  if (anchors == 0) {
    if (out.best_anchor != nullptr && objects > 0)
      fill(out.best_anchor, 0xff, objects * int64_t{sizeof(int64_t)});  // -1
    return;
  }
  Workspace space(workspace);
  const Buffers<T> buffer(space, shape);
  const unsigned tiles = blocks_for(shape.images * ((shape.anchors + kThreads - 1) / kThreads), 1);
  if (objects > 0) fill(buffer.highest, 0, objects * int64_t{sizeof(Bits<T>)});
  best_overlaps_kernel<T>
      <<<tiles, kThreads, 0, s>>>(in, shape, rule.ignore, buffer.best, out.index, buffer.highest);
  check_launch("best_overlaps_kernel");

  const bool one_anchor = rule.allow_low_quality && rule.first_anchor_only;
  const bool needs_anchors = objects > 0 && (out.best_anchor != nullptr || one_anchor);
  const bool reaches = objects > 0 && (rule.allow_low_quality || needs_anchors);
  if (needs_anchors) fill(buffer.first, 0xff, objects * int64_t{sizeof(unsigned)});
  if (!reaches || rule.first_anchor_only)
    fill(buffer.restoring, 0xff, anchors * int64_t{sizeof(int)});  // -1
  if (reaches) {
    reach_kernel<T><<<tiles, kThreads, 0, s>>>(in, shape, rule, buffer.best, buffer.highest,
                                               needs_anchors ? buffer.first : nullptr,
                                               buffer.restoring);
    check_launch("reach_kernel");
  }
  if (one_anchor && objects > 0) {
    restore_first_kernel<T><<<blocks_for(objects), kThreads, 0, s>>>(
        shape, rule, buffer.highest, buffer.first, buffer.restoring);
    check_launch("restore_first_kernel");
  }
  decide_kernel<T>
      <<<blocks_for(anchors), kThreads, 0, s>>>(shape, rule, buffer.best, buffer.restoring, out);
  check_launch("decide_kernel");
  if (out.best_anchor == nullptr || objects == 0) return;
  best_anchor_kernel<T><<<blocks_for(objects), kThreads, 0, s>>>(shape, buffer.highest,
                                                                 buffer.first, out.best_anchor);
  check_launch("best_anchor_kernel");
}

#define INSTANTIATE(T)                                                                             \
  template void match_anchors_cuda(MatchInput<T>, MatchOutput<T>, MatchShape, MatchRule<T>, void*, \
                                   CudaStream);                                                    \
  template int64_t match_anchors_workspace_bytes<T>(MatchShape);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace sightline::assign::max_iou
