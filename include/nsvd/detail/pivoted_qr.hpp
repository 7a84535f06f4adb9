// SPDX-License-Identifier: MIT
/// Column-pivoted QR of low rank, the engine of interpolative decompositions.
#pragma once

#include "../matrix.hpp"
#include "../progress.hpp"
#include "blas.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

namespace nsvd::inline NSVD_ABI::detail {

/// Column-pivoted QR `A P ≈ Q R` of an `m×n` matrix, one column a step, by Gram-Schmidt on the whole
/// remainder with reorthogonalization; stops where no column is left above `floor`. 4mn flops a step: cheaper
/// than a complete factorization as long as the rank is small, and the same steps in every backend (but for
/// ties).
class pivoted_qr {
public:
    /// At most `most` pivots, chosen among the first `candidates` columns (−1: all).
    pivoted_qr(Eigen::MatrixXd a, double floor, index most, index candidates = -1, observer* watch = nullptr)
        : rest_(std::move(a)) {
        if (candidates < 0) candidates = rest_.cols();
        norms_ = trusted_ = rest_.leftCols(candidates).colwise().squaredNorm();
        q_.resize(rest_.rows(), most);
        r_.setZero(most, rest_.cols());
        while (steps_ < most && step(floor))
            tell(watch, 0.95 * static_cast<double>(steps_) / static_cast<double>(most));
        // Where more pivots are asked for than there are independent columns, any others will do.
        std::vector<bool> chosen(static_cast<std::size_t>(candidates));
        for (const index j : pivots_)
            chosen[static_cast<std::size_t>(j)] = true;
        for (index j = 0; static_cast<index>(pivots_.size()) < most; ++j)
            if (!chosen[static_cast<std::size_t>(j)]) pivots_.push_back(j);
    }

    /// The columns in the order of the pivots, independent ones first.
    [[nodiscard]] const std::vector<index>& pivots() const noexcept { return pivots_; }
    /// Independent columns found.
    [[nodiscard]] index steps() const noexcept { return steps_; }
    /// ‖R(i, :)‖², the energy that pivot i takes out of `A`.
    [[nodiscard]] Eigen::VectorXd energies() const { return r_.rowwise().squaredNorm(); }

    /// `T` (`k×n`) for the first k pivots: R₁₁⁻¹ R₁₂ with the identity in the columns of the pivots.
    [[nodiscard]] Eigen::MatrixXd coefficients(index k) const {
        const index independent = std::min(k, steps_);
        Eigen::MatrixXd r11(independent, independent);
        for (index j = 0; j < independent; ++j)
            r11.col(j) = r_.col(pivot(j)).head(independent);
        Eigen::MatrixXd solved = r_.topRows(independent);
        solve_upper(r11, solved);
        Eigen::MatrixXd t = Eigen::MatrixXd::Zero(k, r_.cols());
        t.topRows(independent) = solved;
        for (index j = 0; j < k; ++j) {
            t.col(pivot(j)).setZero();
            t(j, pivot(j)) = 1.0;
        }
        return t;
    }

    /// ‖A − A_J T‖_F² for the first k ≤ steps() pivots.
    [[nodiscard]] double squared_error(index k) const {
        return rest_.squaredNorm() + r_.middleRows(k, steps_ - k).squaredNorm();
    }

private:
    [[nodiscard]] index pivot(index j) const { return pivots_[static_cast<std::size_t>(j)]; }

    bool step(double floor) {
        index next = 0;
        Eigen::MatrixXd direction;
        double length = 0.0;
        for (;;) {
            if (!(norms_.maxCoeff(&next) > floor * floor)) return false;
            direction = rest_.col(next);
            project_out(direction, q_.leftCols(steps_));
            length = direction.norm();
            if (length > floor) break;
            norms_(next) = 0.0;  // dependent after all
        }
        direction /= length;
        q_.col(steps_) = direction;
        const Eigen::MatrixXd row = multiply(direction, op::transpose, rest_, op::none);
        multiply_into<double>(rest_, direction, op::none, row, op::none, into::subtract);
        rest_.col(next).setZero();
        r_.row(steps_) = row;
        for (index j = 0; j < norms_.size(); ++j) {
            norms_(j) = std::max(0.0, norms_(j) - row(0, j) * row(0, j));
            // Downdating loses all digits once a norm has fallen by √eps: take it afresh.
            if (norms_(j) <= trusted_(j) * std::sqrt(std::numeric_limits<double>::epsilon()))
                norms_(j) = trusted_(j) = rest_.col(j).squaredNorm();
        }
        pivots_.push_back(next);
        ++steps_;
        return true;
    }

    Eigen::MatrixXd rest_;
    Eigen::RowVectorXd norms_;    ///< squared norms of the candidate columns of the remainder, downdated
    Eigen::RowVectorXd trusted_;  ///< the same when they were last computed
    Eigen::MatrixXd q_;
    Eigen::MatrixXd r_;  ///< in the original order of columns
    std::vector<index> pivots_;
    index steps_ = 0;
};

}  // namespace nsvd::inline NSVD_ABI::detail
