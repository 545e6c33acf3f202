#include "nms/fusion/fusion.h"
#include "nms/segment_sort.cuh"

namespace sightline::nms::fusion {
namespace {

constexpr int64_t kMaxLabelBlocks = 4096;  // the others wait their turn in the kernel's loop

// One thread per box. Boxes that are out sort last.
template <class T>
__global__ void start_kernel(const T* __restrict__ boxes,         // [n, 4]
                             const T* __restrict__ scores,        // [n]
                             const int64_t* __restrict__ models,  // [n]
                             const double* __restrict__ weights,  // [num_models]
                             uint64_t* __restrict__ keys,         // [n]
                             int64_t* __restrict__ indices,       // [n]
                             double* __restrict__ weighted,       // [n]; negative: out
                             int64_t* __restrict__ cluster_of,    // [n], by founder; -1: none
                             unsigned long long* __restrict__ count, int64_t n,
                             FusionSettings<T> settings) {
  if (first_item() == 0) *count = 0;
  for (int64_t i = first_item(); i < n; i += item_stride()) {
    const bool fits = models[i] >= 0 && models[i] < settings.num_models &&
                      can_be_fused(load_box(boxes + 4 * i), scores[i], settings.score_threshold);
    weighted[i] = fits ? double(scores[i]) * weights[models[i]] : -1.0;
    keys[i] = fits ? score_key(weighted[i]) : ~uint64_t(0);
    indices[i] = i;
    cluster_of[i] = -1;
  }
}

// One thread per position.
__global__ void label_starts_kernel(const uint64_t* __restrict__ labels,  // [n], ascending
                                    uint8_t* __restrict__ is_start,       // [n]
                                    int64_t n) {
  for (int64_t p = first_item(); p < n; p += item_stride()) is_start[p] = starts_segment(labels, p);
}

template <class T>
struct Nearest {
  T overlap;
  int64_t cluster;  // its number within the label; INT64_MAX: none
};

template <class T>
__device__ Nearest<T> nearer(const Nearest<T>& a, const Nearest<T>& b) {
  return b.overlap > a.overlap || (b.overlap == a.overlap && b.cluster < a.cluster) ? b : a;
}

template <class T>
__device__ Nearest<T> nearest_of_warp(Nearest<T> nearest) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2)
    nearest = nearer(nearest, Nearest<T>{__shfl_xor_sync(kFullWarp, nearest.overlap, offset),
                                         __shfl_xor_sync(kFullWarp, nearest.cluster, offset)});
  return nearest;
}

