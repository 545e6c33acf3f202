// Sorting items in the shared memory of a block, and finding the first of them.
#pragma once

#include "common/cuda.h"

namespace sightline {

// Sorts items[0 .. n) by before(); all threads of a block of kThreads call it after a barrier, and
// may read when it returns. Room must be for the next power of two; the rest is filled with `last`,
// which comes after every item.
template <class Item>
__device__ void sort_in_block(Item* items, int n, Item last) {
  int size = 1;
  while (size < n) size *= 2;
  for (int i = n + static_cast<int>(threadIdx.x); i < size; i += kThreads) items[i] = last;
  __syncthreads();
  for (int width = 2; width <= size; width *= 2)
    for (int step = width / 2; step > 0; step /= 2) {
      for (int i = threadIdx.x; i < size / 2; i += kThreads) {
        const int low = 2 * i - (i & (step - 1)), high = low + step;
        const Item a = items[low], b = items[high];
        if ((low & width) == 0 ? b.before(a) : a.before(b)) items[low] = b, items[high] = a;
      }
      __syncthreads();
    }
}

// Each thread of a block of kThreads gives an item; all get the one that comes first by before().
template <class Item>
__device__ Item first_of_block(const Item& own, Item* shared /* [kThreads] */) {
  shared[threadIdx.x] = own;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half && shared[threadIdx.x + half].before(shared[threadIdx.x]))
      shared[threadIdx.x] = shared[threadIdx.x + half];
  }
  __syncthreads();
  const Item first = shared[0];
  __syncthreads();  // read by all before it is written again
  return first;
}

}  // namespace sightline
