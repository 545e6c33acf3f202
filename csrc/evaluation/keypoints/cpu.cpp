#include <algorithm>
#include <limits>
#include <vector>

#include "common/isa.h"
#include "common/math.h"
#include "evaluation/keypoints/keypoints.h"

namespace sightline::evaluation::keypoints {
namespace {

constexpr int64_t kTermsPerTask = 1 << 15;  // about 100 us
// numpy.spacing(1), which pycocotools adds to an area that may be 0.
constexpr double kSpacing = std::numeric_limits<double>::epsilon();

// Where the terms and the overlaps of each group begin.
struct Places {
  std::vector<int64_t> terms, cells;  // [S + 1]

  Places(const KeypointGroups& in, const int64_t* counts)
      : terms(in.num_groups + 1, 0), cells(in.num_groups + 1, 0) {
    for (int64_t s = 0; s < in.num_groups; ++s) {
      const int64_t num_dt = in.dt_offsets[s + 1] - in.dt_offsets[s];
      int64_t sum = 0;
      for (int64_t k = in.gt_offsets[s]; k < in.gt_offsets[s + 1]; ++k) sum += counts[k];
      terms[s + 1] = terms[s] + num_dt * sum;
      cells[s + 1] = cells[s] + num_dt * (in.gt_offsets[s + 1] - in.gt_offsets[s]);
    }
  }

  // Threads share the terms evenly, a group to one.
  template <class Body>
  void for_each_group(ParallelFor parallel_for, Body body) const {
    parallel_for(terms.back(), kTermsPerTask, [&](int64_t begin, int64_t end) {
      const auto group_at = [&](int64_t term) {
        return std::lower_bound(terms.begin(), terms.end() - 1, term) - terms.begin();
      };
      body(group_at(begin), group_at(end));
    });
  }
};

// What one object asks of each of its n keypoints.
struct Object {
  std::vector<int64_t> index;      // of the keypoint
  std::vector<double> x, y, vars;  // [n]
  double scale;                    // area and a little
  double x1, y1, x2, y2;           // the box at three times its size, where no keypoint is seen
  bool seen;

