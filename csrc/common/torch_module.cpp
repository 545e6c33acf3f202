#include <Python.h>

#include "common/isa.h"
#include "common/torch.h"

// Lives in libtorch_cuda, which a CPU torch does not have: weak, so that one library loads in both.
extern "C" __attribute__((weak)) AOTITorchError aoti_torch_get_current_cuda_stream(int32_t, void**);

namespace sightline {

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
