// The Python interpreter as native code meets it while it works without the GIL: its pending
// signals, and exceptions for it to raise.
#pragma once

#include <cstdint>
#include <exception>

namespace sightline {

// Runs the handlers of signals that are pending, which Python does in its main thread alone. Where
// one raises, as that of Ctrl-C does, what native code must throw for Python to see that exception;
// otherwise null. Takes the GIL where this is the main thread. Null in a process without Python.
std::exception_ptr exception_of_signals();

// Throws what Python sees as the exception that torch raises where it has no memory: on CUDA device
// `cuda_device`, or on the CPU where that is -1. Its message gives the bytes and what they were
// for.
[[noreturn]] void throw_not_allocated(int64_t bytes, const char* what, int32_t cuda_device);

}  // namespace sightline
