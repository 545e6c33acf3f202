#include <algorithm>
#include <cstring>
#include <limits>
#include <mutex>
#include <optional>

#include "evaluation/coco_json/coco_json.h"
#include "evaluation/coco_json/lists.h"
#include "evaluation/coco_json/record.h"
#include "evaluation/coco_json/rows.h"
#include "evaluation/coco_json/scan.h"
#include "evaluation/coco_json/window.h"

namespace sightline::evaluation::coco_json {
namespace {

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

// What is wrong with a file, and where.
struct Failure {
  int64_t offset;
  std::string place, problem;
};

// A piece of the file from an object on that may be a row. Whether it was one is known when the
// document, read from its beginning, arrives exactly there, in its list of rows.
struct Piece {
  explicit Piece(uint32_t wanted) : rows(wanted) {}

  int64_t begin = 0, end = 0;  // offsets of its first object and of the one that follows
  bool ended = false;          // the list ended, and `end` is behind it
  Rows rows;
};

std::string show(const char* p, const Window& window) {
  if (p >= window.end()) return "the end of the file";
  const uint8_t c = uint8_t(*p);
  if (c >= 0x20 && c < 0x7F) return std::string("'") + char(c) + "'";
  constexpr char kHex[] = "0123456789abcdef";
  return std::string("byte 0x") + kHex[c >> 4] + kHex[c & 15];
}

// A file read from its beginning, with stops.
class Document {
 public:
  Document(const Source& source, GroundTruth& truth, bool results)
      : window_(source), p_(window_.begin()), truth_(truth), results_(results) {}

  // Reads on until the end, or until a row begins at or behind `watch`; takes over the pieces at
  // whose beginnings it arrives. Throws Failure.
  void run(int64_t watch, std::vector<Piece>& pieces) {
    try {
      while (state_ != State::kDone && !(state_ == State::kRows && window_.offset(p_) >= watch))
        step(watch, pieces);
    } catch (const Malformed& malformed) {
      throw Failure{
          window_.offset(malformed.at), place(),
          std::string("expected ") + malformed.expected + ", found " + show(malformed.at, window_)};
    } catch (const BadValue& bad) {
      const char* const at = bad.at != nullptr ? bad.at : p_;
      std::string where = place();
      if (bad.field >= 0) where += "." + std::string(field_name(bad.field));
      throw Failure{window_.offset(at), where, bad.problem};
    }
  }

 private:
  enum class State {
    kStart,
    kFirstMember,
    kMember,
    kAfter,
    kImages,
    kCategories,
    kRows,
    kTail,
    kDone
  };

  void step(int64_t watch, std::vector<Piece>& pieces) {
    const auto read = [&](auto step) { p_ = with_more(window_, p_, step); };
    switch (state_) {
      case State::kStart:
        return read([&](const char* p) { return start(p); });
      case State::kFirstMember:
      case State::kMember:
        return read([&](const char* p) { return member(p); });
      case State::kAfter:
        return read([&](const char* p) {
          p = skip_space(p);
          if (*p != ',' && *p != '}') throw Malformed{p, "',' or '}'"};
          state_ = *p == ',' ? State::kMember : State::kTail;
          return p + 1;
        });
      case State::kImages: {
        ImageReader reader(truth_.images, keeps_objects_ ? &window_ : nullptr);
        return read_list(reader, kNever);
      }
      case State::kCategories: {
        CategoryReader reader(truth_.categories);
        return read_list(reader, kNever);
      }
      case State::kRows: {
        while (!pieces.empty() && pieces.front().begin < window_.offset(p_))
          pieces.erase(pieces.begin());
        if (!pieces.empty() && pieces.front().begin == window_.offset(p_)) return take(pieces);
        RowReader reader(truth_.annotations, window_, p_, kNever);
        return read_list(reader, std::min(watch, pieces.empty() ? kNever : pieces.front().begin));
      }
      case State::kTail:
        p_ = skip_space(p_);
        if (p_ < window_.end()) throw Malformed{p_, "the end of the file"};
        if (window_.at_end_of_file()) {
          state_ = State::kDone;
        } else {
          p_ = window_.fill(p_);
        }
        return;
      case State::kDone:
        return;
    }
  }

  void take(std::vector<Piece>& pieces) {
    Piece piece = std::move(pieces.front());
    pieces.erase(pieces.begin());
    if (!append_rows(truth_.annotations, std::move(piece.rows))) return;
    p_ = window_.seek(piece.end);
    if (piece.ended) end_list();
  }

  template <class Reader>
  void read_list(Reader& reader, int64_t watch) {
    if (read_objects(window_, p_, shape_, reader, watch)) end_list();
  }
  void end_list() { state_ = results_ ? State::kTail : State::kAfter; }

