#pragma once

#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace sightline {

// A vector that does not write zeros into elements which will be written anyway.
template <class T>
struct LeaveUninitialized : std::allocator<T> {
  template <class U>
  struct rebind {
    using other = LeaveUninitialized<U>;
  };
  template <class U, class... Args>
  void construct(U* p, Args&&... args) {
    if constexpr (sizeof...(Args) == 0) {
      ::new (static_cast<void*>(p)) U;
    } else {
      ::new (static_cast<void*>(p)) U(std::forward<Args>(args)...);
    }
  }
};
template <class T>
using Column = std::vector<T, LeaveUninitialized<T>>;

}  // namespace sightline
