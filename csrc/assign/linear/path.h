// One step of a shortest path, for host and device: what CPU and CUDA must do alike.
#pragma once

#include <cstdint>
#include <limits>

#include "common/macros.h"

namespace sightline::assign::linear {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Cost as the solver takes it: what is not finite cannot be assigned.
template <class T>
SIGHTLINE_HD double usable_cost(T cost) {
  const double c = static_cast<double>(cost);
  return c - c == 0.0 ? c : kInfinity;
}

// Length of the path to a partner through an entering node that lies at `distance`.
SIGHTLINE_HD double path_length(double distance, double cost, double entering_potential,
                                double partner_potential) {
  return distance + cost - entering_potential - partner_potential;
}

// A partner that a path may go to next. The order of candidates is total.
struct Candidate {
  double length = kInfinity;
  int64_t rank =
      std::numeric_limits<int64_t>::max();  // index, plus the number of partners if taken

  SIGHTLINE_HD bool before(const Candidate& other) const {
    return length < other.length || (length == other.length && rank < other.rank);
  }
};

}  // namespace sightline::assign::linear
