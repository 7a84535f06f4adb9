// SPDX-License-Identifier: MIT
/// The leading left singular subspace by symmetric eigenproblems of the smaller side, with deflation.
#pragma once

#include "../detail/blas.hpp"
#include "../detail/factorizations.hpp"
#include "../matrix.hpp"
#include "../progress.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>

namespace nsvd::inline NSVD_ABI::detail {

/// Leading left singular vectors and the spectrum of a given `A` (`m×n`), from the Gram matrix of its smaller
/// side, in double. Neither right singular vectors nor an inverse are formed (`m ≤ n`; for `m > n` the
/// smaller side is the right one and its vectors are mapped back by `A`).
///
/// A Gram matrix squares the condition number: with `G = A Aᵀ`, eigenvalues below `eps·λ₁` are rounding, and
/// behind outlier channels that is where most of a spectrum lies. So only eigenpairs above `√eps·λ₁` are
/// accepted from one eigenproblem; what `A` leaves in their complement is solved again on its own scale. Each
/// pass resolves four decades of singular values: ordinary layers need one, channels a million times the rest
/// two. The loss is then within 1e-6 of the optimum as long as the optimum itself is above about 1e-10·σ₁, as
/// by an SVD of `A` in double.
///
/// With s = min(m, n), l = max(m, n): `l s²` flops for `G`, 9s³ for its eigenpairs, and up to twice as much
/// again for each further pass. Memory: `A`, another of its size
/// from the second pass on, and six `s×s` matrices with the workspace of LAPACK.
template <class Real>
class deflated_eigen {
    using dense = dense_matrix<Real>;

public:
    /// Up to this smaller side the whole spectrum is resolved; beyond it, only as far as `wanted` needs.
    static constexpr index resolve_all_up_to = 1024;

    /// Singular values at or below `floor` are rounding and count as 0. At least the leading `wanted`
    /// directions are resolved, as far as they are above the floor.
    deflated_eigen(dense a, Real floor, index wanted, observer* watch = nullptr)
        : a_(std::move(a)), wide_(a_.rows() <= a_.cols()), floor_(floor), watch_(watch) {
        const index side = std::min(a_.rows(), a_.cols());
        complete_ = side == 0;
        spectrum_.setZero(side);
        vectors_.resize(side, side);
        if (side <= resolve_all_up_to) wanted = side;
        dense rest;
        dense complement;
        bool more = resolved_ < wanted && pass(a_, rest, complement, wanted);
        while (more)
            more = pass(dense(std::move(rest)), rest, complement, wanted);
        for (index i = 1; i < side; ++i)
            spectrum_(i) = std::min(spectrum_(i), spectrum_(i - 1));
    }

    /// Squared singular values, descending, all min(m, n) of them; those at the floor are 0.
    [[nodiscard]] const vector<Real>& spectrum() const noexcept { return spectrum_; }
    /// Directions that `leading` can give: all above the floor, or at least the wanted ones.
    [[nodiscard]] index resolved() const noexcept { return resolved_; }
    /// Whether the whole spectrum is resolved: its smallest values are accurate, not only the leading ones.
    [[nodiscard]] bool complete() const noexcept { return complete_; }
    [[nodiscard]] std::string_view name() const noexcept { return name_; }
    [[nodiscard]] bool converged() const noexcept { return converged_; }

    /// An orthonormal basis (`m×k`) of the leading left singular subspace, by descending singular value;
    /// k ≤ `resolved()`.
    [[nodiscard]] dense leading(index k) const {
        const dense_ref<Real> leading = dense_ref<Real>(vectors_).leftCols(k);
        if (wide_) return converted<Real, Real>(leading);
        dense basis = multiply<Real>(a_, op::none, leading, op::none);
        orthonormalize<Real>(basis);
        return basis;
    }

private:
    /// One eigenproblem on `a`, what `A` leaves in the `complement` (empty: everything) of what is resolved.
    /// Returns whether another pass on `rest` could resolve more.
    bool pass(const dense& a, dense& rest, dense& complement, index wanted) {
        const index side = wide_ ? a.rows() : a.cols();
        tell(watch_, 0.1);
        dense gram = zeros<Real>(side, side);
        add_gram_lower<Real>(gram, a, wide_ ? op::none : op::transpose);
        tell(watch_, 0.25);
        symmetric_eigen<Real> eigen = eigen_decompose<Real>(std::move(gram));
        tell(watch_, 0.8);
        name_ = eigen.solver;
        converged_ = converged_ && eigen.converged;

        const Real largest = eigen.values(0);
        const Real least =
            std::max(floor_ * floor_, largest * std::sqrt(std::numeric_limits<Real>::epsilon()));
        const index accepted = converged_ ? std::count_if(eigen.values.begin(), eigen.values.end(),
                                                          [&](Real v) { return v > least; })
                                          : side;
        complete_ = converged_ && (accepted == 0 || accepted == side);
        if (accepted == 0) return false;
        for (index i = 0; i < side; ++i)
            spectrum_(resolved_ + i) = std::max(eigen.values(i), Real(0));

        const auto keep = [&](dense_ref<Real> vectors) {
            return complement.size() == 0 ? converted<Real, Real>(vectors)
                                          : multiply<Real>(complement, op::none, vectors, op::none);
        };
        // Directions near the threshold are off by √eps. Their complement would be too, and leak eps^¾·σ₁ of
        // them into what is left: one power step takes that down to eps·σ₁.
        const bool more = accepted < side && resolved_ + accepted < wanted;
        dense basis = std::move(eigen.vectors);
        const dense_span<Real> taken = dense_span<Real>(basis).leftCols(accepted);
        if (more) {
            const op inner = wide_ ? op::transpose : op::none;
            const op outer = wide_ ? op::none : op::transpose;
            multiply_into<Real>(taken, a, outer, multiply<Real>(a, inner, taken, op::none), op::none);
            orthonormalize<Real>(basis);
        }
        assign<Real, Real>(dense_span<Real>(vectors_).middleCols(resolved_, accepted), keep(taken));
        resolved_ += accepted;
        if (!more) return false;

        const dense_ref<Real> others = dense_span<Real>(basis).rightCols(side - accepted);
        rest = wide_ ? multiply<Real>(others, op::transpose, a, op::none)
                     : multiply<Real>(a, op::none, others, op::none);
        complement = keep(others);
        std::fill(spectrum_.end() - (side - accepted), spectrum_.end(), Real(0));
        return true;
    }

    dense a_;
    bool wide_;
    Real floor_;
    observer* watch_;
    dense vectors_;  ///< of the smaller side, `s×s`; the first `resolved_` columns are set
    vector<Real> spectrum_;
    index resolved_ = 0;
    std::string_view name_;
    bool complete_ = false;
    bool converged_ = true;
};

}  // namespace nsvd::inline NSVD_ABI::detail
