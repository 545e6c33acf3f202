#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_select.cuh>

#include "common/cuda.h"
#include "common/radix_sort.h"

namespace sightline {

template <class Key>
void radix_sort_cuda(const Key* keys, Key* sorted_keys, const int64_t* values,
                     int64_t* sorted_values, int64_t n, void* workspace, int64_t workspace_bytes,
                     CudaStream stream) {
  if (n == 0) return;
  size_t bytes = workspace_bytes;
  cuda_check(
      cub::DeviceRadixSort::SortPairs(workspace, bytes, keys, sorted_keys, values, sorted_values, n,
                                      0, 8 * static_cast<int>(sizeof(Key)), native(stream)),
      "radix sort");
}

template <class Key>
int64_t radix_sort_workspace_bytes(int64_t n) {
  size_t bytes = 0;
  const Key* keys = nullptr;
  const int64_t* values = nullptr;
  cuda_check(cub::DeviceRadixSort::SortPairs(nullptr, bytes, keys, static_cast<Key*>(nullptr),
                                             values, static_cast<int64_t*>(nullptr), n),
             "workspace of radix sort");
  return static_cast<int64_t>(bytes);
}

template <class Key>
void radix_sort_in_place_cuda(Key*& keys, Key*& spare_keys, int64_t*& values,
                              int64_t*& spare_values, int64_t n, int bits, void* workspace,
                              int64_t workspace_bytes, CudaStream stream) {
  if (n == 0) return;
  cub::DoubleBuffer<Key> key_buffers(keys, spare_keys);
  cub::DoubleBuffer<int64_t> value_buffers(values, spare_values);
  size_t bytes = workspace_bytes;
  cuda_check(cub::DeviceRadixSort::SortPairs(workspace, bytes, key_buffers, value_buffers, n, 0,
                                             bits, native(stream)),
             "radix sort");
  keys = key_buffers.Current();
  spare_keys = key_buffers.Alternate();
  values = value_buffers.Current();
  spare_values = value_buffers.Alternate();
}

// That of all bits, which is no less than that of some.
template <class Key>
int64_t radix_sort_in_place_workspace_bytes(int64_t n) {
  cub::DoubleBuffer<Key> keys;
  cub::DoubleBuffer<int64_t> values;
  size_t bytes = 0;
  cuda_check(cub::DeviceRadixSort::SortPairs(nullptr, bytes, keys, values, n),
             "workspace of radix sort");
  return static_cast<int64_t>(bytes);
}

void select_flagged_cuda(const int64_t* values, const uint8_t* flags, int64_t* selected,
                         int64_t* count, int64_t n, void* workspace, int64_t workspace_bytes,
                         CudaStream stream) {
  size_t bytes = workspace_bytes;
  cuda_check(cub::DeviceSelect::Flagged(workspace, bytes, values, flags, selected, count, n,
                                        native(stream)),
             "select");
}

int64_t select_flagged_workspace_bytes(int64_t n) {
  size_t bytes = 0;
  const int64_t* values = nullptr;
  const uint8_t* flags = nullptr;
  int64_t* out = nullptr;
  cuda_check(cub::DeviceSelect::Flagged(nullptr, bytes, values, flags, out, out, n),
             "workspace of select");
  return static_cast<int64_t>(bytes);
}

template void radix_sort_cuda(const uint32_t*, uint32_t*, const int64_t*, int64_t*, int64_t, void*,
                              int64_t, CudaStream);
template void radix_sort_cuda(const uint64_t*, uint64_t*, const int64_t*, int64_t*, int64_t, void*,
                              int64_t, CudaStream);
template int64_t radix_sort_workspace_bytes<uint32_t>(int64_t);
template int64_t radix_sort_workspace_bytes<uint64_t>(int64_t);
template void radix_sort_in_place_cuda(uint32_t*&, uint32_t*&, int64_t*&, int64_t*&, int64_t, int,
                                       void*, int64_t, CudaStream);
template void radix_sort_in_place_cuda(uint64_t*&, uint64_t*&, int64_t*&, int64_t*&, int64_t, int,
                                       void*, int64_t, CudaStream);
template int64_t radix_sort_in_place_workspace_bytes<uint32_t>(int64_t);
template int64_t radix_sort_in_place_workspace_bytes<uint64_t>(int64_t);

}  // namespace sightline
