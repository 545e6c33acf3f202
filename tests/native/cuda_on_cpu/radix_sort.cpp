// Stands in for common/radix_sort.cu: the same contract without CUB.
#include "common/radix_sort.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <utility>
#include <vector>

#include "cuda_runtime.h"

namespace sightline {
namespace {

// Asked for and filled with garbage, so that a caller that takes too little is found out.
int64_t workspace_bytes(int64_t n) { return 256 + n / 8; }
void use(void* workspace, int64_t bytes, int64_t needed) {
  if (bytes < needed) throw std::length_error("the workspace is too small");
  std::memset(workspace, 0x5a, static_cast<size_t>(needed));
  ++cuda_on_cpu::counters.library_calls;
}

template <class Key>
void sort_pairs(const Key* keys, Key* sorted_keys, const int64_t* values, int64_t* sorted_values,
                int64_t n, int bits) {
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  const Key mask = bits >= int(8 * sizeof(Key)) ? ~Key(0) : (Key(1) << bits) - 1;
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return (keys[a] & mask) < (keys[b] & mask); });
  for (int64_t p = 0; p < n; ++p) {
    sorted_keys[p] = keys[order[p]];
    sorted_values[p] = values[order[p]];
  }
}

}  // namespace

template <class Key>
void radix_sort_cuda(const Key* keys, Key* sorted_keys, const int64_t* values,
                     int64_t* sorted_values, int64_t n, void* workspace, int64_t bytes,
                     CudaStream) {
  if (n == 0) return;
  use(workspace, bytes, workspace_bytes(n));
  sort_pairs(keys, sorted_keys, values, sorted_values, n, 8 * sizeof(Key));
}
template <class Key>
int64_t radix_sort_workspace_bytes(int64_t n) {
  return workspace_bytes(n);
}

template <class Key>
void radix_sort_in_place_cuda(Key*& keys, Key*& spare_keys, int64_t*& values,
                              int64_t*& spare_values, int64_t n, int bits, void* workspace,
                              int64_t bytes, CudaStream) {
  if (n == 0) return;
  use(workspace, bytes, workspace_bytes(n));
  sort_pairs(keys, spare_keys, values, spare_values, n, bits);
  std::memset(keys, 0x5a, sizeof(Key) * static_cast<size_t>(n));
  std::memset(values, 0x5a, sizeof(int64_t) * static_cast<size_t>(n));
  std::swap(keys, spare_keys);
  std::swap(values, spare_values);
}
template <class Key>
int64_t radix_sort_in_place_workspace_bytes(int64_t n) {
  return workspace_bytes(n);
}

void select_flagged_cuda(const int64_t* values, const uint8_t* flags, int64_t* selected,
                         int64_t* count, int64_t n, void* workspace, int64_t bytes, CudaStream) {
  use(workspace, bytes, workspace_bytes(n));
  *count = 0;
  for (int64_t i = 0; i < n; ++i)
    if (flags[i]) selected[(*count)++] = values[i];
}
int64_t select_flagged_workspace_bytes(int64_t n) { return workspace_bytes(n); }

#define INSTANTIATE(Key)                                                                          \
  template void radix_sort_cuda(const Key*, Key*, const int64_t*, int64_t*, int64_t, void*,       \
                                int64_t, CudaStream);                                             \
  template int64_t radix_sort_workspace_bytes<Key>(int64_t);                                      \
  template void radix_sort_in_place_cuda(Key*&, Key*&, int64_t*&, int64_t*&, int64_t, int, void*, \
                                         int64_t, CudaStream);                                    \
  template int64_t radix_sort_in_place_workspace_bytes<Key>(int64_t);
INSTANTIATE(uint32_t)
INSTANTIATE(uint64_t)
#undef INSTANTIATE

}  // namespace sightline
