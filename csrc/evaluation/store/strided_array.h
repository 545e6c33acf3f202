// An array as its owner has it: any number type, any strides.
#pragma once

#include <cstdint>
#include <cstring>

#include "common/half.h"

namespace sightline::evaluation::store {

enum class ElementType : uint8_t {
  kBool,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kUint8,
  kUint16,
  kUint32,
  kUint64,
  kFloat16,
  kFloat32,
  kFloat64,
};

inline bool is_integer(ElementType type) {
  return ElementType::kInt8 <= type && type <= ElementType::kUint64;
}

struct StridedArray {
  static constexpr int kMaxDims = 3;

  const char* data = nullptr;
  ElementType type = ElementType::kFloat64;
  int ndim = -1;  // -1: there is none
  int64_t shape[kMaxDims] = {};
  int64_t strides[kMaxDims] = {};  // in bytes

  bool present() const { return ndim >= 0; }
  int64_t size() const {
    int64_t product = ndim >= 0;
    for (int axis = 0; axis < ndim; ++axis) product *= shape[axis];
    return product;
  }
  bool is_vector(int64_t n) const { return ndim == 1 && shape[0] == n; }
};

// The element as a number; data may lie unaligned.
template <class T>
inline auto load(const char* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  if constexpr (kIsHalf<T>) {
    return widen(value);
  } else {
    return value;
  }
}

// Calls use.template operator()<T>() with the type of the elements.
template <class Use>
decltype(auto) with_element_type(ElementType type, const Use& use) {
  switch (type) {
    case ElementType::kBool:  // one byte, 0 or 1
    case ElementType::kUint8:
      return use.template operator()<uint8_t>();
    case ElementType::kInt8:
      return use.template operator()<int8_t>();
    case ElementType::kInt16:
      return use.template operator()<int16_t>();
    case ElementType::kInt32:
      return use.template operator()<int32_t>();
    case ElementType::kInt64:
      return use.template operator()<int64_t>();
    case ElementType::kUint16:
      return use.template operator()<uint16_t>();
    case ElementType::kUint32:
      return use.template operator()<uint32_t>();
    case ElementType::kUint64:
      return use.template operator()<uint64_t>();
    case ElementType::kFloat16:
      return use.template operator()<Float16>();
    case ElementType::kFloat32:
      return use.template operator()<float>();
    case ElementType::kFloat64:
      break;
  }
  return use.template operator()<double>();
}

}  // namespace sightline::evaluation::store
