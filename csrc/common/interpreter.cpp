#include "common/interpreter.h"

#include <Python.h>
#include <pybind11/detail/common.h>

#include <memory>
#include <string>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__APPLE__)
#include <pthread.h>
#endif

// Weak, as torch ops may be loaded by a process that has no Python.
#pragma weak Py_IsInitialized
#pragma weak PyGILState_Ensure
#pragma weak PyGILState_Release
#pragma weak PyErr_CheckSignals
#pragma weak PyErr_Fetch
#pragma weak PyErr_Restore

namespace sightline {
namespace {

// Python asks the same, but only once it has the GIL, which other threads may hold for long.
bool may_be_main_thread() {
#if defined(__linux__)
  return syscall(SYS_gettid) == getpid();
#elif defined(__APPLE__)
  return pthread_main_np() == 1;
#else
  return true;
#endif
}

class WithGil {
 public:
  WithGil() : state_(PyGILState_Ensure()) {}
  ~WithGil() { PyGILState_Release(state_); }
  WithGil(const WithGil&) = delete;
  WithGil& operator=(const WithGil&) = delete;

 private:
  PyGILState_STATE state_;
};

// A Python exception on its way through native code.
class Raised {
 public:
  Raised() { PyErr_Fetch(&type_, &value_, &traceback_); }
  Raised(const Raised&) = delete;
  Raised& operator=(const Raised&) = delete;
  ~Raised() {
    if (!Py_IsInitialized()) return;
    const WithGil gil;
    Py_XDECREF(type_), Py_XDECREF(value_), Py_XDECREF(traceback_);
  }
  void restore() const {
    Py_XINCREF(type_), Py_XINCREF(value_), Py_XINCREF(traceback_);
    PyErr_Restore(type_, value_, traceback_);
  }

 private:
  PyObject *type_ = nullptr, *value_ = nullptr, *traceback_ = nullptr;
};

// pybind11 asks such an exception to set Python's own, in _numpy as in torch, whose bindings are of
// pybind11, too. To C++ it is a runtime_error.
class StoppedBySignal : public pybind11::builtin_exception {
 public:
  StoppedBySignal()
      : builtin_exception("sightline: stopped by a signal"), raised_(std::make_shared<Raised>()) {}
  void set_error() const override { raised_->restore(); }

 private:
  std::shared_ptr<const Raised> raised_;  // exceptions are copied
};

struct Release {
  void operator()(PyObject* object) const { Py_DECREF(object); }
};
using Owned = std::unique_ptr<PyObject, Release>;

// Not all torch versions tell what went wrong in an allocation that native code asked for. They do
// in Python, where it is asked for again.
class NotAllocated : public pybind11::builtin_exception {
 public:
  NotAllocated(int64_t bytes, const char* what, int32_t cuda_device)
      : builtin_exception("sightline: no " + std::to_string(bytes) + " bytes for " + what),
        bytes_(bytes),
        device_(cuda_device < 0 ? "cpu" : "cuda:" + std::to_string(cuda_device)) {}

  void set_error() const override {
    const Owned torch(PyImport_ImportModule("torch"));
    if (!torch) return;
    const Owned empty(PyObject_GetAttrString(torch.get(), "empty"));
    const Owned bytes(Py_BuildValue("(L)", static_cast<long long>(bytes_)));
    const Owned options(Py_BuildValue("{s:N,s:s}", "dtype",
                                      PyObject_GetAttrString(torch.get(), "uint8"), "device",
                                      device_.c_str()));
    if (!empty || !bytes || !options) return;
    const Owned memory(PyObject_Call(empty.get(), bytes.get(), options.get()));
    if (memory) {  // which has become free meanwhile
      PyErr_SetString(PyExc_RuntimeError, what());
      return;
    }
    PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_Format(type, "%s: %S", what(), value == nullptr ? Py_None : value);
    Py_XDECREF(type), Py_XDECREF(value), Py_XDECREF(traceback);
  }

 private:
  int64_t bytes_;
  std::string device_;
};

}  // namespace

std::exception_ptr exception_of_signals() {
  if (Py_IsInitialized == nullptr || !Py_IsInitialized() || !may_be_main_thread()) return nullptr;
  const WithGil gil;
  if (PyErr_CheckSignals() == 0) return nullptr;
  return std::make_exception_ptr(StoppedBySignal());
}

void throw_not_allocated(int64_t bytes, const char* what, int32_t cuda_device) {
  throw NotAllocated(bytes, what, cuda_device);
}

}  // namespace sightline
