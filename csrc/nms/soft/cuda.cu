#include "nms/segment_sort.cuh"
#include "nms/soft/soft.h"

namespace sightline::nms::soft {
namespace {

constexpr int kMaxThreads = 1024;
constexpr int64_t kMaxSegmentBlocks = 4096;  // the others wait their turn in the kernel's loop

// One thread per box.
template <class T>
__global__ void start_kernel(const T* __restrict__ scores,    // [n]
                             ScoreKey<T>* __restrict__ keys,  // [n]
                             int64_t* __restrict__ indices,   // [n]
                             T* __restrict__ score_of,        // [n]
                             unsigned long long* __restrict__ count, int64_t n, T threshold) {
  if (first_item() == 0) *count = 0;
  for (int64_t i = first_item(); i < n; i += item_stride()) {
    // Boxes that are out from the start sort last: what is to do is a prefix of every segment.
    const T score = entry_score(scores[i], threshold);
    keys[i] = score < T(0) ? ~ScoreKey<T>(0) : score_key(score);
    indices[i] = i;
    score_of[i] = T(kGone);
  }
}

// One thread per position.
template <class T>
__global__ void gather_kernel(const T* __restrict__ boxes,            // [n, 4]
                              const T* __restrict__ scores,           // [n]
                              const int64_t* __restrict__ order,      // [n]
                              const uint64_t* __restrict__ segments,  // [n], or null
                              Box<T>* __restrict__ sorted,            // [n]
                              T* __restrict__ current,                // [n]
                              uint8_t* __restrict__ is_start,         // [n]
                              int64_t n, T threshold) {
  for (int64_t p = first_item(); p < n; p += item_stride()) {
    sorted[p] = load_box(boxes + 4 * order[p]);
    current[p] = entry_score(scores[order[p]], threshold);
    is_start[p] = starts_segment(segments, p);
  }
}

template <class T>
struct Best {
  T score;
  int64_t index, position;
};

template <class T>
__device__ Best<T> better(const Best<T>& a, const Best<T>& b) {
  return b.score > a.score || (b.score == a.score && b.index < a.index) ? b : a;
}

template <class T>
__device__ Best<T> best_of_warp(Best<T> best) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    const Best<T> other{__shfl_xor_sync(kFullWarp, best.score, offset),
                        __shfl_xor_sync(kFullWarp, best.index, offset),
                        __shfl_xor_sync(kFullWarp, best.position, offset)};
    best = better(best, other);
  }
  return best;
}

// One block per segment. For every box that is kept, each thread lowers the scores of its boxes by
// the one kept before and finds the best of them; the best of all threads is kept.
//
// Shared memory: the best of each warp, and the box that is kept.
template <bool kGaussian, class T>
__global__ void keep_best_kernel(const Box<T>* __restrict__ boxes,          // [n]
                                 T* __restrict__ current,                   // [n]
                                 const int64_t* __restrict__ order,         // [n]
                                 const int64_t* __restrict__ starts,        // [num_segments]
                                 const int64_t* __restrict__ num_segments,  // [1]
                                 T* __restrict__ score_of,                  // [n], by index
                                 unsigned long long* __restrict__ count, int64_t n,
                                 SoftNmsSettings<T> settings) {
  __shared__ Best<T> bests[kMaxThreads / kWarp];
  __shared__ Best<T> chosen;
  const int t = threadIdx.x, warps = blockDim.x / kWarp;
  const Best<T> nothing{T(kGone), INT64_MAX, 0};
  for (int64_t s = blockIdx.x; s < *num_segments; s += gridDim.x) {
    const int64_t begin = starts[s], end = s + 1 < *num_segments ? starts[s + 1] : n;
    int64_t kept = 0;
    Box<T> last{};
    for (; kept < settings.max_detections; ++kept) {
      Best<T> best = nothing;
      for (int64_t p = begin + t; p < end; p += blockDim.x) {
        T score = current[p];
        if (score < T(0)) continue;
        if (kept > 0) {
          const T lower = decayed<kGaussian>(score, iou_of(last, boxes[p]), settings);
          if (lower != score) current[p] = lower;
          score = lower;
        }
        best = better(best, Best<T>{score, score < T(0) ? INT64_MAX : order[p], p});
      }
      best = best_of_warp(best);
      if (t % kWarp == 0) bests[t / kWarp] = best;
      __syncthreads();
      if (t < kWarp) {
        best = best_of_warp(t < warps ? bests[t] : nothing);
        if (t == 0) {
          chosen = best;
          if (best.score >= T(0)) {
            score_of[best.index] = best.score;
            current[best.position] = T(kGone);  // its thread reads this after the barrier
          }
        }
      }
      __syncthreads();
      if (chosen.score < T(0)) break;  // all threads of the block agree
      last = boxes[chosen.position];
    }
    if (t == 0 && kept > 0) atomicAdd(count, static_cast<unsigned long long>(kept));
    __syncthreads();  // `chosen` has been read by all
  }
}