// One block per label. For each of its boxes, best first, the threads share out the clusters to
// find the nearest, and thread 0 adds the box to it. Cluster c of a label lies at its start + c.
//
// Shared memory: the nearest cluster that each warp found, and the number of clusters.
template <class T>
__global__ void fuse_kernel(const T* __restrict__ boxes,             // [n, 4]
                            const double* __restrict__ weighted,     // [n]
                            const int64_t* __restrict__ models,      // [n]
                            const double* __restrict__ weights,      // [num_models]
                            const int64_t* __restrict__ order,       // [n]
                            const int64_t* __restrict__ starts,      // [num_labels]
                            const int64_t* __restrict__ num_labels,  // [1]
                            Box<T>* means,                           // [n]
                            Cluster* __restrict__ clusters,          // [n]
                            uint64_t* __restrict__ cluster_models,   // [n, words]
                            int64_t* __restrict__ cluster_of,        // [n], by founder
                            unsigned long long* __restrict__ count, int64_t n,
                            FusionSettings<T> settings) {
  __shared__ Nearest<T> of_warp[kThreads / kWarp];
  __shared__ int64_t num_clusters;
  const int t = threadIdx.x;
  const int64_t words = words_of_models(settings.num_models);
  const Nearest<T> nothing{settings.iou_threshold, INT64_MAX};
  for (int64_t s = blockIdx.x; s < *num_labels; s += gridDim.x) {
    const int64_t begin = starts[s], end = s + 1 < *num_labels ? starts[s + 1] : n;
    if (t == 0) num_clusters = 0;
    __syncthreads();
    for (int64_t p = begin; p < end; ++p) {
      const int64_t i = order[p];
      if (weighted[i] < 0) break;  // for all threads alike; what follows is out, too
      const Box<T> box = load_box(boxes + 4 * i);
      Nearest<T> nearest = nothing;
      for (int64_t c = t; c < num_clusters; c += blockDim.x) {
        const T overlap = iou_of(means[begin + c], box);
        if (overlap > settings.iou_threshold) nearest = nearer(nearest, Nearest<T>{overlap, c});
      }
      nearest = nearest_of_warp(nearest);
      if (t % kWarp == 0) of_warp[t / kWarp] = nearest;
      __syncthreads();
      if (t == 0) {
        for (int w = 1; w < kThreads / kWarp; ++w) nearest = nearer(nearest, of_warp[w]);
        const bool founds = nearest.cluster == INT64_MAX;
        const int64_t at = begin + (founds ? num_clusters : nearest.cluster);
        if (founds) {
          clusters[at] = Cluster{};
          for (int64_t w = 0; w < words; ++w) cluster_models[at * words + w] = 0;
          cluster_of[i] = at;
          ++num_clusters;
        }
        add_to_cluster(clusters[at], cluster_models + at * words, box, weighted[i],
                       weights[models[i]], models[i]);
        means[at] = founds ? box : mean_box(clusters[at], means[at]);
      }
      __syncthreads();  // the others read means and num_clusters next
    }
    if (t == 0 && num_clusters > 0) atomicAdd(count, static_cast<unsigned long long>(num_clusters));
    __syncthreads();  // num_clusters has been read
  }
}

// One thread per box: the key of the score of the cluster it founded; others sort last.
template <class T>
__global__ void fused_scores_kernel(const Cluster* __restrict__ clusters,         // [n]
                                    const uint64_t* __restrict__ cluster_models,  // [n, words]
                                    const double* __restrict__ weights,           // [num_models]
                                    const int64_t* __restrict__ cluster_of,       // [n]
                                    T* __restrict__ scores,                       // [n], by founder
                                    uint64_t* __restrict__ keys,                  // [n]
                                    int64_t n, FusionSettings<T> settings) {
  const int64_t words = words_of_models(settings.num_models);
  for (int64_t i = first_item(); i < n; i += item_stride()) {
    const int64_t at = cluster_of[i];
    keys[i] = ~uint64_t(0);
    if (at < 0) continue;
    scores[i] = fused_score(clusters[at], cluster_models + at * words, weights, settings);
    keys[i] = score_key(double(scores[i]));
  }
}

// One thread per fused box; rows past them are left as they are.
template <class T>
__global__ void write_kernel(const T* __restrict__ boxes,             // [n, 4]
                             const Cluster* __restrict__ clusters,    // [n]
                             const T* __restrict__ scores,            // [n], by founder
                             const int64_t* __restrict__ labels,      // [n]
                             const int64_t* __restrict__ cluster_of,  // [n]
                             const int64_t* __restrict__ founders,    // [n], sorted
                             T* __restrict__ fused_boxes,             // [n, 4]
                             T* __restrict__ fused_scores,            // [n]
                             int64_t* __restrict__ fused_labels,      // [n]
                             int64_t n) {
  for (int64_t k = first_item(); k < n; k += item_stride()) {
    const int64_t i = founders[k];
    if (cluster_of[i] < 0) continue;
    write_mean_box(clusters[cluster_of[i]], boxes + 4 * i, fused_boxes + 4 * k);
    fused_scores[k] = scores[i];
    fused_labels[k] = labels[i];
  }
}

template <class T>
struct Buffers {
  SegmentSort<uint64_t> sort;
  uint64_t* cluster_models;
  int64_t *starts, *num_labels, *cluster_of;
  double *weighted, *weights;
  Box<T>* means;
  T* scores;
  Cluster* clusters;
  uint8_t* is_start;
  unsigned long long* count;

