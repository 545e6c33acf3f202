// Passes over memory that compute nothing: the limits that benchmarks hold the kernels to.
//
// Streaming stores go past the caches, so that a line is not read before it is written; where the
// instruction set has none of that width they are ordinary stores. Arrays are aligned to 64 bytes
// and n is a multiple of 16.
#pragma once

#include <cstdint>

#include "common/parallel.h"

namespace sightline::bandwidth {

// The sum of the elements, which makes the reading of them needed.
uint32_t read_cpu(const uint32_t* in,  // [n]
                  int64_t n, ParallelFor parallel_for);

void fill_cpu(float* out,  // [n]
              int64_t n, float value, bool streaming, ParallelFor parallel_for);

void copy_cpu(const float* in,  // [n]
              float* out,       // [n]
              int64_t n, bool streaming, ParallelFor parallel_for);

}  // namespace sightline::bandwidth
