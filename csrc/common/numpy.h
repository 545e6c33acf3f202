// What every numpy.cpp adapter needs: arrays, threads, and a place to add functions to the module.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

#include "common/call.h"
#include "common/parallel.h"
#include "common/sizes.h"

namespace sightline {

namespace py = pybind11;

// A C-contiguous array of exactly T; the Python layer converts.
template <class T>
using Array = py::array_t<T, py::array::c_style>;

int64_t most_threads();

// The ParallelFor of one call, passed as `OwnThreads()`. Its threads live as long: nothing is lost
// in a fork, and several Python threads may call at once.
class OwnThreads {
 public:
  void run(ParallelFor::How how, int64_t n, int64_t grain, Range body);
  bool should_stop() { return call_.should_stop(); }

 private:
  Call call_;
};

// Backstop of memory safety; the public functions check first, with better words.
inline void require(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
}
template <class T>
void check_boxes(const Array<T>& boxes, const char* name) {
  if (boxes.ndim() != 2 || boxes.shape(1) != 4)
    throw std::invalid_argument(std::string(name) + " must have shape [N, 4]");
}

// `const AddToModule add([](py::module_& m) { m.def(...); });` in an op's numpy.cpp.
struct AddToModule {
  explicit AddToModule(void (*add)(py::module_&));
};

}  // namespace sightline
