// SPDX-License-Identifier: MIT
#include "cost.hpp"

#include <nsvd/rank/compression.hpp>
#include <nsvd/solver/cost.hpp>

#include <algorithm>
#include <cmath>

namespace llm {

double predicted_flops(const recipe& r, const nsvd::shape& shape, Eigen::Index k) {
    const bool gram = r.how->whitening && *r.how->whitening != nsvd::whitening::diagonal;
    const auto first =
        r.how->residual ? static_cast<Eigen::Index>(std::floor(r.share * static_cast<double>(k) + 0.5)) : k;
    const auto rows = shape.rows, cols = shape.cols;
    double flops = nsvd::predicted_flops(rows, cols, std::min(first, k), gram);
    if (first < k) flops += nsvd::predicted_flops(rows, cols, k - first, false);
    return flops;
}

Eigen::Index rank_by_itself(const recipe& r, const nsvd::shape& shape) {
    return std::max<Eigen::Index>(1,
                                  nsvd::compression{r.compression}.kept(shape) / (shape.rows + shape.cols));
}

std::vector<double> predicted_flops(const recipe& r, const std::vector<unit>& units) {
    std::vector<double> flops;
    for (const auto& u : units)
        flops.push_back(predicted_flops(r, u.shape, rank_by_itself(r, u.shape)));
    return flops;
}

}  // namespace llm
