// The part of a file that is in memory while it is read from one end to the other.
#pragma once

#include <cstdint>
#include <memory>

#include "common/parallel.h"
#include "evaluation/coco_json/malformed.h"

namespace sightline::evaluation::coco_json {

// An open file that can be read at any place, or text in memory.
struct Source {
  int descriptor;    // unused where text is not null
  const char* text;  // [size] or null
  int64_t size;
  bool has_places = true;  // whether bytes and lines of it mean something to a reader of errors
  const ParallelFor* parallel_for = nullptr;  // asked before each read whether to go on

  // Copies up to n bytes; how many, fewer only at the end. Throws std::system_error.
  int64_t read(int64_t offset, char* to, int64_t n) const;
};

class Window {
 public:
  explicit Window(const Source& source, int64_t offset = 0) : source_(&source) { seek(offset); }

  const char* begin() const { return buffer_.get(); }
  const char* end() const { return begin() + length_; }  // kPadding zeros follow
  bool at_end_of_file() const { return base_ + length_ >= size_; }
  int64_t source_size() const { return size_; }
  int64_t offset(const char* p) const { return base_ + (p - begin()); }

  // Whether text that is malformed at p may be so only because it is cut off.
  bool may_be_cut(const char* p) const { return !at_end_of_file() && end() - p < kPadding; }

  // Moves on: what is from p on stays, and more follows. Where p is then. Memory is twice the
  // longest text that was kept.
  const char* fill(const char* p);
  // The text from an offset on.
  const char* seek(int64_t offset);

 private:
  static constexpr int64_t kCapacity = int64_t{1} << 18;  // stays in a core's own cache

  const Source* source_;
  std::unique_ptr<char[]> buffer_;
  int64_t capacity_ = 0;
  int64_t base_ = 0;
  int64_t length_ = 0;
  int64_t size_ = source_->size;  // less where the file became shorter
};

// Runs `step(p)`, which reads one thing from p on and gives the place behind it, again with more
// text as long as the window cuts it off.
template <class Step>
const char* with_more(Window& window, const char* p, Step step) {
  for (;;) {
    try {
      return step(p);
    } catch (const Malformed& malformed) {
      if (!window.may_be_cut(malformed.at)) throw;
    }
    p = window.fill(p);
  }
}

}  // namespace sightline::evaluation::coco_json