  const char* start(const char* p) {
    if (window_.offset(p) == 0) {
      if (std::strncmp(p, "\xFE\xFF", 2) == 0 || std::strncmp(p, "\xFF\xFE", 2) == 0)
        throw BadValue{p, -1, "is UTF-16 or UTF-32; save it as UTF-8"};
      if (std::strncmp(p, "\xEF\xBB\xBF", 3) == 0) p += 3;
    }
    p = skip_space(p);
    if (*p != (results_ ? '[' : '{')) {
      const char* const end = skip_value(p);
      const bool is_container = *p == '[' || *p == '{';
      std::string found = *p == '[' ? "a list" : *p == '{' ? "an object" : std::string(p, end);
      if (!is_container && found.size() > 40) found = "something else";
      throw BadValue{
          p, -1,
          results_ ? "must be a list of detections, got " + found
                   : "must be an object with images, annotations and categories, got " + found};
    }
    p = skip_space(p + 1);
    if (!results_) {
      state_ = State::kFirstMember;
    } else if (*p == ']') {
      state_ = State::kTail;
      ++p;
    } else if (*p == '\0') {
      throw Malformed{p, "an object or ']'"};
    } else {
      state_ = State::kRows;
    }
    return p;
  }

  const char* member(const char* p) {
    p = skip_space(p);
    if (*p == '}' && state_ == State::kFirstMember) {
      state_ = State::kTail;
      return p + 1;
    }
    if (*p != '"') throw Malformed{p, "a key in double quotes"};
    std::string key;
    p = skip_space(read_string(p + 1, &key));
    if (*p != ':') throw Malformed{p, "':'"};
    p = skip_space(p + 1);
    const State section = key == "images"        ? State::kImages
                          : key == "categories"  ? State::kCategories
                          : key == "annotations" ? State::kRows
                                                 : State::kAfter;
    const bool unread = section == State::kCategories && keeps_objects_;
    if (section == State::kAfter || unread) {
      const char* const value = p;
      p = skip_value(p);
      if (unread) {
        truth_.categories_begin = window_.offset(value);
        truth_.categories_end = window_.offset(p);
        truth_.has_categories = true;
      }
      state_ = State::kAfter;
      return p;
    }
    if (*p != '[') {
      skip_value(p);
      throw BadValue{p, -1, "`" + key + "` must be a list of objects"};
    }
    p = skip_space(p + 1);
    if (*p == '\0') throw Malformed{p, "an object or ']'"};
    // Of a key that is there twice the last counts.
    if (section == State::kImages) truth_.images = Images(), truth_.has_images = true;
    if (section == State::kCategories)
      truth_.categories = Categories(), truth_.has_categories = true;
    if (section == State::kRows) {
      truth_.annotations = Rows(truth_.annotations.wanted);
      truth_.has_annotations = true;
    }
    shape_ = Shape();
    state_ = *p == ']' ? State::kAfter : section;
    return p + (*p == ']');
  }

  std::string place() const {
    const auto at = [](const char* list, int64_t i) {
      return std::string(list) + "[" + std::to_string(i) + "]";
    };
    if (state_ == State::kImages) return at("images", truth_.images.size);
    if (state_ == State::kCategories)
      return at("categories", int64_t(truth_.categories.names.size()));
    if (state_ == State::kRows)
      return at(results_ ? "results" : "annotations", truth_.annotations.size);
    return "";
  }
  std::string_view field_name(int field) const {
    return state_ == State::kImages       ? ImageReader::field_name(field)
           : state_ == State::kCategories ? CategoryReader::field_name(field)
                                          : kFieldNames[field];
  }

