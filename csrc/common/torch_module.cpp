#include <Python.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "common/interpreter.h"
#include "common/torch.h"

// Lives in libtorch_cuda, which a CPU torch does not have: weak, so that one library loads in both.
extern "C" __attribute__((weak)) AOTITorchError aoti_torch_get_current_cuda_stream(int32_t, void**);

namespace sightline {

void TorchThreads::run(ParallelFor::How how, int64_t n, int64_t grain, Range body) {
  if (n <= 0) return;
  if (how.serial || n <= grain) {
    call_.run(0, n, grain, how.uncut, body);
    return call_.rethrow();
  }
  std::atomic<int64_t> left = n;
  torch::stable::parallel_for(0, n, grain, [&](int64_t begin, int64_t end) {
    call_.run(begin, end, grain, how.uncut, body);
    left.fetch_sub(end - begin, std::memory_order_release);
    // The others may have more to do than the calling thread, which alone can look for signals: it
    // waits for them here rather than in torch, spinning at first as torch does.
    if (!call_.on_calling_thread()) return;
    using Clock = std::chrono::steady_clock;
    constexpr std::chrono::microseconds kSpin(1000), kLongest(5000);
    const auto spins_until = Clock::now() + kSpin;
    std::chrono::microseconds pause(50);
    while (left.load(std::memory_order_acquire) > 0) {
      if (Clock::now() < spins_until) {
        std::this_thread::yield();
        continue;
      }
      call_.should_stop();
      std::this_thread::sleep_for(pause);
      pause = std::min(2 * pause, kLongest);
    }
  });
  call_.rethrow();
}

Tensor allocate_strided(const Tensor& like, int64_t dims, const int64_t* sizes,
                        const int64_t* strides, ScalarType dtype, const char* what) {
  using torch::stable::detail::from, torch::stable::detail::to;
  const int32_t type = to<int32_t>(from(dtype));
  int32_t device = 0;
  AtenTensorHandle out;
  if (aoti_torch_get_device_type(like.get(), &device) == 0 &&
      aoti_torch_empty_strided(dims, sizes, strides, type, device, like.get_device_index(), &out) ==
          0)
    return Tensor(out);
  int64_t bytes = int64_t(aoti_torch_dtype_element_size(type));
  for (int64_t d = 0; d < dims; ++d) bytes *= sizes[d];
  throw_not_allocated(bytes, what, like.is_cuda() ? like.get_device_index() : -1);
}

Tensor allocate_contiguous(const Tensor& like, int64_t dims, const int64_t* sizes, ScalarType dtype,
                           const char* what) {
  constexpr int64_t kMostDims = 64;   // of a torch tensor
  constexpr int64_t kMostBytes = 16;  // of an element
  STD_TORCH_CHECK(dims <= kMostDims, "a tensor has at most 64 dimensions");
  int64_t strides[kMostDims], stride = 1;
  for (int64_t d = dims; d-- > 0;) {
    strides[d] = stride;
    stride = checked_product({stride, sizes[d]}, "the elements of a result");
  }
  checked_product({stride, kMostBytes}, "the bytes of a result");
  return allocate_strided(like, dims, sizes, strides, dtype, what);
}

CudaStream current_cuda_stream(int32_t device) {
  CudaStream stream;
  STD_TORCH_CHECK(aoti_torch_get_current_cuda_stream != nullptr,
                  "sightline: this torch has no CUDA");
  STD_TORCH_CHECK(aoti_torch_get_current_cuda_stream(device, &stream.handle) == 0,
                  "sightline: torch gives no current stream");
  return stream;
}

}  // namespace sightline

namespace {

// cuda_architectures: what the CUDA kernels in this file were built for, "" where there are none.
int add_constants(PyObject* module) {
  return PyModule_AddStringConstant(module, "cuda_architectures", SIGHTLINE_CUDA_ARCHITECTURES);
}

}  // namespace

// An importable module, so that editable installs can rebuild on import; the ops register as it
// loads.
extern "C" __attribute__((visibility("default"))) PyObject* PyInit__torch() {
  static PyModuleDef_Slot slots[] = {{Py_mod_exec, reinterpret_cast<void*>(&add_constants)},
                                     {0, nullptr}};
  static PyModuleDef module = {
      PyModuleDef_HEAD_INIT, "_torch", nullptr, 0, nullptr, slots, nullptr, nullptr, nullptr};
  return PyModuleDef_Init(&module);
}
