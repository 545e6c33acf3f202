#include "assign/fcos/fcos.h"
#include "common/cuda.h"

namespace sightline::assign::fcos {
namespace {

// One block per tile of kThreads points of one image, one thread per point; the objects pass
// through shared memory kThreads at a time.
template <class T>
__global__ void assign_fcos_kernel(const T* __restrict__ points,    // [num_points, 2]
                                   const T* __restrict__ gt_boxes,  // [images, objects, 4]
                                   int64_t* __restrict__ out,       // [images, num_points]
                                   int64_t num_points, int64_t images, int64_t objects,
                                   FcosLevel<T> level) {
  __shared__ Box<T> shared[kThreads];
  const int64_t tiles = (num_points + kThreads - 1) / kThreads;
  for (int64_t task = blockIdx.x; task < images * tiles; task += gridDim.x) {
    const int64_t image = task / tiles, i = task % tiles * kThreads + threadIdx.x;
    const int64_t own = i < num_points ? i : num_points - 1;
    const T x = points[2 * own], y = points[2 * own + 1];
    T area = std::numeric_limits<T>::infinity();
    int64_t object_of = -1;
    for (int64_t start = 0; start < objects; start += kThreads) {
      const int count = static_cast<int>(objects - start < kThreads ? objects - start : kThreads);
      __syncthreads();  // the last objects have been read by all
      if (threadIdx.x < count)
        shared[threadIdx.x] = load_box(gt_boxes + 4 * (image * objects + start + threadIdx.x));
      __syncthreads();
      for (int g = 0; g < count; ++g)
        if (level.takes(x, y, shared[g]) && shared[g].area < area)
          area = shared[g].area, object_of = start + g;
    }
    if (i < num_points) out[image * num_points + i] = object_of;
  }
}

}  // namespace

template <class T>
void assign_fcos_cuda(const T* points, const T* gt_boxes, int64_t* out, int64_t num_points,
                      int64_t images, int64_t objects, FcosLevel<T> level, CudaStream stream) {
  if (num_points == 0 || images == 0) return;
  const int64_t tiles = (num_points + kThreads - 1) / kThreads;
  assign_fcos_kernel<<<blocks_for(images * tiles, 1), kThreads, 0, native(stream)>>>(
      points, gt_boxes, out, num_points, images, objects, level);
  check_launch("assign_fcos");
}

template void assign_fcos_cuda(const float*, const float*, int64_t*, int64_t, int64_t, int64_t,
                               FcosLevel<float>, CudaStream);
template void assign_fcos_cuda(const double*, const double*, int64_t*, int64_t, int64_t, int64_t,
                               FcosLevel<double>, CudaStream);

}  // namespace sightline::assign::fcos
