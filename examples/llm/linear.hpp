// SPDX-License-Identifier: MIT
/// A linear layer, dense or in factors.
#pragma once

#include <nsvd/low_rank.hpp>

#include <Eigen/Core>

#include <cstdint>
#include <utility>
#include <variant>

namespace llm {

/// y = W x with W (m×n) kept as it is or as left·right; factors are never multiplied back.
class linear {
public:
    linear() = default;
    explicit linear(Eigen::MatrixXf dense) : weight_(std::move(dense)) {}
    explicit linear(nsvd::low_rank<float> factors) : weight_(std::move(factors)) {}

    [[nodiscard]] const Eigen::MatrixXf* dense() const { return std::get_if<Eigen::MatrixXf>(&weight_); }
    [[nodiscard]] const nsvd::low_rank<float>* factors() const {
        return std::get_if<nsvd::low_rank<float>>(&weight_);
    }
    /// Gives a dense weight away.
    [[nodiscard]] Eigen::MatrixXf release_dense() && { return std::get<Eigen::MatrixXf>(std::move(weight_)); }
    [[nodiscard]] Eigen::Index rows() const { return dense() ? dense()->rows() : factors()->left.rows(); }
    [[nodiscard]] Eigen::Index cols() const { return dense() ? dense()->cols() : factors()->right.cols(); }
    /// Numbers that have to be stored.
    [[nodiscard]] std::int64_t parameters() const {
        return dense() ? dense()->size() : static_cast<std::int64_t>(factors()->parameters());
    }

    /// W X for X (n×T, a column a token).
    [[nodiscard]] Eigen::MatrixXf apply(const Eigen::MatrixXf& x) const {
        if (dense()) return *dense() * x;
        return *factors() * x;
    }

private:
    std::variant<Eigen::MatrixXf, nsvd::low_rank<float>> weight_;
};

}  // namespace llm
