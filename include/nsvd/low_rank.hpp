// SPDX-License-Identifier: MIT
/// The result of a decomposition: two factors, and what was done to get them.
#pragma once

#include "detail/blas.hpp"
#include "detail/pivoted_qr.hpp"
#include "matrix.hpp"

#include <Eigen/Core>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace nsvd::inline NSVD_ABI {

/// What one stage of a decomposition did.
struct stage_info {
    std::string metric;    ///< name of the metric, or "columns" for an interpolative stage
    std::string solver;    ///< what computed it
    index rank = 0;        ///< directions (or columns) that it gave
    double share = 1.0;    ///< the share of the rank it was to give
    bool columns = false;  ///< interpolative: columns, and coefficients with an identity block
    double seconds = 0.0;  ///< wall time
    bool filler = false;   ///< not asked for: makes up for directions that the stages could not give
    /// Squared error `‖(W − W′) S‖_F²` in the metric of this stage once it was done, and that before it, in
    /// the units of the data: the trace less the eigenvalues taken.
    double loss = 0.0;
    double total = 0.0;  ///< before the stage
    /// Standard error of loss and total, where the trace was estimated from random vectors: for a rank that
    /// is small against a large side, unless `exact` is asked for (`solver/choose.hpp`). 0 elsewhere.
    double loss_error = 0.0;
    /// Estimate of `loss/optimum − 1` for squared errors, the optimum being that of this stage after those
    /// before it: Ritz residuals over their distance to the spectrum beyond (`block_krylov`), and the
    /// rounding of single precision. 0 where the stage was solved in double.
    double gap = 0.0;
    /// Whether a lower bound of the optimum was computed, and the loss is as close to it as the accuracy
    /// asked for.
    bool certified = false;
};

/// What a decomposition did.
struct decomposition_info {
    nsvd::status status = nsvd::status::ok;  ///< the most severe of what was met
    std::string solver;                      ///< of the first stage
    /// Squared singular values of `W S` in the metric `S Sᵀ` of the first stage, descending, in the units of
    /// the data (but for a power of two where those leave the range of double). All min(m, n) up to 512 and
    /// where the rank came from the spectrum; else at least the leading `rank()` of that stage, accurate to
    /// eps·σ₁² of single precision. Empty if the first stage is a column selection.
    Eigen::VectorXd spectrum;
    /// Singular values of `W S` above rounding, in the first stage; those that the solver did not resolve
    /// count. All are resolved up to min(m, n) = 512.
    index numerical_rank = 0;
    double loss = 0.0;               ///< of the first stage
    double gap = 0.0;                ///< the largest of the stages
    bool certified = true;           ///< whether all stages with a metric are
    double seconds = 0.0;            ///< wall time of the whole call
    std::vector<stage_info> stages;  ///< in their order, fillers among them
};

namespace detail {

/// A product with an `X` as the type that the caller gets: for a vector it is one, too.
template <matrix X, class Scalar>
[[nodiscard]] auto product_for(dense_matrix<Scalar>&& y) {
    if constexpr (eigen_matrix<X>) {
        using result = Eigen::Matrix<Scalar, Eigen::Dynamic, X::ColsAtCompileTime == 1 ? 1 : Eigen::Dynamic>;
        return result(std::move(y));
    } else {
        return std::move(y);
    }
}

/// Throws unless an `m×n` matrix can be multiplied by x.
template <class Expression>
void require_operand(const Expression& x, index rows, index cols, const char* where) {
    if (x.rows() != cols)
        throw error(std::string(where) + ": x is " + shape_text(index{x.rows()}, index{x.cols()}) +
                    " but W is " + shape_text(rows, cols));
}

/// Throws on behalf of `where` where W′ has left the range of the scalar that its factors have.
template <class Scalar>
void require_in_range(const dense_matrix<Scalar>& left, const row_major_matrix<Scalar>& right,
                      const std::string& where) {
    if (!std::isfinite(largest_entry<Scalar>(left)) ||
        !std::isfinite(largest_entry<Scalar>(transposed_span(right))))
        throw error(where + ": the factors exceed the range of their scalar; scale W down");
}

}  // namespace detail

