#include "common/numpy.h"

#include "bandwidth/bandwidth.h"

namespace sightline::bandwidth {
namespace {

template <class T>
int64_t check_lines(const Array<T>& array) {
  require(array.size() % 16 == 0 && reinterpret_cast<uintptr_t>(array.data()) % 64 == 0,
          "arrays must be aligned to 64 bytes and hold a multiple of 16 numbers");
  return array.size();
}

const AddToModule add([](py::module_& m) {
  m.def(
      "read_memory",
      [](const Array<uint32_t>& in) {
        const int64_t n = check_lines(in);
        const uint32_t* from = in.data();
        const py::gil_scoped_release release;
        return read_cpu(from, n, OwnThreads());
      },
      py::arg("in").noconvert());
  m.def(
      "fill_memory",
      [](Array<float>& out, float value, bool streaming) {
        const int64_t n = check_lines(out);
        float* to = out.mutable_data();
        const py::gil_scoped_release release;
        fill_cpu(to, n, value, streaming, OwnThreads());
      },
      py::arg("out").noconvert(), py::arg("value"), py::arg("streaming"));
  m.def(
      "copy_memory",
      [](const Array<float>& in, Array<float>& out, bool streaming) {
        const int64_t n = check_lines(out);
        require(check_lines(in) == n, "in and out must be of one size");
        const float* from = in.data();
        float* to = out.mutable_data();
        const py::gil_scoped_release release;
        copy_cpu(from, to, n, streaming, OwnThreads());
      },
      py::arg("in").noconvert(), py::arg("out").noconvert(), py::arg("streaming"));
});

}  // namespace
}  // namespace sightline::bandwidth
