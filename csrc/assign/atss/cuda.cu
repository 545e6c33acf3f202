#include <type_traits>

#include "assign/atss/atss.h"
#include "common/cuda.h"
#include "common/workspace.h"

namespace sightline::assign::atss {
namespace {

constexpr int kDigitBits = 8, kDigits = 1 << kDigitBits;
static_assert(kDigits == kThreads);

// The last candidate of an object in a level: those before it in the order are candidates too.
template <class T>
struct Last {
  T distance;
  int64_t anchor;

  __device__ bool admits(T d, int64_t a) const {
    return d < distance || (d == distance && a <= anchor);  // false for NaN
  }
};

template <class T>
struct State {
  Last<T>* last;      // [images, objects, levels]
  double* threshold;  // [images, objects]

  State(Workspace& w, AtssLevels levels, int64_t rows)
      : last(w.take<Last<T>>(rows * levels.count)), threshold(w.take<double>(rows)) {}
};

// Distances are not negative: their bits are in their order.
__device__ uint32_t bits_of(float v) { return __float_as_uint(v); }
__device__ uint64_t bits_of(double v) { return static_cast<uint64_t>(__double_as_longlong(v)); }
__device__ float from_bits(uint32_t v) { return __uint_as_float(v); }
__device__ double from_bits(uint64_t v) { return __longlong_as_double(static_cast<long long>(v)); }

// Shared memory of a block: how many keys have each digit, then running sums of it; what the thread
// that finds the wanted digit says.
struct Counts {
  unsigned of_digit[kDigits];
  unsigned digit, below, same;
};

// What is found so far of the key of rank `rank` (from 1) among keys that `key(a, k)` gives for
// begin <= a < end where it returns true: digits from the highest, a block together. All threads
// get the same; found is false where there are fewer keys than rank.
template <class Key, class KeyOf>
__device__ bool select(int64_t begin, int64_t end, unsigned& rank, Key& found, unsigned& same,
                       Counts& counts, KeyOf key_of) {
  found = 0;
  for (int shift = 8 * int(sizeof(Key)) - kDigitBits; shift >= 0; shift -= kDigitBits) {
    __syncthreads();  // the last digit has been read by all
    counts.of_digit[threadIdx.x] = 0;
    if (threadIdx.x == 0) counts.digit = kDigits;
    __syncthreads();
    for (int64_t a = begin + threadIdx.x; a < end; a += kThreads) {
      Key key;
      // Above the digit the key must be what is found; the shift is split, as a whole width has no
      // meaning.
      if (key_of(a, key) && (key >> shift >> kDigitBits) == (found >> shift >> kDigitBits))
        atomicAdd(&counts.of_digit[static_cast<unsigned>(key >> shift) & (kDigits - 1)], 1u);
    }
    __syncthreads();
    for (unsigned by = 1; by < kDigits; by *= 2) {
      const unsigned before = threadIdx.x >= by ? counts.of_digit[threadIdx.x - by] : 0;
      __syncthreads();
      counts.of_digit[threadIdx.x] += before;
      __syncthreads();
    }
    const unsigned to = counts.of_digit[threadIdx.x];
    const unsigned below = threadIdx.x == 0 ? 0 : counts.of_digit[threadIdx.x - 1];
    if (below < rank && rank <= to)
      counts.digit = threadIdx.x, counts.below = below, counts.same = to - below;
    __syncthreads();
    if (counts.digit == kDigits) return false;
    found |= Key(counts.digit) << shift;
    rank -= counts.below;
    same = counts.same;
  }
  return true;
}

template <class T>
__device__ T distance_to(const T* anchors, int64_t a, T x, T y) {
  const Box<T> anchor = load_box(anchors + 4 * a);
  return squared_distance(centre_x(anchor), centre_y(anchor), x, y);
}

// Calls add(overlap) in thread 0 for the candidates of an object by ascending index; the block goes
// through the anchors kThreads at a time.
template <class T, class Add>
__device__ void for_candidates(const T* anchors, AtssLevels levels, const Box<T>& object,
                               const Last<T>* last, T* overlaps, unsigned* chosen, Add add) {
  const T x = centre_x(object), y = centre_y(object);
  for (int l = 0; l < levels.count; ++l) {
    for (int64_t start = levels.begin(l); start < levels.end[l]; start += kThreads) {
      const int64_t a = start + threadIdx.x;
      const bool mine = a < levels.end[l] && last[l].admits(distance_to(anchors, a, x, y), a);
      if (mine) overlaps[threadIdx.x] = iou_of(load_box(anchors + 4 * a), object);
      const unsigned lanes = __ballot_sync(kFullWarp, mine);
      if (threadIdx.x % 32 == 0) chosen[threadIdx.x / 32] = lanes;
      if (!__syncthreads_or(mine)) continue;
      if (threadIdx.x == 0)
        for (int warp = 0; warp < kThreads / 32; ++warp)
          for (unsigned left = chosen[warp]; left != 0; left &= left - 1)
            add(double(overlaps[32 * warp + __ffs(static_cast<int>(left)) - 1]));
      __syncthreads();  // read before they are written again
    }
  }
}

// One block per object: finds its last candidate in each level by their distances' digits, then the
// threshold, which thread 0 sums.
template <class T>
__global__ void threshold_kernel(State<T> state, const T* __restrict__ anchors,
                                 const T* __restrict__ gt_boxes,  // [rows, 4]
                                 AtssLevels levels, int64_t rows, int64_t top_k) {
  __shared__ Counts counts;
  __shared__ T overlaps[kThreads];
  __shared__ unsigned chosen[kThreads / 32];
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const Box<T> object = load_box(gt_boxes + 4 * row);
    if (!(object.area > T(0))) continue;  // it overlaps nothing; alike in every thread
    const T x = centre_x(object), y = centre_y(object);
    Last<T>* const last = state.last + row * levels.count;
    for (int l = 0; l < levels.count; ++l) {
      const int64_t begin = levels.begin(l), end = levels.end[l];
      Last<T> own{std::numeric_limits<T>::infinity(), std::numeric_limits<int64_t>::max()};
      if (top_k < end - begin) {
        unsigned rank = static_cast<unsigned>(top_k), same = 0;
        Bits distance = 0;
        const auto key_of_distance = [&](int64_t a, Bits& key) {
          const T d = distance_to(anchors, a, x, y);
          key = bits_of(d);
          return d >= T(0);  // not NaN
        };
        if (select(begin, end, rank, distance, same, counts, key_of_distance)) {
          own.distance = from_bits(distance);
          if (rank < same) {  // of those just as far the first
            uint32_t offset = 0;
            const auto key_of_index = [&](int64_t a, uint32_t& key) {
              key = static_cast<uint32_t>(a - begin);
              return distance_to(anchors, a, x, y) == own.distance;
            };
            select(begin, end, rank, offset, same, counts, key_of_index);
            own.anchor = begin + offset;
          }
        }
      }
      __syncthreads();
      if (threadIdx.x == 0) last[l] = own;
    }
    __syncthreads();          // what thread 0 wrote can be read by all
    AtssThreshold threshold;  // of thread 0
    for_candidates(anchors, levels, object, last, overlaps, chosen,
                   [&](double overlap) { threshold.add(overlap); });
    for_candidates(anchors, levels, object, last, overlaps, chosen,
                   [&](double overlap) { threshold.add_square(overlap); });
    if (threadIdx.x == 0) state.threshold[row] = threshold.value();
  }
}

// One block per tile of kThreads anchors of one image, one thread per anchor; the objects pass
// through shared memory kThreads at a time.
template <class T>
__global__ void assign_kernel(State<T> state, const T* __restrict__ anchors,
                              const T* __restrict__ gt_boxes,  // [images, objects, 4]
                              int64_t* __restrict__ out,       // [images, levels.anchors()]
                              AtssLevels levels, int64_t images, int64_t objects) {
  __shared__ Box<T> shared[kThreads];
  const int64_t n = levels.anchors(), tiles = (n + kThreads - 1) / kThreads;
  for (int64_t task = blockIdx.x; task < images * tiles; task += gridDim.x) {
    const int64_t image = task / tiles, a = task % tiles * kThreads + threadIdx.x;
    const Box<T> anchor = load_box(anchors + 4 * (a < n ? a : n - 1));
    const T x = centre_x(anchor), y = centre_y(anchor);
    int level = 0;
    while (level < levels.count - 1 && a >= levels.end[level]) ++level;
    T best = T(0);
    int64_t object_of = -1;
    for (int64_t start = 0; start < objects; start += kThreads) {
      const int count = static_cast<int>(objects - start < kThreads ? objects - start : kThreads);
      __syncthreads();  // the last objects have been read by all
      if (threadIdx.x < count)
        shared[threadIdx.x] = load_box(gt_boxes + 4 * (image * objects + start + threadIdx.x));
      __syncthreads();
      for (int k = 0; k < count; ++k) {
        const Box<T>& object = shared[k];
        if (!holds_centre(object, x, y)) continue;
        const T overlap = iou_of(anchor, object);
        if (!(overlap > best)) continue;
        const int64_t row = image * objects + start + k;
        const T d = squared_distance(x, y, centre_x(object), centre_y(object));
        if (double(overlap) >= state.threshold[row] &&
            state.last[row * levels.count + level].admits(d, a))
          best = overlap, object_of = start + k;
      }
    }
    if (a < n) out[image * n + a] = object_of;
  }
}

}  // namespace

