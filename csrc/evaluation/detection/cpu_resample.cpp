#include <algorithm>
#include <numeric>

#include "evaluation/detection/curve.h"

namespace sightline::evaluation::detection {
namespace {

// What a class, area range and cap hold that no weight changes.
struct Cell {
  bool averaged;  // precision is asked for, not recall alone
  Column<CurveEvent> events;
  std::vector<int32_t> event_images;  // [events]
  std::vector<int32_t> alike_images;  // [false positives alike]
};

// Sums over the thresholds of one cell in one replicate.
struct CellResult {
  double precision[kMaxThresholds], recall[kMaxThresholds];
};

std::vector<uint8_t> wanted_cells(const ResampleInput& in) {
  const MaskAccumulateInput& ev = in.evaluation;
  std::vector<uint8_t> wanted(ev.num_areas * ev.num_caps);
  for (const Stat& stat : in.stats)
    wanted[stat.area * ev.num_caps + stat.cap] |= stat.recall ? 1 : 2;
  wanted[ev.num_caps - 1] |= 2;  // for class_ap
  return wanted;
}

double mean(const double* values, int64_t first, int64_t last) {
  return std::accumulate(values + first, values + last, 0.0) / static_cast<double>(last - first);
}

// One replicate at a time; vectors keep their memory from one to the next.
class Resampler {
 public:
  Resampler(const ResampleInput& in, const std::vector<Cell>& cells,
            const std::vector<uint8_t>& wanted)
      : in_(in),
        ev_(in.evaluation),
        cells_(cells),
        wanted_(wanted),
        curves_(ev_.num_thresholds, ev_.num_recalls),
        results_(wanted.size()),
        positives_(ev_.num_areas),
        objects_(ev_.num_areas),
        sums_(in.stats.size()),
        classes_(in.stats.size()) {}

  void resample(const uint16_t* weights, double* stats, double* class_ap) {
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    std::fill(sums_.begin(), sums_.end(), 0.0);
    std::fill(classes_.begin(), classes_.end(), int64_t(0));
    for (int64_t k = 0; k < ev_.num_classes; ++k) {
      count_objects(k, weights);
      for (int64_t a = 0; a < ev_.num_areas; ++a) evaluate(k, a, weights);
      for (size_t j = 0; j < in_.stats.size(); ++j) {
        const Stat& stat = in_.stats[j];
        if (positives_[stat.area] == 0) continue;
        const CellResult& result = results_[stat.area * ev_.num_caps + stat.cap];
        sums_[j] += mean(stat.recall ? result.recall : result.precision, stat.first, stat.last);
        ++classes_[j];
      }
      class_ap[k] = positives_[0] == 0
                        ? kNone
                        : mean(results_[ev_.num_caps - 1].precision, 0, ev_.num_thresholds);
    }
    for (size_t j = 0; j < in_.stats.size(); ++j)
      stats[j] = classes_[j] == 0 ? kNone : sums_[j] / static_cast<double>(classes_[j]);
  }

 private:
  void count_objects(int64_t k, const uint16_t* weights) {
    std::fill(positives_.begin(), positives_.end(), int64_t(0));
    std::fill(objects_.begin(), objects_.end(), int64_t(0));
    for (int64_t g = in_.gt_offsets[k]; g < in_.gt_offsets[k + 1]; ++g) {
      for (int64_t a = 0; a < ev_.num_areas; ++a) {
        const int64_t counted = in_.gt_counted[g] >> a & 1;
        positives_[a] += counted * weights[in_.gt_images[g]];
        objects_[a] += counted;
      }
    }
  }

  void evaluate(int64_t k, int64_t a, const uint16_t* weights) {
    if (positives_[a] == 0) return;
    curves_.set_positives(ev_.recall_thresholds, positives_[a]);
    for (int64_t m = 0; m < ev_.num_caps; ++m) {
      const int64_t cell_index = a * ev_.num_caps + m;
      if (wanted_[cell_index] == 0) continue;
      const Cell& cell = cells_[k * wanted_.size() + cell_index];
      int32_t alike = 0, counted = 0;
      curves_.count(
          cell.events, ev_.max_detections[m], objects_[a],
          [&](size_t e) -> int32_t { return weights[cell.event_images[e]]; },
          [&](size_t e) {
            if (cell.averaged)
              for (; counted < cell.events[e].alike[0]; ++counted)
                alike += weights[cell.alike_images[counted]];
            return alike;
          });
      CellResult& result = results_[cell_index];
      for (int64_t t = 0; t < ev_.num_thresholds; ++t) {
        result.recall[t] = curves_.final_recall(t);
        double sum = 0;
        // without a detection the envelope is 0, so that recall 0 may always be reached
        if (cell.averaged)
          curves_.samples(t, 0, [&](int64_t, double value, int64_t) { sum += value; });
        result.precision[t] = sum / static_cast<double>(ev_.num_recalls);
      }
    }
  }

  const ResampleInput& in_;
  const MaskAccumulateInput& ev_;
  const std::vector<Cell>& cells_;
  const std::vector<uint8_t>& wanted_;
  Curves curves_;
  std::vector<CellResult> results_;           // [A, M] of a class
  std::vector<int64_t> positives_, objects_;  // [A] weighted, and not
  std::vector<double> sums_;                  // [stats]
  std::vector<int64_t> classes_;              // [stats]
};

}  // namespace

void resample_stats_cpu(const ResampleInput& in, const ResampleOutput& out,
                        ParallelFor parallel_for) {
  const MaskAccumulateInput& ev = in.evaluation;
  const std::vector<uint8_t> wanted = wanted_cells(in);
  const int64_t num_cells = wanted.size();
  std::vector<Cell> cells(ev.num_classes * num_cells);
  dynamic_for(parallel_for, cells.size(), [&](int64_t i) {
    const int64_t k = i / num_cells, cell_index = i % num_cells;
    if (wanted[cell_index] == 0) return;
    Cell& cell = cells[i];
    cell.averaged = wanted[cell_index] & 2;
    const int64_t a = cell_index / ev.num_caps, cap = ev.max_detections[cell_index % ev.num_caps];
    const int64_t begin = ev.class_offsets[k], end = ev.class_offsets[k + 1];
    const auto lane = static_cast<int32_t>(std::min<int64_t>(cap, INT32_MAX));
    collect_events(ev, begin, end, a, {lane}, &cell.events);
    std::erase_if(cell.events, [=](const CurveEvent& event) { return event.rank >= cap; });
    for (const CurveEvent& event : cell.events)
      cell.event_images.push_back(in.class_images[event.place]);
    if (!cell.averaged) return;
    for (int64_t place = begin; place < end; ++place) {
      const auto [hit, ignored] = ev.outcome[place * ev.num_areas + a];
      if (hit == 0 && ignored == 0 && ev.class_ranks[place] < cap)
        cell.alike_images.push_back(in.class_images[place]);
    }
  });
  const int64_t num_stats = in.stats.size();
  parallel_for(in.num_replicates, 1, [&](int64_t begin, int64_t end) {
    Resampler resampler(in, cells, wanted);
    for (int64_t b = begin; b < end; ++b)
      resampler.resample(in.weights + b * in.num_images, out.stats + b * num_stats,
                         out.class_ap + b * ev.num_classes);
  });
}

}  // namespace sightline::evaluation::detection
