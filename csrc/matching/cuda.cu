#include "common/cuda.h"
#include "common/workspace.h"
#include "matching/matching.h"

namespace sightline {
namespace {

// IoU is never negative nor NaN, so its bits order as integers do: atomicMax is exact and gives the
// same result in any order.
__device__ unsigned bits_of(float iou) { return __float_as_uint(iou); }
__device__ unsigned long long bits_of(double iou) { return __double_as_longlong(iou); }
__device__ float iou_of(unsigned bits) { return __uint_as_float(bits); }
__device__ double iou_of(unsigned long long bits) { return __longlong_as_double(bits); }
template <class T>
using Bits = std::conditional_t<sizeof(T) == 4, unsigned, unsigned long long>;

// The objects of an image, clamped to those there are.
struct Range1d {
  int64_t begin, end;
};
__device__ Range1d objects_of(const int64_t* offsets, int64_t image, int64_t num_objects) {
  const auto clamp = [](int64_t v, int64_t low, int64_t high) {
    return v < low ? low : (v > high ? high : v);
  };
  const int64_t begin = clamp(offsets[image], 0, num_objects);
  return {begin, clamp(offsets[image + 1], begin, num_objects)};
}

// One block a tile of kThreads anchors of one image, one thread an anchor; the objects pass through
// shared memory kThreads at a time. An anchor's best stays in registers; an object's highest is
// gathered in shared memory and merged into `highest` once a tile.
template <class T>
__global__ void best_overlaps_kernel(const T* __restrict__ anchors,        // [num_anchors, 4]
                                     const T* __restrict__ gt_boxes,       // [num_objects, 4]
                                     const int64_t* __restrict__ offsets,  // [images + 1]
                                     T* __restrict__ best,                 // [images, num_anchors]
                                     int64_t* __restrict__ matches,        // [images, num_anchors]
                                     Bits<T>* highest,                     // [num_objects], zeros
                                     int64_t num_anchors, int64_t num_objects, int64_t images) {
  __shared__ Box<T> objects[kThreads];
  __shared__ Bits<T> tile_highest[kThreads];
  const int64_t tiles = (num_anchors + kThreads - 1) / kThreads;
  for (int64_t task = blockIdx.x; task < images * tiles; task += gridDim.x) {
    const int64_t image = task / tiles, a = task % tiles * kThreads + threadIdx.x;
    const Range1d range = objects_of(offsets, image, num_objects);
    // A thread past the end takes the last anchor, which changes no maximum.
    const Box<T> anchor = load_box(anchors + 4 * (a < num_anchors ? a : num_anchors - 1));
    T own_best = T(-1);
    int64_t object = 0;
    for (int64_t start = range.begin; start < range.end; start += kThreads) {
      const int count =
          static_cast<int>(range.end - start < kThreads ? range.end - start : kThreads);
      const int t = threadIdx.x;
      __syncthreads();  // the last objects have been read by all
      if (t < count) {
        objects[t] = load_box(gt_boxes + 4 * (start + t));
        tile_highest[t] = 0;
      }
      __syncthreads();
      for (int g = 0; g < count; ++g) {
        const T overlap = iou(anchor, objects[g]);
        if (overlap > own_best) {
          own_best = overlap;
          object = start + g - range.begin;
        }
        // Most pairs do not overlap, and of the others few raise the maximum.
        if (bits_of(overlap) > tile_highest[g]) atomicMax(&tile_highest[g], bits_of(overlap));
      }
      __syncthreads();
      if (t < count && tile_highest[t] > 0) atomicMax(&highest[start + t], tile_highest[t]);
    }
    if (a < num_anchors) {
      best[image * num_anchors + a] = own_best;
      matches[image * num_anchors + a] = object;
    }
  }
}

// One thread an anchor of one image, in tiles as above: looks for an object whose highest IoU it
// reaches, and turns the best object into the outcome.
template <class T>
__global__ void decide_kernel(const T* __restrict__ anchors,        // [num_anchors, 4]
                              const T* __restrict__ gt_boxes,       // [num_objects, 4]
                              const int64_t* __restrict__ offsets,  // [images + 1]
                              const T* __restrict__ best,           // [images, num_anchors]
                              const Bits<T>* __restrict__ highest,  // [num_objects]
                              int64_t* __restrict__ matches,        // [images, num_anchors]
                              int64_t num_anchors, int64_t num_objects, int64_t images,
                              MatchRule<T> rule) {
  __shared__ Box<T> objects[kThreads];
  __shared__ T object_highest[kThreads];
  const int64_t tiles = (num_anchors + kThreads - 1) / kThreads;
  for (int64_t task = blockIdx.x; task < images * tiles; task += gridDim.x) {
    const int64_t image = task / tiles, a = task % tiles * kThreads + threadIdx.x;
    const Range1d range = objects_of(offsets, image, num_objects);
    const Box<T> anchor = load_box(anchors + 4 * (a < num_anchors ? a : num_anchors - 1));
    bool restored = false;
    for (int64_t start = range.begin; rule.allow_low_quality && start < range.end;
         start += kThreads) {
      const int count =
          static_cast<int>(range.end - start < kThreads ? range.end - start : kThreads);
      const int t = threadIdx.x;
      __syncthreads();
      if (t < count) {
        objects[t] = load_box(gt_boxes + 4 * (start + t));
        object_highest[t] = iou_of(highest[start + t]);
      }
      __syncthreads();
      for (int g = 0; g < count && !restored; ++g)
        restored = rule.restores(object_highest[g]) && iou(anchor, objects[g]) == object_highest[g];
    }
    const int64_t i = image * num_anchors + a;
    if (a < num_anchors) matches[i] = rule.outcome(best[i], matches[i], restored);
  }
}

template <class T>
struct Buffers {
  T* best;
  Bits<T>* highest;

