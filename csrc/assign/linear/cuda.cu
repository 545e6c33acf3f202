#include "assign/linear/linear.h"
#include "assign/linear/path.h"
#include "common/block_sort.cuh"
#include "common/workspace.h"

namespace sightline::assign::linear {
namespace {

// The state of all problems in global memory; the L2 holds it for the sizes of set prediction.
struct State {
  double* potential;           // [problems, partners]
  double* limit;               // [problems, partners]: length of the best path, -inf once visited
  double* visited_length;      // [problems, partners]: the length at which it was visited
  int64_t* previous;           // [problems, partners]: the entering node before it on that path
  int64_t* owner_of;           // [problems, partners], -1 while free
  double* entering_potential;  // [problems, entering]
  int64_t* partner_of;         // [problems, entering], -1 while free

  State(Workspace& w, const AssignmentShape& s)
      : potential(w.take<double>(s.problems * s.partners())),
        limit(w.take<double>(s.problems * s.partners())),
        visited_length(w.take<double>(s.problems * s.partners())),
        previous(w.take<int64_t>(s.problems * s.partners())),
        owner_of(w.take<int64_t>(s.problems * s.partners())),
        entering_potential(w.take<double>(s.problems * s.entering())),
        partner_of(w.take<int64_t>(s.problems * s.entering())) {}
};

// One block per problem, the threads over the partners; every thread follows the path.
template <class T>
__global__ void linear_assignment_kernel(const T* __restrict__ cost,  // [problems, rows, columns]
                                         int64_t* __restrict__ out,   // [problems, rows]
                                         State state, AssignmentShape shape) {
  __shared__ Candidate shared[kThreads];
  const int64_t entering = shape.entering(), partners = shape.partners();
  for (int64_t p = blockIdx.x; p < shape.problems; p += gridDim.x) {
    const T* const costs = cost + p * shape.rows * shape.columns;
    double* const potential = state.potential + p * partners;
    double* const limit = state.limit + p * partners;
    double* const visited_length = state.visited_length + p * partners;
    int64_t* const previous = state.previous + p * partners;
    int64_t* const owner_of = state.owner_of + p * partners;
    double* const entering_potential = state.entering_potential + p * entering;
    int64_t* const partner_of = state.partner_of + p * entering;
    for (int64_t j = threadIdx.x; j < partners; j += kThreads) potential[j] = 0, owner_of[j] = -1;
    for (int64_t i = threadIdx.x; i < entering; i += kThreads)
      entering_potential[i] = 0, partner_of[i] = -1;

    for (int64_t first = 0; first < entering; ++first) {
      for (int64_t j = threadIdx.x; j < partners; j += kThreads) limit[j] = kInfinity;
      __syncthreads();  // what the last path changed can be seen by all
      double distance = 0;
      int64_t end = -1;
      for (int64_t i = first; i >= 0;) {
        Candidate own;
        for (int64_t j = threadIdx.x; j < partners; j += kThreads) {
          if (limit[j] == -kInfinity) continue;
          const double c =
              usable_cost(costs[i * shape.entering_stride() + j * shape.partner_stride()]);
          const double offered = path_length(distance, c, entering_potential[i], potential[j]);
          if (offered < limit[j]) limit[j] = offered, previous[j] = i;
          const Candidate candidate{limit[j], owner_of[j] < 0 ? j : partners + j};
          if (candidate.before(own)) own = candidate;
        }
        const Candidate nearest = first_of_block(own, shared);
        if (!(nearest.length < kInfinity)) break;
        distance = nearest.length;
        const int64_t j = nearest.rank < partners ? nearest.rank : nearest.rank - partners;
        if (j % kThreads == threadIdx.x) limit[j] = -kInfinity, visited_length[j] = distance;
        i = owner_of[j];
        if (i < 0) end = j;
      }
      if (end < 0) continue;  // alike in every thread
      for (int64_t j = threadIdx.x; j < partners; j += kThreads) {
        if (limit[j] != -kInfinity) continue;
        const double rest = distance - visited_length[j];
        potential[j] -= rest;
        if (owner_of[j] >= 0) entering_potential[owner_of[j]] += rest;
      }
      __syncthreads();  // owners have been read, and each changed by one thread alone
      if (threadIdx.x == 0) {
        entering_potential[first] += distance;
        for (int64_t j = end, i = -1; i != first;) {
          i = previous[j];
          owner_of[j] = i;
          const int64_t before = partner_of[i];
          partner_of[i] = j;
          j = before;
        }
      }
    }
    __syncthreads();
    const int64_t* const result = shape.rows_enter() ? partner_of : owner_of;
    for (int64_t r = threadIdx.x; r < shape.rows; r += kThreads)
      out[p * shape.rows + r] = result[r];
  }
}

}  // namespace

template <class T>
void linear_assignment_cuda(const T* cost, int64_t* out, AssignmentShape shape, void* workspace,
                            CudaStream stream) {
  if (shape.problems == 0 || shape.rows == 0) return;
  Workspace memory(workspace);
  const State state(memory, shape);
  linear_assignment_kernel<<<blocks_for(shape.problems, 1), kThreads, 0, native(stream)>>>(
      cost, out, state, shape);
  check_launch("linear_assignment");
}

int64_t linear_assignment_workspace_bytes(AssignmentShape shape) {
  return workspace_bytes<State>(shape);
}

template void linear_assignment_cuda(const float*, int64_t*, AssignmentShape, void*, CudaStream);
template void linear_assignment_cuda(const double*, int64_t*, AssignmentShape, void*, CudaStream);

}  // namespace sightline::assign::linear
