// Sorting and selecting on CUDA. radix_sort.cu is the only file that includes CUB, which is slow to
// compile. Key is uint32_t or uint64_t; sort_keys.h makes them.
#pragma once

#include <cstdint>

#include "common/cuda_stream.h"

namespace sightline {

// Sorts (key, value) by ascending key; equal keys keep their order.
template <class Key>
void radix_sort_cuda(const Key* keys,         // [n]
                     Key* sorted_keys,        // [n]
                     const int64_t* values,   // [n]
                     int64_t* sorted_values,  // [n]
                     int64_t n, void* workspace, int64_t workspace_bytes, CudaStream stream);
template <class Key>
int64_t radix_sort_workspace_bytes(int64_t n);

// The same in two buffers of each kind, and in no more: they change places as sorting goes on, and
// `keys` and `values` point to what is sorted at the end. Only the low `bits` of a key count.
template <class Key>
void radix_sort_in_place_cuda(Key*& keys,              // [n]
                              Key*& spare_keys,        // [n]
                              int64_t*& values,        // [n]
                              int64_t*& spare_values,  // [n]
                              int64_t n, int bits, void* workspace, int64_t workspace_bytes,
                              CudaStream stream);
template <class Key>
int64_t radix_sort_in_place_workspace_bytes(int64_t n);

// Writes the values whose flag is 1, in order, and how many they are.
void select_flagged_cuda(const int64_t* values,  // [n]
                         const uint8_t* flags,   // [n]
                         int64_t* selected,      // [n]
                         int64_t* count,         // [1]
                         int64_t n, void* workspace, int64_t workspace_bytes, CudaStream stream);
int64_t select_flagged_workspace_bytes(int64_t n);

}  // namespace sightline