  Buffers(Workspace& space, int64_t num_anchors, int64_t num_objects, int64_t images)
      : best(space.take<T>(images * num_anchors)), highest(space.take<Bits<T>>(num_objects)) {}
};

}  // namespace

template <class T>
int64_t match_anchors_workspace_bytes(int64_t num_anchors, int64_t num_objects, int64_t images) {
  Workspace measure;
  Buffers<T>(measure, num_anchors, num_objects, images);
  return measure.bytes();
}

template <class T>
void match_anchors_cuda(const T* anchors, const T* gt_boxes, const int64_t* offsets,
                        int64_t* matches, int64_t num_anchors, int64_t num_objects, int64_t images,
                        MatchRule<T> rule, void* workspace, CudaStream stream) {
  if (num_anchors == 0 || images == 0) return;
  Workspace space(workspace);
  const Buffers<T> buffer(space, num_anchors, num_objects, images);
  const cudaStream_t s = native(stream);
  cuda_check(cudaMemsetAsync(buffer.highest, 0, num_objects * sizeof(Bits<T>), s), "match_anchors");
  const unsigned blocks = blocks_for(images * ((num_anchors + kThreads - 1) / kThreads), 1);
  best_overlaps_kernel<<<blocks, kThreads, 0, s>>>(anchors, gt_boxes, offsets, buffer.best, matches,
                                                   buffer.highest, num_anchors, num_objects,
                                                   images);
  check_launch("best_overlaps_kernel");
  decide_kernel<<<blocks, kThreads, 0, s>>>(anchors, gt_boxes, offsets, buffer.best, buffer.highest,
                                            matches, num_anchors, num_objects, images, rule);
  check_launch("decide_kernel");
}

#define INSTANTIATE(T)                                                                             \
  template void match_anchors_cuda(const T*, const T*, const int64_t*, int64_t*, int64_t, int64_t, \
                                   int64_t, MatchRule<T>, void*, CudaStream);                      \
  template int64_t match_anchors_workspace_bytes<T>(int64_t, int64_t, int64_t);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace sightline