// One thread per box.
template <class T>
__global__ void final_keys_kernel(const T* __restrict__ score_of,  // [n]
                                  ScoreKey<T>* __restrict__ keys,  // [n]
                                  int64_t n) {
  for (int64_t i = first_item(); i < n; i += item_stride())
    keys[i] = score_of[i] < T(0) ? ~ScoreKey<T>(0) : score_key(score_of[i]);
}

// One thread per kept box; rows past the kept ones hold the score kGone.
template <class T>
__global__ void kept_scores_kernel(const T* __restrict__ score_of,    // [n]
                                   const int64_t* __restrict__ keep,  // [n]
                                   T* __restrict__ kept_scores,       // [n]
                                   int64_t n) {
  for (int64_t k = first_item(); k < n; k += item_stride()) kept_scores[k] = score_of[keep[k]];
}

template <class T>
struct Buffers {
  SegmentSort<ScoreKey<T>> sort;
  int64_t *starts, *num_segments;
  Box<T>* boxes;
  T *current, *score_of;
  uint8_t* is_start;
  unsigned long long* count;

  Buffers(Workspace& space, int64_t n)
      : sort(space, n),
        starts(space.take<int64_t>(n)),
        num_segments(space.take<int64_t>(1)),
        boxes(space.take<Box<T>>(n)),
        current(space.take<T>(n)),
        score_of(space.take<T>(n)),
        is_start(space.take<uint8_t>(n)),
        count(space.take<unsigned long long>(1)) {}
};

}  // namespace

template <class T>
int64_t soft_nms_workspace_bytes(int64_t n) {
  return workspace_bytes<Buffers<T>>(n);
}

template <class T>
int64_t soft_nms_cuda(const T* boxes, const T* scores, const int64_t* idxs, int64_t* keep,
                      T* kept_scores, int64_t n, SoftNmsSettings<T> settings, void* workspace,
                      CudaStream stream) {
  if (n == 0) return 0;
  Workspace space(workspace);
  const Buffers<T> buffer(space, n);
  const SegmentSort<ScoreKey<T>>& sort = buffer.sort;
  const cudaStream_t s = native(stream);
  const unsigned blocks = blocks_for(n);

  start_kernel<<<blocks, kThreads, 0, s>>>(scores, sort.keys, sort.indices, buffer.score_of,
                                           buffer.count, n, settings.score_threshold);
  check_launch("start_kernel");
  sort.sort_by_key(n, stream);
  const int64_t* order = sort.order;
  const uint64_t* segments = nullptr;
  if (idxs != nullptr) {
    sort.sort_by_segment(idxs, order, n, stream);
    order = sort.by_segment;
    segments = sort.sorted_segments;
  }
  gather_kernel<<<blocks, kThreads, 0, s>>>(boxes, scores, order, segments, buffer.boxes,
                                            buffer.current, buffer.is_start, n,
                                            settings.score_threshold);
  check_launch("gather_kernel");
  sort.select(sort.indices, buffer.is_start, buffer.starts, buffer.num_segments, n, stream);
  const unsigned segment_blocks =
      idxs == nullptr ? 1u : static_cast<unsigned>(std::min<int64_t>(n, kMaxSegmentBlocks));
  const unsigned threads = idxs == nullptr ? kMaxThreads : kThreads;
  const auto keep_best = settings.gaussian ? keep_best_kernel<true, T> : keep_best_kernel<false, T>;
  keep_best<<<segment_blocks, threads, 0, s>>>(buffer.boxes, buffer.current, order, buffer.starts,
                                               buffer.num_segments, buffer.score_of, buffer.count,
                                               n, settings);
  check_launch("keep_best_kernel");
  // What a segment keeps is sorted by score, then index: so is what all keep.
  final_keys_kernel<<<blocks, kThreads, 0, s>>>(buffer.score_of, sort.keys, n);
  check_launch("final_keys_kernel");
  sort.sort_by_key(keep, n, stream);
  kept_scores_kernel<<<blocks, kThreads, 0, s>>>(buffer.score_of, keep, kept_scores, n);
  check_launch("kept_scores_kernel");
  return std::min(read_count(buffer.count, stream, "soft_nms"), settings.max_detections);
}

#define INSTANTIATE(T)                                                                      \
  template int64_t soft_nms_cuda(const T*, const T*, const int64_t*, int64_t*, T*, int64_t, \
                                 SoftNmsSettings<T>, void*, CudaStream);                    \
  template int64_t soft_nms_workspace_bytes<T>(int64_t);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace sightline::nms::soft
