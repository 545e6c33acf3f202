// The kernels of batch norm on host memory, for tests/native/test_batch_norm_cuda_on_cpu.py.
#include "batch_norm/batch_norm.h"

#include <algorithm>
#include <iterator>

#include "batch_norm/plan.h"
#include "cuda_runtime.h"
#include "workspace_memory.h"

namespace {

using namespace sightline;
using namespace sightline::batch_norm;

// Which function: 0 moments, 1 forward, 2 backward. Pointers are in the order of its struct; sizes:
// batch, channels, length, channels_last, activation, training, passes; numbers: slope, eps.
// Returns -1 where the kernels wrote past their workspace.
template <class T>
int64_t run(int64_t function, void* const* p, const int64_t* sizes, const double* numbers) {
  using S = Compute<T>;
  const BatchNormShape shape{sizes[0], sizes[1], sizes[2], sizes[3] != 0};
  const BatchNormOptions options{static_cast<Activation>(sizes[4]), numbers[0], numbers[1],
                                 sizes[5] != 0};
  cuda_on_cpu::WorkspaceMemory memory(batch_norm_workspace_cuda(shape) * int64_t(sizeof(double)));
  double* const workspace = reinterpret_cast<double*>(memory.get());
  const auto t = [&](int k) { return static_cast<T*>(p[k]); };
  const auto s = [&](int k) { return static_cast<S*>(p[k]); };
  const auto d = [&](int k) { return static_cast<double*>(p[k]); };
  const auto bits = [&](int k) { return static_cast<uint8_t*>(p[k]); };
  if (function == 0)
    batch_norm_moments_cuda<T>(t(0), shape, d(1), d(2), workspace, {});
  else if (function == 1)
    batch_norm_act_cuda<T>({t(0), t(1), s(2), s(3), d(4), d(5), t(6), bits(7)}, shape, options,
                           workspace, {});
  else
    batch_norm_act_backward_cuda<T>({t(0), t(1), t(2), t(3), bits(4), s(5), s(6), d(7), d(8), d(9),
                                     d(10), t(11), t(12), s(13), s(14)},
                                    shape, options, static_cast<BatchNormPasses>(sizes[6]),
                                    workspace, {});
  return memory.fence_is_whole() ? 0 : -1;
}

}  // namespace

#define DEFINE(T, SUFFIX)                                                              \
  extern "C" __attribute__((visibility("default"))) int64_t batch_norm_##SUFFIX(       \
      int64_t function, void* const* p, const int64_t* sizes, const double* numbers) { \
    return run<T>(function, p, sizes, numbers);                                        \
  }
DEFINE(float, float32)
DEFINE(double, float64)
DEFINE(Float16, float16)
DEFINE(BFloat16, bfloat16)

extern "C" __attribute__((visibility("default"))) void batch_norm_track_float32(
    const double* mean, const double* var, float* running_mean, float* running_var,
    int64_t* tracked, double momentum, int64_t channels, int64_t count) {
  batch_norm_track_cuda<float>(
      {mean, var, running_mean, running_var, tracked, momentum, channels, count}, {});
}

// Of a plan: columns, slices, units of one and of all, lead, lanes, alone, backwards; then (where
// tickets is not null) second, column and slice of each ticket.
extern "C" __attribute__((visibility("default"))) void batch_norm_plan_of(
    const int64_t* sizes, int64_t bytes, int64_t tensors, int64_t* out, int64_t* tickets) {
  const BatchNormPlan plan = batch_norm_plan({sizes[0], sizes[1], sizes[2], sizes[3] != 0},
                                             static_cast<int>(bytes), static_cast<int>(tensors));
  const int64_t values[] = {
      plan.columns, plan.slices, plan.units,          plan.all_units(),
      plan.lead,    plan.lanes,  int64_t(plan.alone), int64_t(plan.backwards)};
  std::copy(std::begin(values), std::end(values), out);
  for (int64_t i = 0; tickets != nullptr && i < 2 * plan.items(); ++i) {
    const BatchNormItem item = batch_norm_item(plan, i);
    *tickets++ = item.second;
    *tickets++ = item.column;
    *tickets++ = item.slice;
  }
}
