#include "common/numpy.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "common/groups_numpy.h"
#include "evaluation/masks/masks.h"

namespace sightline::evaluation::masks {
namespace {

template <class T>
void check_rows(const Array<T>& array, int64_t rows, const char* name) {
  if (array.ndim() != 1 || array.shape(0) != rows)
    throw std::invalid_argument(std::string(name) + " must have one entry per row");
}

// MaskColumns that keep their arrays alive, checked once: no row points out of its table.
class MaskTable {
 public:
  MaskTable(Array<int64_t> size, Array<uint8_t> kind, Array<int64_t> first, Array<int64_t> count,
            Array<int64_t> ring_offsets, Array<double> coordinates, Array<uint8_t> strings,
            Array<uint32_t> counts, std::string name)
      : name_(std::move(name)),
        size_(std::move(size)),
        kind_(std::move(kind)),
        first_(std::move(first)),
        count_(std::move(count)),
        ring_offsets_(std::move(ring_offsets)),
        coordinates_(std::move(coordinates)),
        strings_(std::move(strings)),
        counts_(std::move(counts)) {
    const int64_t n = kind_.size();
    require(size_.ndim() == 2 && size_.shape(0) == n && size_.shape(1) == 2,
            "size must have shape [N, 2]");
    check_rows(kind_, n, "kind");
    check_rows(first_, n, "first");
    check_rows(count_, n, "count");
    require(ring_offsets_.ndim() == 1 && ring_offsets_.size() > 0,
            "ring_offsets must have shape [P + 1]");
    const int64_t* const rings = ring_offsets_.data();
    const int64_t num_rings = ring_offsets_.size() - 1;
    require(rings[0] >= 0 && std::is_sorted(rings, rings + num_rings + 1) &&
                rings[num_rings] <= coordinates_.size(),
            "ring_offsets must ascend within coordinates");
    const int64_t units[4] = {0, num_rings, strings_.size(), counts_.size()};
    for (int64_t i = 0; i < n; ++i) {
      const uint8_t k = kind_.data()[i];
      require(k < 4, "kind must be 0 to 3");
      const int64_t begin = first_.data()[i], number = count_.data()[i];
      require(
          k == 0 || (begin >= 0 && number >= 0 && begin <= units[k] && number <= units[k] - begin),
          "a row points outside its table");
    }
  }

  const std::string& name() const { return name_; }
  int64_t size() const { return kind_.size(); }
  int64_t height() const { return size() > 0 ? size_.data()[0] : 0; }
  int64_t width() const { return size() > 0 ? size_.data()[1] : 0; }
  MaskColumns columns() const {
    return {size_.data(),    kind_.data(),         first_.data(),
            count_.data(),   ring_offsets_.data(), coordinates_.data(),
            strings_.data(), counts_.data(),       size()};
  }

