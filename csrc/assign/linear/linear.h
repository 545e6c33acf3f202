// The assignment of rows to columns of least total cost, by shortest augmenting paths.
//
// All arithmetic is in double. A pair whose cost is not finite is never assigned. The smaller side
// is entered one by one in ascending order; one that no path of finite cost can place stays out,
// and those before it keep their places. Equal distances go to a free partner before a taken one,
// then to the lowest index. So CPU and CUDA take the same steps and give the same assignment.
//
// Source: Crouse, "On implementing 2D rectangular assignment algorithms", 2016, with the potentials
// of Jonker and Volgenant, 1987.
#pragma once

#include <cstdint>

#include "common/cuda_stream.h"
#include "common/macros.h"
#include "common/parallel.h"

namespace sightline::assign::linear {

struct AssignmentShape {
  int64_t problems, rows, columns;

  SIGHTLINE_HD bool rows_enter() const { return rows <= columns; }
  SIGHTLINE_HD int64_t entering() const { return rows_enter() ? rows : columns; }
  SIGHTLINE_HD int64_t partners() const { return rows_enter() ? columns : rows; }
  // Steps between the costs of consecutive entering nodes, and of consecutive partners.
  SIGHTLINE_HD int64_t entering_stride() const { return rows_enter() ? columns : 1; }
  SIGHTLINE_HD int64_t partner_stride() const { return rows_enter() ? 1 : columns; }
};

// out[p, r] is the column that row r of problem p is assigned to, or -1.
template <class T>
void linear_assignment_cpu(const T* cost,  // [problems, rows, columns]
                           int64_t* out,   // [problems, rows]
                           AssignmentShape shape, ParallelFor parallel_for);

// The same, without synchronising. workspace: linear_assignment_workspace_bytes(shape) bytes on the
// device, aligned to 256.
template <class T>
void linear_assignment_cuda(const T* cost, int64_t* out, AssignmentShape shape, void* workspace,
                            CudaStream stream);
int64_t linear_assignment_workspace_bytes(AssignmentShape shape);

}  // namespace sightline::assign::linear