  Buffers(Workspace& space, int64_t n, int64_t num_models)
      : sort(space, n),
        cluster_models(space.take<uint64_t>(n * words_of_models(num_models))),
        starts(space.take<int64_t>(n)),
        num_labels(space.take<int64_t>(1)),
        cluster_of(space.take<int64_t>(n)),
        weighted(space.take<double>(n)),
        weights(space.take<double>(num_models)),
        means(space.take<Box<T>>(n)),
        scores(space.take<T>(n)),
        clusters(space.take<Cluster>(n)),
        is_start(space.take<uint8_t>(n)),
        count(space.take<unsigned long long>(1)) {}
};

}  // namespace

template <class T>
int64_t weighted_boxes_fusion_workspace_bytes(int64_t n, int64_t num_models) {
  return workspace_bytes<Buffers<T>>(n, num_models);
}

template <class T>
int64_t weighted_boxes_fusion_cuda(const T* boxes, const T* scores, const int64_t* labels,
                                   const int64_t* models, const double* weights, T* fused_boxes,
                                   T* fused_scores, int64_t* fused_labels, int64_t n,
                                   FusionSettings<T> settings, void* workspace, CudaStream stream) {
  if (n == 0) return 0;
  Workspace space(workspace);
  const Buffers<T> buffer(space, n, settings.num_models);
  const SegmentSort<uint64_t>& sort = buffer.sort;
  const cudaStream_t s = native(stream);
  const unsigned blocks = blocks_for(n);

  cuda_check(cudaMemcpyAsync(buffer.weights, weights, settings.num_models * sizeof(double),
                             cudaMemcpyHostToDevice, s),
             "copy of the weights");
  start_kernel<<<blocks, kThreads, 0, s>>>(boxes, scores, models, buffer.weights, sort.keys,
                                           sort.indices, buffer.weighted, buffer.cluster_of,
                                           buffer.count, n, settings);
  check_launch("start_kernel");
  sort.sort_by_key(n, stream);
  sort.sort_by_segment(labels, sort.order, n, stream);
  label_starts_kernel<<<blocks, kThreads, 0, s>>>(sort.sorted_segments, buffer.is_start, n);
  check_launch("label_starts_kernel");
  sort.select(sort.indices, buffer.is_start, buffer.starts, buffer.num_labels, n, stream);
  const auto label_blocks = static_cast<unsigned>(std::min<int64_t>(n, kMaxLabelBlocks));
  fuse_kernel<<<label_blocks, kThreads, 0, s>>>(
      boxes, buffer.weighted, models, buffer.weights, sort.by_segment, buffer.starts,
      buffer.num_labels, buffer.means, buffer.clusters, buffer.cluster_models, buffer.cluster_of,
      buffer.count, n, settings);
  check_launch("fuse_kernel");
  fused_scores_kernel<<<blocks, kThreads, 0, s>>>(buffer.clusters, buffer.cluster_models,
                                                  buffer.weights, buffer.cluster_of, buffer.scores,
                                                  sort.keys, n, settings);
  check_launch("fused_scores_kernel");
  sort.sort_by_key(n, stream);
  write_kernel<<<blocks, kThreads, 0, s>>>(boxes, buffer.clusters, buffer.scores, labels,
                                           buffer.cluster_of, sort.order, fused_boxes, fused_scores,
                                           fused_labels, n);
  check_launch("write_kernel");
  return read_count(buffer.count, stream, "weighted_boxes_fusion");
}

#define INSTANTIATE(T)                                                                            \
  template int64_t weighted_boxes_fusion_cuda(const T*, const T*, const int64_t*, const int64_t*, \
                                              const double*, T*, T*, int64_t*, int64_t,           \
                                              FusionSettings<T>, void*, CudaStream);              \
  template int64_t weighted_boxes_fusion_workspace_bytes<T>(int64_t, int64_t);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace sightline::nms::fusion
