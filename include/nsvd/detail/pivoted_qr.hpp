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
template <class Real = double>
class pivoted_qr {
    using dense = dense_matrix<Real>;

public:
    /// At most `most` pivots, chosen among the first `candidates` columns (−1: all).
    pivoted_qr(dense a, Real floor, index most, index candidates = -1, observer* watch = nullptr)
        : rest_(std::move(a)) {
        if (candidates < 0) candidates = rest_.cols();
        norms_ = trusted_ = squared_norms_of_columns<Real>(dense_ref<Real>(rest_).leftCols(candidates));
        q_.resize(rest_.rows(), most);
        r_ = zeros<Real>(most, rest_.cols());
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
    [[nodiscard]] vector<Real> energies() const {
        return squared_norms_of_columns<Real>(transposed<Real>(r_));
    }

    /// `T` (`k×n`) for the first k pivots: R₁₁⁻¹ R₁₂ with the identity in the columns of the pivots.
    [[nodiscard]] dense coefficients(index k) const {
        const index independent = std::min(k, steps_);
        const dense_ref<Real> r1 = dense_ref<Real>(r_).topRows(independent);
        dense r11(independent, independent);
        for (index j = 0; j < independent; ++j)
            assign<Real, Real>(dense_span<Real>(r11).middleCols(j, 1), r1.middleCols(pivot(j), 1));
        dense t = zeros<Real>(k, r_.cols());
        const dense_span<Real> all(t);
        assign<Real, Real>(all.topRows(independent), r1);
        solve_upper<Real>(r11, all.topRows(independent));
        for (index j = 0; j < k; ++j) {
            set_constant<Real>(all.middleCols(pivot(j), 1), Real(0));
            t(j, pivot(j)) = Real(1);
        }
        return t;
    }

    /// ‖A − A_J T‖_F² for the first k ≤ steps() pivots.
    [[nodiscard]] Real squared_error(index k) const {
        return squared_norm<Real>(rest_) + squared_norm<Real>(dense_ref<Real>(r_).middleRows(k, steps_ - k));
    }

private:
    [[nodiscard]] index pivot(index j) const { return pivots_[static_cast<std::size_t>(j)]; }

    bool step(Real floor) {
        const dense_span<Real> rest(rest_);
        const dense_span<Real> direction = dense_span<Real>(q_).middleCols(steps_, 1);
        const dense_ref<Real> before = dense_span<Real>(q_).leftCols(steps_);
        index next = 0;
        Real length = 0;
        for (;;) {
            next = std::max_element(norms_.begin(), norms_.end()) - norms_.begin();
            if (norms_.size() == 0 || !(norms_(next) > floor * floor)) return false;
            assign<Real, Real>(direction, rest.middleCols(next, 1));
            project_out<Real>(direction, before);
            length = std::sqrt(squared_norm<Real>(direction));
            if (length > floor) break;
            norms_(next) = 0;  // dependent after all
        }
        const Real inverse = 1 / length;
        assign_scaled<Real, Real>(direction, direction, &inverse);
        const dense row = multiply<Real>(direction, op::transpose, rest, op::none);
        multiply_into<Real>(rest, direction, op::none, row, op::none, into::subtract);
        set_constant<Real>(rest.middleCols(next, 1), Real(0));
        assign<Real, Real>(dense_span<Real>(r_).middleRows(steps_, 1), row);
        for (index j = 0; j < norms_.size(); ++j) {
            norms_(j) = std::max(Real(0), norms_(j) - row(0, j) * row(0, j));
            // Downdating loses all digits once a norm has fallen by √eps: take it afresh.
            if (norms_(j) <= trusted_(j) * std::sqrt(std::numeric_limits<Real>::epsilon()))
                norms_(j) = trusted_(j) = squared_norm_of_column<Real>(rest, j);
        }
        pivots_.push_back(next);
        ++steps_;
        return true;
    }

    dense rest_;
    vector<Real> norms_;    ///< squared norms of the candidate columns of the remainder, downdated
    vector<Real> trusted_;  ///< the same when they were last computed
    dense q_;
    dense r_;  ///< in the original order of columns
    std::vector<index> pivots_;
    index steps_ = 0;
};

}  // namespace nsvd::inline NSVD_ABI::detail
