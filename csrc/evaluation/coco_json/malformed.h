#pragma once

#include <string>

namespace sightline::evaluation::coco_json {

// Thrown where text is not JSON: the byte, and what should have stood there. Text is read from a
// window that ends with zeros, which are allowed nowhere: every scan stops there, with this.
struct Malformed {
  const char* at;
  const char* expected;
};

// Thrown where text is JSON and says what it must not: a member of the object that is read,
// negative for the object itself, and a sentence without its subject.
struct BadValue {
  const char* at;
  int field;
  std::string problem;
};

// Bytes past a window's end that may be read: zeros.
inline constexpr int kPadding = 64;

}  // namespace sightline::evaluation::coco_json
