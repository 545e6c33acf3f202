// The state of a detection evaluator: the rows of all images, in columns that grow.
//
// A detection takes 44 bytes (box 32, score 8, label 4), an object 45 (box 32, area 8, label 4,
// flags 1), an image 32 to 40 (id 8, two offsets 16, its place in the index 8 to 16). Masks add
// COCO's compressed runs, a byte or two each, and 16 bytes per row, and detections with them their
// area; keypoints add 24 bytes each.
//
// Images are appended whole or not at all, in any order, and sorted by id when they are read.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "evaluation/store/column.h"
#include "evaluation/store/strided_array.h"

namespace sightline::evaluation::store {

inline constexpr uint8_t kCrowd = 1, kIgnore = 2;

enum class Shapes : uint8_t { kBoxes, kMasks, kKeypoints };

struct StoreRules {
  Shapes shapes = Shapes::kBoxes;
  int64_t num_keypoints = 0;  // K, of Shapes::kKeypoints
  int64_t num_labels = 0;     // labels are in [0, num_labels)
  bool any_score = false;     // take NaN and infinite scores
};

// Rows of one image as the caller gives them; an absent array is not `present()`.
struct RowsInput {
  StridedArray boxes;  // [N, 4], or of no element
  bool xyxy = false;
  StridedArray labels;         // [N]
  StridedArray scores;         // [N], of detections
  StridedArray area;           // [N]
  StridedArray crowd, ignore;  // [N], of objects
  StridedArray mask_strings;   // uint8, COCO's compressed runs of all rows, contiguous
  StridedArray mask_ends;      // int64 [N], where each row's end, plus mask_base
  int64_t mask_base = 0;
  StridedArray mask_size;      // int32 [N, 2], height and width
  StridedArray keypoints;      // [N, K, 3]
  StridedArray num_keypoints;  // [N], of objects
};

// Rows of all images; columns that the rules do not ask for stay empty.
struct Rows {
  Column<double> boxes;       // [N, 4] xywh
  Column<int32_t> labels;     // [N]
  Column<double> scores;      // [N], of detections
  Column<double> area;        // [N], of objects; of detections that are not boxes
  Column<uint8_t> flags;      // [N], of objects
  Column<int32_t> mask_size;  // [N, 2]
  Column<int64_t> mask_ends;  // [N]
  Column<uint8_t> mask_strings;
  Column<double> keypoints;       // [N, K, 3]
  Column<int32_t> num_keypoints;  // [N], of objects
  Column<int64_t> image_ends;     // [I], at which row each image ends

  int64_t size() const { return labels.size(); }
  int64_t begin(int64_t image) const { return image == 0 ? 0 : image_ends[image - 1]; }
};

// An integer, or text (UTF-8, alive during the call).
struct ImageId {
  bool is_text = false;
  int64_t number = 0;
  std::string_view text;
};

// Ids of all images, all integers or all text, in the order they came.
class ImageIds {
 public:
  int64_t size() const { return is_text_ ? text_ends_.size() : numbers_.size(); }
  bool is_text() const { return is_text_; }
  ImageId operator[](int64_t image) const;
  int64_t find(const ImageId& id) const;  // the image, or -1
  // False where the id is of the other kind or there already.
  bool append(const ImageId& id);
  void truncate(int64_t size);
  bool ascending() const { return first_descent_ < 0; }
  std::vector<int64_t> order() const;  // images by id
  void reorder(const std::vector<int64_t>& order);
  int64_t nbytes() const;
  const Column<int64_t>& numbers() const { return numbers_; }

 private:
  int64_t slot_of(const ImageId& id) const;
  void index_again(int64_t num_slots);

  bool is_text_ = false;
  int64_t first_descent_ = -1;  // the first image whose id is less than that before it
  Column<int64_t> numbers_;     // [I]
  Column<char> text_;
  Column<int64_t> text_ends_;    // [I]
  std::vector<uint32_t> slots_;  // image + 1 by hash, 0: free; probed linearly, at most half full
};

class DetectionStore {
 public:
  explicit DetectionStore(const StoreRules& rules) : rules_(rules) {}

  const StoreRules& rules() const { return rules_; }
  const ImageIds& ids() const { return ids_; }
  const Rows& detections() const { return detections_; }
  const Rows& objects() const { return objects_; }
  int64_t num_images() const { return ids_.size(); }
  int64_t nbytes() const;

  // Appends one image, or nothing and returns false where a rule is broken.
  bool append(const ImageId& id, const RowsInput& detections, const RowsInput& objects);
  // Takes back the images since there were `num_images`.
  void truncate(int64_t num_images);

  // Appends the images of another store that this one lacks, or nothing and returns the first
  // image of `other` whose rows differ from those of the same id here; -1: done.
  // `keep_first`: detections may differ, and those here stay.
  int64_t merge(const DetectionStore& other, bool keep_first);

  void sort_by_id();

 private:
  StoreRules rules_;
  ImageIds ids_;
  Rows detections_, objects_;
};

// The labels that occur, ascending; each row gets the place of its own among them.
std::vector<int64_t> number_labels(const Column<int32_t>& detections,
                                   const Column<int32_t>& objects,
                                   int64_t* detection_classes,  // [D]
                                   int64_t* object_classes);    // [G]

}  // namespace sightline::evaluation::store
