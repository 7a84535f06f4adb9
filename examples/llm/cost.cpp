// SPDX-License-Identifier: MIT
#include "cost.hpp"

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

std::vector<double> predicted_flops(const recipe& r, const std::vector<unit>& units) {
    std::vector<double> flops;
    for (const auto& u : units) {
        const double kept = (1 - r.compression) * static_cast<double>(u.shape.rows) *
                            static_cast<double>(u.shape.cols) /
                            static_cast<double>(u.shape.rows + u.shape.cols);
        flops.push_back(
            predicted_flops(r, u.shape, std::max<Eigen::Index>(1, static_cast<Eigen::Index>(kept))));
    }
    return flops;
}

}  // namespace llm
