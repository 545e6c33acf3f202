#include <type_traits>

#include "common/cuda.h"
#include "iou/gradient.h"
#include "iou/maxima/sides.h"

namespace sightline::iou::maxima {
namespace {

// IoU is never negative nor NaN, so its bits order as integers do, and atomicMax gives the same
// result in any order. A float32 IoU shares its key with the index that reaches it, complemented so
// that the lowest one is the largest key. A float64 IoU fills the key, and a second pass looks for
// the index.
using Key = unsigned long long;
__device__ Key key_of(float value, int64_t index) {
  return Key(__float_as_uint(value)) << 32 | unsigned(~index);
}
__device__ Key key_of(double value, int64_t) { return __double_as_longlong(value); }

// One block per tile of kThreads lanes, one thread per lane; the objects pass through shared memory
// kThreads at a time. A lane's best stays in registers; an object's key is gathered in shared
// memory and merged into `keys` once a tile. kFindIndex: keys are complete, and `indices` takes the
// lowest lane that reaches each.
template <bool kFindIndex, class T>
__global__ void iou_max_kernel(Sides<T> sides,
                               Key* keys,       // [num_objects], zeros
                               Key* indices) {  // [num_objects], all bits set
  __shared__ Box<T> objects[kThreads];
  __shared__ Key tile_keys[kThreads];
  for (int64_t start = int64_t(blockIdx.x) * kThreads; start < sides.num_lanes;
       start += int64_t(gridDim.x) * kThreads) {
    const int64_t lane = start + threadIdx.x;
    const bool inside = lane < sides.num_lanes;
    const Box<T> own = load_box(sides.lanes + 4 * (inside ? lane : sides.num_lanes - 1));
    T best = T(0);
    int64_t object_of = -1;
    for (int64_t first = 0; first < sides.num_objects; first += kThreads) {
      const int64_t left = sides.num_objects - first;
      const int count = static_cast<int>(left < kThreads ? left : kThreads);
      const int t = threadIdx.x;
      __syncthreads();  // the last objects and their keys have been read by all
      if (t < count) {
        objects[t] = load_box(sides.objects + 4 * (first + t));
        tile_keys[t] = kFindIndex ? keys[first + t] : 0;
      }
      __syncthreads();
      for (int g = 0; inside && g < count; ++g) {
        const T value = iou_of(own, objects[g]);
        if (!(value > T(0))) continue;
        const Key key = key_of(value, lane);
        if constexpr (kFindIndex) {
          if (key == tile_keys[g]) atomicMin(&indices[first + g], Key(lane));
        } else {
          if (value > best) {
            best = value;
            object_of = first + g;
          }
          // Few overlaps raise the maximum; a stale key only costs an atomic operation.
          if (key > *const_cast<volatile Key*>(&tile_keys[g])) atomicMax(&tile_keys[g], key);
        }
      }
      if constexpr (!kFindIndex) {
        __syncthreads();
        if (t < count && tile_keys[t] > 0) atomicMax(&keys[first + t], tile_keys[t]);
      }
    }
    if (!kFindIndex && inside) {
      sides.lane_max[lane] = best;
      sides.lane_argmax[lane] = object_of;
    }
  }
}

// One thread per object: takes a float32 key apart, in place.
__global__ void unpack_kernel(float* __restrict__ values,  // [num_objects]
                              int64_t* indices,            // [num_objects], keys on entry
                              int64_t num_objects) {
  for (int64_t g = first_item(); g < num_objects; g += item_stride()) {
    const Key key = static_cast<Key>(indices[g]);
    values[g] = __uint_as_float(static_cast<unsigned>(key >> 32));
    indices[g] = key == 0 ? -1 : static_cast<int64_t>(static_cast<unsigned>(~key));
  }
}

// One warp per owner box: its own pair, and those of the other side whose argument it is; its lanes
// stride over those and add up in a fixed tree. kOfFirst: owners are boxes1.
template <bool kOfFirst, class T>
__global__ void iou_max_backward_kernel(const T* __restrict__ own_grad,         // [owners]
                                        const T* __restrict__ other_grad,       // [others]
                                        const T* __restrict__ own_boxes,        // [owners, 4]
                                        const T* __restrict__ other_boxes,      // [others, 4]
                                        const int64_t* __restrict__ own_arg,    // [owners]
                                        const int64_t* __restrict__ other_arg,  // [others]
                                        T* __restrict__ out,                    // [owners, 4]
                                        int64_t owners, int64_t others) {
  const int lane = threadIdx.x % kWarp;
  for (int64_t k = first_item() / kWarp; k < owners; k += item_stride() / kWarp) {
    const Box<T> owner = load_box(own_boxes + 4 * k);
    BoxGradient<T> mine, unused;
    const auto add = [&](int64_t other, T g) {
      const Box<T> box = load_box(other_boxes + 4 * other);
      if constexpr (kOfFirst) {
        add_gradient<BoxIou>(owner, box, T(0), g, mine, unused);
      } else {
        add_gradient<BoxIou>(box, owner, T(0), g, unused, mine);
      }
    };
    const int64_t arg = own_arg[k];
    if (lane == 0 && arg >= 0 && arg < others) add(arg, own_grad[k]);
    for (int64_t other = lane; other < others; other += kWarp)
      if (other_arg[other] == k) add(other, other_grad[other]);
    mine = {warp_sum(mine.x1), warp_sum(mine.y1), warp_sum(mine.x2), warp_sum(mine.y2)};
    if (lane == 0) {
      out[4 * k] = mine.x1;
      out[4 * k + 1] = mine.y1;
      out[4 * k + 2] = mine.x2;
      out[4 * k + 3] = mine.y2;
    }
  }
}

}  // namespace

// The keys lie in the outputs: in object_argmax those of float32, which unpack_kernel takes apart;
// in object_max those of float64, whose bits are the result.
template <class T>
void box_iou_max_cuda(const T* boxes1, const T* boxes2, IouMaxima<T> out, int64_t n, int64_t m,
                      CudaStream stream) {
  const Sides<T> sides = sides_of(boxes1, boxes2, out, n, m);
  if (sides.num_lanes == 0) return;
  const cudaStream_t s = native(stream);
  const int64_t key_bytes = sides.num_objects * int64_t{sizeof(Key)};
  Key* const arguments = reinterpret_cast<Key*>(sides.object_argmax);
  const unsigned blocks = blocks_for(sides.num_lanes);
  if constexpr (std::is_same_v<T, float>) {
    cuda_check(cudaMemsetAsync(arguments, 0, key_bytes, s), "box_iou_max");
    iou_max_kernel<false><<<blocks, kThreads, 0, s>>>(sides, arguments, nullptr);
    check_launch("iou_max_kernel");
    unpack_kernel<<<blocks_for(sides.num_objects), kThreads, 0, s>>>(
        sides.object_max, sides.object_argmax, sides.num_objects);
    check_launch("unpack_kernel");
  } else {
    Key* const keys = reinterpret_cast<Key*>(sides.object_max);
    cuda_check(cudaMemsetAsync(keys, 0, key_bytes, s), "box_iou_max");
    cuda_check(cudaMemsetAsync(arguments, 0xff, key_bytes, s), "box_iou_max");
    iou_max_kernel<false><<<blocks, kThreads, 0, s>>>(sides, keys, nullptr);
    check_launch("iou_max_kernel");
    iou_max_kernel<true><<<blocks, kThreads, 0, s>>>(sides, keys, arguments);
    check_launch("iou_max_kernel");
  }
}

template <class T>
void box_iou_max_backward_cuda(const T* grad_row, const T* grad_column, const T* boxes1,
                               const T* boxes2, const int64_t* row_argmax,
                               const int64_t* column_argmax, T* grad1, T* grad2, int64_t n,
                               int64_t m, CudaStream stream) {
  constexpr int kWarpsPerBlock = kThreads / kWarp;
  const cudaStream_t s = native(stream);
  if (n > 0) {
    iou_max_backward_kernel<true><<<blocks_for(n, kWarpsPerBlock), kThreads, 0, s>>>(
        grad_row, grad_column, boxes1, boxes2, row_argmax, column_argmax, grad1, n, m);
    check_launch("iou_max_backward_kernel");
  }
  if (m > 0) {
    iou_max_backward_kernel<false><<<blocks_for(m, kWarpsPerBlock), kThreads, 0, s>>>(
        grad_column, grad_row, boxes2, boxes1, column_argmax, row_argmax, grad2, m, n);
    check_launch("iou_max_backward_kernel");
  }
}

#define INSTANTIATE(T)                                                                            \
  template void box_iou_max_cuda(const T*, const T*, IouMaxima<T>, int64_t, int64_t, CudaStream); \
  template void box_iou_max_backward_cuda(const T*, const T*, const T*, const T*, const int64_t*, \
                                          const int64_t*, T*, T*, int64_t, int64_t, CudaStream);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace sightline::iou::maxima
