// SPDX-License-Identifier: MIT
/// Factors of which every direction has a scale of its own.
#pragma once

#include "../matrix.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

namespace nsvd::inline NSVD_ABI::detail {

/// `L Rᵀ = Σ 2^(e_i) l_i r_iᵀ` with the largest entries of `l_i` and `r_i` in [½, 1). Whatever the scales of
/// the columns of `L` and `R`, and whichever of the two has them, sums of directions stay in range.
class graded_factors {
public:
    graded_factors(Eigen::MatrixXd l, Eigen::MatrixXd r)
        : left_(std::move(l)), right_(std::move(r)), exponents_(static_cast<std::size_t>(left_.cols())) {
        for (index i = 0; i < left_.cols(); ++i) {
            const int e = normalize_column(left_, i) + normalize_column(right_, i);
            const bool vanishes = left_.col(i).isZero(0.0) || right_.col(i).isZero(0.0);
            exponents_[static_cast<std::size_t>(i)] = vanishes ? nothing : e;
            exponent_ = std::max(exponent_, exponents_[static_cast<std::size_t>(i)]);
        }
    }

    /// Columns `l_i`.
    [[nodiscard]] const Eigen::MatrixXd& left() const noexcept { return left_; }
    /// Columns `r_i`.
    [[nodiscard]] const Eigen::MatrixXd& right() const noexcept { return right_; }
    /// The largest e_i; where `L Rᵀ` vanishes, less than that of any number.
    [[nodiscard]] int exponent() const noexcept { return exponent_; }
    /// Columns `2^(e_i − reference) l_i`, for a reference that no e_i exceeds.
    [[nodiscard]] Eigen::MatrixXd graded_left(int reference) const { return graded(left_, reference); }
    /// Columns `2^(e_i − reference) r_i`.
    [[nodiscard]] Eigen::MatrixXd graded_right(int reference) const& { return graded(right_, reference); }
    /// The same without a copy.
    [[nodiscard]] Eigen::MatrixXd graded_right(int reference) && {
        return graded(std::move(right_), reference);
    }

private:
    /// Of a direction without either vector: less than the exponent of any product.
    static constexpr int nothing = 4 * std::numeric_limits<double>::min_exponent;

    static int normalize_column(Eigen::MatrixXd& a, index i) {
        auto column = a.col(i);
        const int e = a.rows() > 0 ? binary_exponent(column.cwiseAbs().maxCoeff()) : 0;
        scale_by_power(column, -e);
        return e;
    }

    [[nodiscard]] Eigen::MatrixXd graded(Eigen::MatrixXd a, int reference) const {
        for (index i = 0; i < a.cols(); ++i) {
            auto column = a.col(i);
            scale_by_power(column, exponents_[static_cast<std::size_t>(i)] - reference);
        }
        return a;
    }

    Eigen::MatrixXd left_, right_;
    std::vector<int> exponents_;
    int exponent_ = nothing;
};

}  // namespace nsvd::inline NSVD_ABI::detail