  void read(const KeypointGroups& in, const std::vector<double>& all_vars, int64_t row) {
    const int64_t num = in.num_keypoints;
    const double* const points = in.gt_keypoints + 3 * num * row;
    index.clear();
    for (int64_t k = 0; k < num; ++k)
      if (points[3 * k + 2] > 0) index.push_back(k);
    seen = !index.empty();
    if (!seen)
      for (int64_t k = 0; k < num; ++k) index.push_back(k);
    const size_t n = index.size();
    x.resize(n), y.resize(n), vars.resize(n);
    for (size_t i = 0; i < n; ++i) {
      x[i] = points[3 * index[i]];
      y[i] = points[3 * index[i] + 1];
      vars[i] = all_vars[index[i]];
    }
    scale = in.gt_area[row] + kSpacing;
    const double* const box = in.gt_boxes + 4 * row;
    x1 = box[0] - box[2], x2 = box[0] + box[2] * 2;
    y1 = box[1] - box[3], y2 = box[1] + box[3] * 2;
  }
};

SIGHTLINE_INLINE double outside(double low, double value, double high) {
  return larger(0.0, low - value) + larger(0.0, value - high);
}

// Terms of one object with all detections of its group.
struct ObjectTerms {
  SIGHTLINE_INLINE static void run(const KeypointGroups* in, const Object* object,
                                   const int64_t* rows, int64_t num_dt, double* terms) {
    const int64_t n = static_cast<int64_t>(object->index.size());
    const int64_t* const index = object->index.data();
    const double *const x = object->x.data(), *const y = object->y.data();
    const double* const vars = object->vars.data();
    const double scale = object->scale;
    for (int64_t d = 0; d < num_dt; ++d, terms += n) {
      const double* const points = in->dt_keypoints + 3 * in->num_keypoints * rows[d];
      if (object->seen) {
        for (int64_t i = 0; i < n; ++i) {
          const double dx = points[3 * index[i]] - x[i], dy = points[3 * index[i] + 1] - y[i];
          terms[i] = dx * dx + dy * dy;
        }
      } else {
        for (int64_t i = 0; i < n; ++i) {
          const double dx = outside(object->x1, points[3 * i], object->x2);
          const double dy = outside(object->y1, points[3 * i + 1], object->y2);
          terms[i] = dx * dx + dy * dy;
        }
      }
      SIGHTLINE_INDEPENDENT
      for (int64_t i = 0; i < n; ++i) terms[i] = -(terms[i] / vars[i] / scale / 2);
    }
  }
};

// NumPy's pairwise sum: eight running sums up to 128 numbers, halves of whole eights beyond.
double pairwise_sum(const double* values, int64_t n) {
  if (n > 128) {
    const int64_t half = n / 2 - n / 2 % 8;
    return pairwise_sum(values, half) + pairwise_sum(values + half, n - half);
  }
  double sum = 0;
  int64_t i = 0;
  if (n >= 8) {
    double sums[8];
    for (int j = 0; j < 8; ++j) sums[j] = values[j];
    for (i = 8; i + 8 <= n; i += 8)
      for (int j = 0; j < 8; ++j) sums[j] += values[i + j];
    sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
  }
  for (; i < n; ++i) sum += values[i];
  return sum;
}

}  // namespace

int64_t count_keypoint_terms_cpu(const KeypointGroups& in, int64_t* counts) {
  const int64_t num = in.num_keypoints;
  for (int64_t k = 0; k < in.gt_offsets[in.num_groups]; ++k) {
    const double* const points = in.gt_keypoints + 3 * num * in.gt_rows[k];
    int64_t seen = 0;
    for (int64_t i = 0; i < num; ++i) seen += points[3 * i + 2] > 0;
    counts[k] = seen > 0 ? seen : num;
  }
  return Places(in, counts).terms.back();
}

void keypoint_terms_cpu(const KeypointGroups& in, const int64_t* counts, double* terms,
                        ParallelFor parallel_for) {
  std::vector<double> vars(in.num_keypoints);
  for (int64_t k = 0; k < in.num_keypoints; ++k) vars[k] = (in.sigmas[k] * 2) * (in.sigmas[k] * 2);
  const Places places(in, counts);
  places.for_each_group(parallel_for, [&](int64_t begin, int64_t end) {
    Object object;
    for (int64_t s = begin; s < end; ++s) {
      const int64_t num_dt = in.dt_offsets[s + 1] - in.dt_offsets[s];
      double* to = terms + places.terms[s];
      for (int64_t k = in.gt_offsets[s]; num_dt > 0 && k < in.gt_offsets[s + 1]; ++k) {
        parallel_for.throw_if_stopped();
        object.read(in, vars, in.gt_rows[k]);
        run_for_isa<ObjectTerms>(&in, static_cast<const Object*>(&object),
                                 in.dt_rows + in.dt_offsets[s], num_dt, to);
        to += num_dt * counts[k];
      }
    }
  });
}

void keypoint_means_cpu(const KeypointGroups& in, const int64_t* counts, const double* exponentials,
                        double* overlaps, ParallelFor parallel_for) {
  const Places places(in, counts);
  places.for_each_group(parallel_for, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      const int64_t num_dt = in.dt_offsets[s + 1] - in.dt_offsets[s];
      const int64_t first_gt = in.gt_offsets[s], num_gt = in.gt_offsets[s + 1] - first_gt;
      const double* from = exponentials + places.terms[s];
      double* const to = overlaps + places.cells[s];
      for (int64_t g = 0; g < num_gt; ++g) {
        parallel_for.throw_if_stopped();
        const int64_t n = counts[first_gt + g];
        for (int64_t d = 0; d < num_dt; ++d, from += n)
          to[d * num_gt + g] = pairwise_sum(from, n) / static_cast<double>(n);
      }
    }
  });
}

}  // namespace sightline::evaluation::keypoints
