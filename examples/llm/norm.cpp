// SPDX-License-Identifier: MIT
#include "norm.hpp"

#include <cmath>

namespace llm {

Eigen::MatrixXf norm::apply(const Eigen::MatrixXf& x) const {
    Eigen::MatrixXf result(x.rows(), x.cols());
    const auto n = static_cast<double>(x.rows());
    for (Eigen::Index t = 0; t < x.cols(); ++t) {
        const double mean = kind == norm_kind::layer ? x.col(t).cast<double>().sum() / n : 0;
        const double square = (x.col(t).cast<double>().array() - mean).square().sum() / n;
        result.col(t) =
            (x.col(t).array() - static_cast<float>(mean)) * static_cast<float>(1 / std::sqrt(square + eps));
    }
    if (weight.size() != 0) result.array().colwise() *= weight.array();
    if (bias.size() != 0) result.colwise() += bias;
    return result;
}

}  // namespace llm