  Window window_;
  const char* p_;
  GroundTruth& truth_;
  const bool results_;
  const bool keeps_objects_ = (truth_.annotations.wanted >> kObject & 1) != 0;
  State state_ = State::kStart;
  Shape shape_;
};

// The first place in the window from p on that looks like an object after another in a list.
const char* guess_object(const Window& window, const char* p) {
  while (p < window.end()) {
    p = static_cast<const char*>(std::memchr(p, '}', window.end() - p));
    if (p == nullptr) return nullptr;
    const char* const comma = skip_space(p + 1);
    ++p;
    if (*comma != ',') continue;
    const char* const object = skip_space(comma + 1);
    if (*object == '{' && *skip_space(object + 1) == '"') return object;
  }
  return nullptr;
}

// The first object of the first list of annotations between two offsets.
const char* find_annotations(Window& window, int64_t begin, int64_t end) {
  constexpr std::string_view kKey = "\"annotations\"";
  const char* p = window.seek(begin);
  while (window.offset(p) < end) {
    const std::string_view text(p, window.end() - p);
    const size_t at = text.find(kKey);
    if (at != std::string_view::npos) {
      p = skip_space(p + at + kKey.size());
      if (*p == ':') p = skip_space(p + 1);
      if (*p == '[') return skip_space(p + 1);
      continue;
    }
    if (window.at_end_of_file()) break;
    p = window.fill(window.end() - std::min<int64_t>(kKey.size(), text.size()));
  }
  return nullptr;
}

// Reads objects from a guessed place after `begin`, as far as they are rows, up to `end`.
std::optional<Piece> read_piece(const Source& source, int64_t begin, int64_t end, uint32_t wanted,
                                bool results) {
  Window window(source, begin);
  const char* p = guess_object(window, window.begin());
  for (bool searched = results;; searched = true) {
    if (p == nullptr || window.offset(p) >= end) {
      if (searched) return std::nullopt;
      p = find_annotations(window, begin, end);
      continue;
    }
    Piece piece(wanted);
    piece.begin = window.offset(p);
    RowReader reader(piece.rows, window, p, end);
    Shape shape;
    const auto read_until = [&](int64_t watch) {
      try {
        piece.ended = read_objects(window, p, shape, reader, watch);
        return true;
      } catch (const Malformed&) {
        return false;  // the document will say it, if it is so
      } catch (const BadValue&) {
        return false;
      }
    };
    constexpr uint32_t kRow = 1u << kImageId | 1u << kCategoryId;  // images have none of these
    const bool whole = read_until(piece.begin + 1);
    if (!searched && (!whole || (piece.rows.present[0] & kRow) != kRow)) {
      p = find_annotations(window, begin, end);
      continue;
    }
    if (whole && !piece.ended) read_until(end);
    if (piece.rows.size == 0) return std::nullopt;
    piece.end = window.offset(p);
    return piece;
  }
}

[[noreturn]] void report(const Source& source, std::string_view name, const Failure& failure) {
  if (!source.has_places) {
    const std::string place = failure.place.empty() ? "" : failure.place + ": ";
    throw FileError(std::string(name) + ": " + place + failure.problem);
  }
  int64_t line = 1;
  std::vector<char> text(1 << 16);
  for (int64_t at = 0; at < failure.offset;) {
    const int64_t got =
        source.read(at, text.data(), std::min<int64_t>(int64_t(text.size()), failure.offset - at));
    if (got == 0) break;
    line += std::count(text.begin(), text.begin() + got, '\n');
    at += got;
  }
  throw FileError(std::string(name) + ": byte " + std::to_string(failure.offset) + " (line " +
                  std::to_string(line) + ")" + (failure.place.empty() ? "" : ", ") + failure.place +
                  ": " + failure.problem);
}

GroundTruth read_file(Source source, std::string_view name, uint32_t wanted, bool results,
                      ParallelFor parallel_for) {
  source.parallel_for = &parallel_for;
  constexpr int64_t kPage = 4096, kGrain = 256;  // a megabyte a thread at least
  GroundTruth truth{{}, {}, Rows(wanted)};
  Document document(source, truth, results);
  std::mutex mutex;
  std::vector<Piece> pieces, none;
  std::optional<Failure> failure;
  std::exception_ptr error;
  const int64_t pages = std::max<int64_t>(1, (source.size + kPage - 1) / kPage);
  parallel_for.uncut()(pages, kGrain, [&](int64_t begin, int64_t end) {
    const int64_t stop = end == pages ? kNever : end * kPage;
    try {
      if (begin == 0) return document.run(stop, none);
      auto piece = read_piece(source, begin * kPage, stop, wanted, results);
      const std::lock_guard lock(mutex);
      if (piece) pieces.push_back(std::move(*piece));
    } catch (const Failure& said) {
      failure = said;
    } catch (...) {
      const std::lock_guard lock(mutex);
      error = std::current_exception();
    }
  });
  if (error) std::rethrow_exception(error);
  std::sort(pieces.begin(), pieces.end(),
            [](const Piece& a, const Piece& b) { return a.begin < b.begin; });
  try {
    if (failure) throw Failure(*failure);
    document.run(kNever, pieces);
  } catch (const Failure& said) {
    report(source, name, said);
  }
  return truth;
}

}  // namespace

GroundTruth read_ground_truth(const Source& source, std::string_view name, uint32_t wanted,
                              ParallelFor parallel_for) {
  return read_file(source, name, wanted, false, parallel_for);
}

Rows read_results(const Source& source, std::string_view name, uint32_t wanted,
                  ParallelFor parallel_for) {
  return std::move(read_file(source, name, wanted, true, parallel_for).annotations);
}

}  // namespace sightline::evaluation::coco_json