 private:
  std::string name_;  // of what the caller gave
  Array<int64_t> size_;
  Array<uint8_t> kind_;
  Array<int64_t> first_, count_, ring_offsets_;
  Array<double> coordinates_;
  Array<uint8_t> strings_;
  Array<uint32_t> counts_;
};

const char* words_of(MaskFault fault) {
  switch (fault) {
    case MaskFault::kAbsent:
      return "there is none";
    case MaskFault::kSize:
      return "its sides must be at least 0 and its pixels fewer than 2^32";
    case MaskFault::kCharacter:
      return "its counts have a character outside '0' to 'o'";
    case MaskFault::kUnfinished:
      return "its counts end inside a number";
    case MaskFault::kRun:
      return "its counts have a negative run, or one of 2^32 pixels or more";
    case MaskFault::kSum:
      return "its runs do not add up to height * width";
    case MaskFault::kCoordinate:
      return "its polygons have a coordinate that is not finite or lies beyond +-1e8";
    case MaskFault::kDifferent:
      return "its size differs from that of the masks before it";
    case MaskFault::kNone:
      break;
  }
  return "";
}

// A ValueError with the attributes `name`, `row` and `reason`, so that a layer above can say it its
// way.
void raise_fault(const MaskTable& masks, const FirstFault& fault) {
  if (fault.fault() == MaskFault::kNone) return;
  const char* const reason = words_of(fault.fault());
  const py::object error = py::reinterpret_borrow<py::object>(PyExc_ValueError)(
      "`" + masks.name() + "[" + std::to_string(fault.row()) + "]`: " + reason);
  error.attr("name") = masks.name();
  error.attr("row") = fault.row();
  error.attr("reason") = reason;
  PyErr_SetObject(PyExc_ValueError, error.ptr());
  throw py::error_already_set();
}

template <class T>
Array<T> to_array(const std::vector<T>& values) {
  Array<T> out(static_cast<int64_t>(values.size()));
  if (!values.empty()) std::memcpy(out.mutable_data(), values.data(), values.size() * sizeof(T));
  return out;
}
template <class T>
py::tuple to_tuple(const Runs<T>& runs) {
  return py::make_tuple(to_array(runs.values), to_array(runs.offsets));
}
py::tuple runs_or_strings(const Runs<uint32_t>& counts, bool compressed) {
  if (!compressed) return to_tuple(counts);
  Runs<uint8_t> strings;
  {
    const py::gil_scoped_release release;
    strings = compress_counts_cpu(counts, OwnThreads());
  }
  return to_tuple(strings);
}

// [N, H, W] of one byte per pixel, any strides -> strings and their offsets.
py::tuple encode_masks(const py::array& masks, bool compressed) {
  require(masks.ndim() == 3 && masks.itemsize() == 1, "masks must be bytes [N, H, W]");
  const auto* pixels = static_cast<const uint8_t*>(masks.data());
  require(masks.shape(1) == 0 || masks.shape(2) < (int64_t(1) << 32) / masks.shape(1),
          "masks must have fewer than 2^32 pixels");
  Runs<uint32_t> counts;
  {
    const py::gil_scoped_release release;
    counts = encode_masks_cpu(pixels, masks.shape(0), masks.shape(1), masks.shape(2),
                              masks.strides(0), masks.strides(1), masks.strides(2), OwnThreads());
  }
  return runs_or_strings(counts, compressed);
}

// uint8 [N, W, H]
Array<uint8_t> decode_masks(const MaskTable& masks) {
  const MaskColumns columns = masks.columns();
  FirstFault fault;
  const bool sane = masks.height() >= 0 && masks.width() >= 0 &&
                    (masks.height() == 0 || masks.width() < (int64_t(1) << 32) / masks.height());
  if (!sane) fault.note(0, MaskFault::kSize);
  raise_fault(masks, fault);
  Array<uint8_t> out({masks.size(), masks.width(), masks.height()});
  uint8_t* const to = out.mutable_data();
  {
    const py::gil_scoped_release release;
    decode_masks_cpu(columns, to, fault, OwnThreads());
  }
  raise_fault(masks, fault);
  return out;
}

py::tuple measure_masks(const MaskTable& masks) {
  Array<int64_t> area(masks.size());
  Array<double> boxes({masks.size(), int64_t(4)});
  const MaskColumns columns = masks.columns();
  int64_t* const a = area.mutable_data();
  double* const b = boxes.mutable_data();
  FirstFault fault;
  {
    const py::gil_scoped_release release;
    measure_masks_cpu(columns, a, b, fault, OwnThreads());
  }
  raise_fault(masks, fault);
  return py::make_tuple(area, boxes);
}

py::tuple mask_counts(const MaskTable& masks, bool compressed) {
  const MaskColumns columns = masks.columns();
  FirstFault fault;
  Runs<uint32_t> counts;
  {
    const py::gil_scoped_release release;
    counts = mask_counts_cpu(columns, fault, OwnThreads());
  }
  raise_fault(masks, fault);
  return runs_or_strings(counts, compressed);
}

py::tuple merge_masks(const MaskTable& masks, const Array<int64_t>& offsets, bool intersect,
                      bool compressed) {
  const int64_t* const o = offsets.data();
  const int64_t sets = offsets.size() - 1;
  bool some = sets >= 0 && o[0] == 0 && o[sets] == masks.size();
  for (int64_t s = 0; some && s < sets; ++s) some = o[s] < o[s + 1];
  require(some, "offsets must ascend from 0 to N");
  const MaskColumns columns = masks.columns();
  FirstFault fault;
  Runs<uint32_t> counts;
  {
    const py::gil_scoped_release release;
    counts = merge_masks_cpu(columns, o, sets, intersect, fault, OwnThreads());
  }
  raise_fault(masks, fault);
  return runs_or_strings(counts, compressed);
}

// overlaps [sum of D_s * G_s] and the pixels of the detections that are in a group, else 0.
py::tuple mask_overlaps(const MaskTable& dt, const MaskTable& gt, const Array<int64_t>& dt_rows,
                        const Array<int64_t>& dt_offsets, const Array<int64_t>& gt_rows,
                        const Array<int64_t>& gt_offsets, const Array<bool>& gt_crowd) {
  const int64_t groups = dt_offsets.size() - 1;
  require(groups >= 0, "dt_offsets must have shape [S + 1]");
  check_groups(dt_rows, dt_offsets, groups, dt.size());
  check_groups(gt_rows, gt_offsets, groups, gt.size());
  check_rows(gt_crowd, gt.size(), "gt_crowd");
  Array<double> overlaps(count_cells(dt_offsets, gt_offsets)), area(dt.size());
  std::fill_n(area.mutable_data(), dt.size(), 0.0);
  FirstFault dt_fault, gt_fault;
  const MaskOverlapsInput in{.dt = dt.columns(),
                             .gt = gt.columns(),
                             .dt_rows = dt_rows.data(),
                             .dt_offsets = dt_offsets.data(),
                             .gt_rows = gt_rows.data(),
                             .gt_offsets = gt_offsets.data(),
                             .gt_crowd = gt_crowd.data(),
                             .num_groups = groups};
  const MaskOverlapsOutput out{.overlaps = overlaps.mutable_data(),
                               .dt_area = area.mutable_data(),
                               .dt_fault = &dt_fault,
                               .gt_fault = &gt_fault};
  {
    const py::gil_scoped_release release;
    mask_overlaps_cpu(in, out, OwnThreads());
  }
  raise_fault(dt, dt_fault);
  raise_fault(gt, gt_fault);
  return py::make_tuple(overlaps, area);
}

py::arg array(const char* name) { return py::arg(name).noconvert(); }

const AddToModule add([](py::module_& m) {
  py::class_<MaskTable>(m, "MaskTable")
      .def(py::init<Array<int64_t>, Array<uint8_t>, Array<int64_t>, Array<int64_t>, Array<int64_t>,
                    Array<double>, Array<uint8_t>, Array<uint32_t>, std::string>(),
           array("size"), array("kind"), array("first"), array("count"), array("ring_offsets"),
           array("coordinates"), array("strings"), array("counts"), py::arg("name"))
      .def("__len__", &MaskTable::size);
  m.def("encode_masks", &encode_masks, array("masks"), py::arg("compressed"));
  m.def("decode_masks", &decode_masks, py::arg("masks"));
  m.def("measure_masks", &measure_masks, py::arg("masks"));
  m.def("mask_counts", &mask_counts, py::arg("masks"), py::arg("compressed"));
  m.def("merge_masks", &merge_masks, py::arg("masks"), array("offsets"), py::arg("intersect"),
        py::arg("compressed"));
  m.def("mask_overlaps", &mask_overlaps, py::arg("dt"), py::arg("gt"), array("dt_rows"),
        array("dt_offsets"), array("gt_rows"), array("gt_offsets"), array("gt_crowd"));
});

}  // namespace
}  // namespace sightline::evaluation::masks