/// A rank-k approximation `W′ = left · right` of an `m×n` matrix, with `left` `m×k` and `right` `k×n`.
///
/// From `svd`, `asvd` and `nested`, `W′ = Q Qᵀ W` with `left = Q` orthonormal; with an interpolative stage
/// the columns of `left` that belong to it are columns of a residual, and `right` has an identity block
/// there.
template <factor_scalar Scalar>
struct [[nodiscard]] low_rank {
    /// Scalar of the factors.
    using scalar = Scalar;
    /// Type of `left`.
    using factor = detail::dense_matrix<Scalar>;
    /// Row-major: products with one vector then read both factors along columns of `m` and rows of `n`
    /// numbers, and not along columns of k, which memory delivers more slowly.
    using right_factor = detail::row_major_matrix<Scalar>;

    factor left;                ///< `m×k`
    right_factor right;         ///< `k×n`
    decomposition_info info{};  ///< what was done to get them

    /// m.
    [[nodiscard]] index rows() const noexcept { return left.rows(); }
    /// n.
    [[nodiscard]] index cols() const noexcept { return right.cols(); }
    /// k, the columns of `left`.
    [[nodiscard]] index rank() const noexcept { return left.cols(); }

    /// Numbers that have to be stored: `k(m + n)`, less the `j×j` identity block of an interpolative stage of
    /// rank j.
    [[nodiscard]] index parameters() const noexcept {
        index count = left.size() + right.size();
        for (const stage_info& s : info.stages)
            if (s.columns) count -= s.rank * s.rank;
        return count;
    }

    /// `W′` itself, `m×n`; 2mnk flops.
    [[nodiscard]] factor dense() const {
        check();
        return detail::multiply<Scalar>(left, detail::op::none, detail::transposed_span(right),
                                        detail::op::transpose);
    }

    /// `W′ x` for a vector or an `n×t` matrix of any scalar, in the factors: 2k(m + n)t flops.
    /// x is converted to the scalar of the factors; NaN and Inf in it propagate. Throws `nsvd::error` if x
    /// does not have n rows.
    template <matrix X>
    [[nodiscard]] auto operator*(const X& x) const {
        return detail::product_for<X>(apply(x));
    }

    /// The same decomposition at a smaller rank, without another solve: each stage gives up its last
    /// directions, so that the shares of the stages stay what they are. With one stage that is exactly the
    /// decomposition of rank k. With several it is not as good as a fresh one of rank k, the less so the
    /// smaller the share of the first stage: the later stages were made for the residual of a larger first
    /// one. `info` keeps status, spectrum and seconds of the larger decomposition. Throws `nsvd::error`
    /// unless 1 ≤ k ≤ `rank()`.
    [[nodiscard]] low_rank truncate(index k) const;

private:
    /// Throws unless the factors, and the stages if there are any, belong together.
    void check() const {
        index sum = 0;
        for (const stage_info& s : info.stages)
            sum += s.rank;
        if (right.rows() != rank() || (!info.stages.empty() && sum != rank()))
            throw error(
                "low_rank: left is " + detail::shape_text(index{left.rows()}, index{left.cols()}) +
                ", right " + detail::shape_text(index{right.rows()}, index{right.cols()}) +
                (info.stages.empty() ? std::string() : ", the stages have rank " + std::to_string(sum)));
    }

    template <matrix X>
    [[nodiscard]] factor apply(const X& x) const {
        check();
        return detail::with_expression(x, [this](const auto& expression) {
            detail::require_operand(expression, rows(), cols(), "low_rank * x");
            using detail::op;
            return detail::with_columns<Scalar>(expression, [this](detail::dense_ref<Scalar> columns) {
                return detail::multiply<Scalar>(left, op::none,
                                                detail::multiply<Scalar>(detail::transposed_span(right),
                                                                         op::transpose, columns, op::none),
                                                op::none);
            });
        });
    }
};

namespace detail {

/// Ranks of the stages for a total rank of k. Stage i gives floor(share_i·k + ½), the first at least 1, the
/// last whatever is left.
[[nodiscard]] inline index stage_rank(double share, bool first, bool last, index k, index given) {
    if (last) return k - given;
    // In floating point share·k + ½ loses a rank at times (0.7·45): the share is read as a multiple of 1e-9.
    constexpr std::int64_t unit = 1'000'000'000;
    const index wanted = (std::llround(share * static_cast<double>(unit)) * k + unit / 2) / unit;
    return std::min(k - given, first ? std::max<index>(wanted, 1) : wanted);
}

}  // namespace detail

