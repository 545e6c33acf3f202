// Run-length masks, as COCO's files hold them: pixels run down the columns, the first run is
// background, and runs of background and foreground take turns.
//
// Kernels work on toggles: the ascending positions (column * height + row) at which runs of
// foreground begin and end in turn, an even number of them. Two equal ones enclose nothing.
// Polygons are rasterised as pycocotools 2.0.11 does it, bit for bit.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "common/parallel.h"

namespace sightline::evaluation::masks {

enum class MaskKind : uint8_t { kNone = 0, kPolygons = 1, kString = 2, kCounts = 3 };

// N rows that point into tables: row i owns count[i] units of its kind's table, from first[i].
struct MaskColumns {
  const int64_t* size;          // [N, 2] height and width
  const uint8_t* kind;          // [N]
  const int64_t* first;         // [N]
  const int64_t* count;         // [N]
  const int64_t* ring_offsets;  // ring p is coordinates[ring_offsets[p]] to ... [p + 1]
  const double* coordinates;    // x and y in turn
  const uint8_t* strings;
  const uint32_t* counts;
  int64_t num_rows;
};

enum class MaskFault : int {
  kNone = 0,
  kAbsent,      // the row has no mask
  kSize,        // a negative side, or 2^32 pixels and more
  kCharacter,   // a byte outside '0' to 'o'
  kUnfinished,  // the string ends inside a number
  kRun,         // a run that is negative or longer than any mask
  kSum,         // the runs do not add up to the pixels
  kCoordinate,  // not finite, or beyond +-1e8
  kDifferent,   // masks of different sizes where one size is needed
};

// Memory that is written before it is read, and grows without keeping what it held.
template <class T>
class Uninitialised {
 public:
  T* reserve(int64_t size) {
    if (size > size_) {
      size_ = size + size / 2;
      data_ = std::make_unique_for_overwrite<T[]>(size_);
    }
    return data_.get();
  }
  T* data() const { return data_.get(); }

 private:
  std::unique_ptr<T[]> data_;
  int64_t size_ = 0;
};

// Of the rows that cannot be read the first, whichever thread meets it.
class FirstFault {
 public:
  void note(int64_t row, MaskFault fault) {
    const std::lock_guard lock(mutex_);
    if (fault_ == MaskFault::kNone || row < row_) row_ = row, fault_ = fault;
  }
  MaskFault fault() const { return fault_; }
  int64_t row() const { return row_; }

 private:
  std::mutex mutex_;
  int64_t row_ = 0;
  MaskFault fault_ = MaskFault::kNone;
};

// Runs of several masks one after another: mask i is values[offsets[i]] to values[offsets[i + 1]].
template <class T>
struct Runs {
  std::vector<T> values;
  std::vector<int64_t> offsets;  // [N + 1]
};

// Pixels other than 0 are foreground. Strides are in bytes.
Runs<uint32_t> encode_masks_cpu(const uint8_t* pixels, int64_t num_masks, int64_t height,
                                int64_t width, int64_t mask_stride, int64_t row_stride,
                                int64_t column_stride, ParallelFor parallel_for);

// All masks have the size of the first; out is column-major.
void decode_masks_cpu(const MaskColumns& masks, uint8_t* out /* [N, W, H] */, FirstFault& fault,
                      ParallelFor parallel_for);

// Pixels, and the smallest box that holds them (x, y, w, h; all 0 for an empty mask).
void measure_masks_cpu(const MaskColumns& masks, int64_t* area /* [N] */,
                       double* boxes /* [N, 4] */, FirstFault& fault, ParallelFor parallel_for);

// Run lengths: those of a string or a list as they stand, of polygons without empty runs.
Runs<uint32_t> mask_counts_cpu(const MaskColumns& masks, FirstFault& fault,
                               ParallelFor parallel_for);

// Runs as COCO's strings: five bits per character, from the third run on less the run two before.
Runs<uint8_t> compress_counts_cpu(const Runs<uint32_t>& counts, ParallelFor parallel_for);

// Union or intersection of the masks offsets[i] to offsets[i + 1], all of one size, one or more.
Runs<uint32_t> merge_masks_cpu(const MaskColumns& masks, const int64_t* offsets, int64_t num_sets,
                               bool intersect, FirstFault& fault, ParallelFor parallel_for);

// IoU of every detection with every object of its group; over a crowd, the intersection as a share
// of the detection. -1 where sizes differ and the boxes meet. Group s owns dt_rows[dt_offsets[s]]
// to dt_rows[dt_offsets[s + 1]], rows of dt, and so do objects; gt_crowd is by row of gt. Each row
// is read once, and only where its group has detections.
struct MaskOverlapsInput {
  MaskColumns dt, gt;
  const int64_t* dt_rows;
  const int64_t* dt_offsets;  // [S + 1]
  const int64_t* gt_rows;
  const int64_t* gt_offsets;  // [S + 1]
  const bool* gt_crowd;       // [gt.num_rows]
  int64_t num_groups;
};
struct MaskOverlapsOutput {
  double* overlaps;  // [sum of D_s * G_s], by group, rows are detections
  double* dt_area;   // [dt.num_rows] pixels; of rows in a group
  FirstFault* dt_fault;
  FirstFault* gt_fault;
};
void mask_overlaps_cpu(const MaskOverlapsInput& in, const MaskOverlapsOutput& out,
                       ParallelFor parallel_for);

}  // namespace sightline::evaluation::masks