template <class T>
void assign_atss_cuda(const T* anchors, const T* gt_boxes, int64_t* out, AtssLevels levels,
                      int64_t images, int64_t objects, int64_t top_k, void* workspace,
                      CudaStream stream) {
  const int64_t n = levels.anchors(), rows = images * objects;
  if (n == 0 || images == 0) return;
  Workspace memory(workspace);
  const State<T> state(memory, levels, rows);
  if (rows > 0)
    threshold_kernel<<<blocks_for(rows, 1), kThreads, 0, native(stream)>>>(state, anchors, gt_boxes,
                                                                           levels, rows, top_k);
  const int64_t tiles = (n + kThreads - 1) / kThreads;
  assign_kernel<<<blocks_for(images * tiles, 1), kThreads, 0, native(stream)>>>(
      state, anchors, gt_boxes, out, levels, images, objects);
  check_launch("assign_atss");
}

template <class T>
int64_t assign_atss_workspace_bytes(AtssLevels levels, int64_t images, int64_t objects) {
  return workspace_bytes<State<T>>(levels, images * objects);
}

#define INSTANTIATE(T)                                                                       \
  template void assign_atss_cuda(const T*, const T*, int64_t*, AtssLevels, int64_t, int64_t, \
                                 int64_t, void*, CudaStream);                                \
  template int64_t assign_atss_workspace_bytes<T>(AtssLevels, int64_t, int64_t);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace sightline::assign::atss