template <factor_scalar Scalar>
low_rank<Scalar> low_rank<Scalar>::truncate(index k) const {
    check();
    if (k < 1 || k > rank())
        throw error("truncate: k = " + std::to_string(k) + " is outside [1, " + std::to_string(rank()) + "]");
    low_rank result{factor(rows(), k), right_factor(k, cols()), info};
    std::vector<stage_info>& stages = result.info.stages;
    if (stages.empty()) {
        result.left = left.leftCols(k);
        result.right = right.topRows(k);
        return result;
    }
    std::size_t last = stages.size();  // of the caller's stages
    while (last > 0 && stages[last - 1].filler)
        --last;
    index given = 0;
    index missing = 0;  // what a stage could not give: its filler's share
    for (std::size_t i = 0; i < stages.size(); ++i) {
        const index wanted = stages[i].filler
                                 ? (i < last ? missing : k - given)
                                 : detail::stage_rank(stages[i].share, i == 0, i + 1 == last, k, given);
        stages[i].rank = std::min(stages[i].rank, wanted);
        missing = wanted - stages[i].rank;
        given += stages[i].rank;
    }
    // Rounding of the shares can ask a late stage for a direction it does not have: an earlier one keeps it.
    for (std::size_t i = stages.size(); i-- > 0 && given < k;) {
        const index extra = std::min(k - given, info.stages[i].rank - stages[i].rank);
        stages[i].rank += extra;
        given += extra;
    }
    index from = 0;
    index to = 0;
    for (std::size_t i = 0; i < stages.size(); ++i) {
        const index had = info.stages[i].rank;
        const index has = stages[i].rank;
        result.left.middleCols(to, has) = left.middleCols(from, has);
        result.right.middleRows(to, has) = right.middleRows(from, has);
        if (stages[i].columns && has < had && has > 0) {
            // Columns that go are expressed by those that stay: B₂ ≈ B₁ C, so T₁ ← T₁ + C T₂.
            detail::dense_matrix<double> columns = left.middleCols(from, had).template cast<double>();
            detail::normalize(columns);  // C has no units
            const double floor = detail::rounding_floor(columns.rows(), had, columns.norm());
            const detail::pivoted_qr qr(columns, floor, has, has);
            // coefficients() follows the order of the pivots.
            const Eigen::MatrixXd by_pivot = qr.coefficients(has).rightCols(had - has);
            Eigen::MatrixXd c(has, had - has);
            for (index j = 0; j < has; ++j)
                c.row(qr.pivots()[static_cast<std::size_t>(j)]) = by_pivot.row(j);
            const Eigen::MatrixXd dropped = right.middleRows(from + has, had - has).template cast<double>();
            const Eigen::MatrixXd added = detail::multiply(c, detail::op::none, dropped, detail::op::none);
            result.right.middleRows(to, has) += added.template cast<Scalar>();
        }
        from += had;
        to += has;
    }
    return result;
}

/// `auto [left, right] = d`, and of a result `auto [left, right] = svd(…)`, which copies nothing; `const
/// auto&` and `auto&` refer to the factors of d.
template <std::size_t I, factor_scalar Scalar>
[[nodiscard]] const auto& get(const low_rank<Scalar>& d) noexcept {
    if constexpr (I == 0)
        return d.left;
    else
        return d.right;
}
/// The same, to write to.
template <std::size_t I, factor_scalar Scalar>
[[nodiscard]] auto& get(low_rank<Scalar>& d) noexcept {
    if constexpr (I == 0)
        return d.left;
    else
        return d.right;
}
/// The same, moved out.
template <std::size_t I, factor_scalar Scalar>
[[nodiscard]] auto&& get(low_rank<Scalar>&& d) noexcept {
    return std::move(get<I>(d));
}
/// The same of a constant.
template <std::size_t I, factor_scalar Scalar>
[[nodiscard]] const auto&& get(const low_rank<Scalar>&& d) noexcept {
    return std::move(get<I>(d));
}

}  // namespace nsvd::inline NSVD_ABI

template <nsvd::factor_scalar Scalar>
struct std::tuple_size<nsvd::low_rank<Scalar>> : std::integral_constant<std::size_t, 2> {};
template <std::size_t I, nsvd::factor_scalar Scalar>
struct std::tuple_element<I, nsvd::low_rank<Scalar>> {
    using type = std::conditional_t<I == 0, typename nsvd::low_rank<Scalar>::factor,
                                    typename nsvd::low_rank<Scalar>::right_factor>;
};
