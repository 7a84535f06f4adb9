// SPDX-License-Identifier: MIT
/// Pivoted storage: a low-rank matrix by some of its own rows or columns.
#pragma once

#include "detail/blas.hpp"
#include "detail/factorizations.hpp"
#include "detail/graded_factors.hpp"
#include "detail/maximal_volume.hpp"
#include "low_rank.hpp"
#include "matrix.hpp"
#include "progress.hpp"
#include "storage.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace nsvd::inline NSVD_ABI {

/// Which lines of a matrix the others are expressed by.
enum class lines : std::uint8_t { rows, columns };

/// A rank-k matrix `W′` (`m×n`) by k of its own rows or columns and the coefficients of the others (PIFA,
/// 2501.19090): `k(m + n − k)` numbers and k indices, and the same matrix as the `low_rank` it was made of,
/// to rounding.
///
/// - `lines::rows`: `right = W′(I, :)` (`k×n`), and the other rows, in their order, are `left · right` with
///   `left` of `(m−k)×k`.
/// - `lines::columns`: `left = W′(:, I)` (`m×k`), and the other columns are `left · right` with `right` of
///   `k×(n−k)`.
template <factor_scalar Scalar>
struct [[nodiscard]] pivoted_low_rank {
    /// Scalar of the factors.
    using scalar = Scalar;
    /// Type of `left`.
    using factor = detail::dense_matrix<Scalar>;
    /// Type of `right`.
    using right_factor = detail::row_major_matrix<Scalar>;

    lines kept = lines::rows;    ///< which lines the others are expressed by
    std::vector<index> indices;  ///< I, ascending
    factor left;                 ///< `(m−k)×k` or `m×k`
    right_factor right;          ///< `k×n` or `k×(n−k)`
    decomposition_info info{};   ///< of the decomposition it was made of

    /// m.
    [[nodiscard]] index rows() const noexcept { return left.rows() + (kept == lines::rows ? rank() : 0); }
    /// n.
    [[nodiscard]] index cols() const noexcept { return right.cols() + (kept == lines::columns ? rank() : 0); }
    /// k.
    [[nodiscard]] index rank() const noexcept { return left.cols(); }
    /// Numbers that have to be stored, `k(m + n − k)`.
    [[nodiscard]] index parameters() const noexcept { return left.size() + right.size(); }

    /// The largest coefficient in absolute value: at most `pivot_options::growth` where that was reached.
    [[nodiscard]] double growth() const {
        const double largest = kept == lines::rows
                                   ? (left.size() > 0 ? left.cwiseAbs().maxCoeff() : Scalar(0))
                                   : (right.size() > 0 ? right.cwiseAbs().maxCoeff() : Scalar(0));
        return largest;
    }

    /// The two factors `m×k` and `k×n` with the identity block written out. They are not ordered by what they
    /// contribute: `truncate` the decomposition before it is pivoted.
    [[nodiscard]] low_rank<Scalar> plain() const {
        check();
        low_rank<Scalar> d{factor::Zero(rows(), rank()), right_factor::Zero(rank(), cols()), info};
        const std::vector<index> others = rest();
        if (kept == lines::rows) {
            d.right = right;
            for (index i = 0; i < rank(); ++i)
                d.left(at(indices, i), i) = Scalar(1);
            for (index i = 0; i < left.rows(); ++i)
                d.left.row(at(others, i)) = left.row(i);
        } else {
            d.left = left;
            for (index i = 0; i < rank(); ++i)
                d.right(i, at(indices, i)) = Scalar(1);
            for (index j = 0; j < right.cols(); ++j)
                d.right.col(at(others, j)) = right.col(j);
        }
        d.info.stages.clear();  // they were about other factors of the same matrix
        return d;
    }

    /// `W′` itself, `m×n`.
    [[nodiscard]] factor dense() const { return plain().dense(); }

    /// `W′ x` for a vector or an `n×t` matrix of any scalar: 2k(m + n − k)t flops. x is converted to the
    /// scalar of the factors; NaN and Inf in it propagate. Throws `nsvd::error` if x does not have n rows.
    template <matrix X>
    [[nodiscard]] auto operator*(const X& x) const {
        return detail::product_for<X>(apply(x));
    }

private:
    static index at(const std::vector<index>& list, index i) { return list[static_cast<std::size_t>(i)]; }

    /// The lines that are not kept, ascending.
    [[nodiscard]] std::vector<index> rest() const {
        return detail::complement(indices, kept == lines::rows ? rows() : cols());
    }

    void check() const {
        const index lines_there = kept == lines::rows ? rows() : cols();
        bool good = static_cast<index>(indices.size()) == rank() && right.rows() == rank();
        for (std::size_t i = 0; good && i < indices.size(); ++i)
            good = indices[i] >= (i == 0 ? 0 : indices[i - 1] + 1) && indices[i] < lines_there;
        if (!good)
            throw error("pivoted_low_rank: left " +
                        detail::shape_text(index{left.rows()}, index{left.cols()}) + ", right " +
                        detail::shape_text(index{right.rows()}, index{right.cols()}) + " and " +
                        std::to_string(indices.size()) +
                        " indices do not belong together; want ascending indices, one for each rank");
    }

    template <matrix X>
    [[nodiscard]] factor apply(const X& x) const {
        check();
        return detail::with_expression(x, [this](const auto& expression) {
            using detail::op;
            detail::require_operand(expression, rows(), cols(), "pivoted_low_rank * x");
            const Eigen::Ref<const factor, 0, Eigen::OuterStride<>> input =
                expression.template cast<Scalar>();
            const std::vector<index> others = rest();
            if (kept == lines::rows) {
                const factor z = detail::multiply<Scalar>(right.transpose(), op::transpose, input, op::none);
                const factor y = detail::multiply<Scalar>(left, op::none, z, op::none);
                factor result(rows(), input.cols());
                result(indices, Eigen::all) = z;
                result(others, Eigen::all) = y;
                return result;
            }
            const factor outside = input(others, Eigen::all);
            factor z = input(indices, Eigen::all);
            detail::multiply_into<Scalar>(z, right.transpose(), op::transpose, outside, op::none,
                                          detail::into::add);
            return detail::multiply<Scalar>(left, op::none, z, op::none);
        });
    }
};

namespace detail {

/// One way to store a low-rank matrix in pivots, and what rounding its numbers costs.
template <class Scalar>
struct pivoted_candidate {
    row_basis basis;
    Eigen::MatrixXd lines;  ///< the kept rows, or the kept columns transposed
    /// Rounding every stored number by independent relative errors of variance δ² perturbs W′ by this much
    /// in squared norm, in units of δ².
    double rounding = 0.0;

    /// Rows of `a · bᵀ`.
    pivoted_candidate(Eigen::MatrixXd a, const Eigen::MatrixXd& b, double growth, observer& watch) {
        Eigen::MatrixXd orthonormal = a;
        orthonormalize<double>(orthonormal);
        watch.at(0.2);
        basis = maximal_volume(orthonormal, growth, &watch);
        watch.at(0.9);
        const Eigen::MatrixXd selected = a(basis.rows, Eigen::all);
        lines = multiply(selected, op::none, b, op::transpose);
        const Eigen::VectorXd lengths = lines.rowwise().squaredNorm();
        rounding = lengths.sum() + 2.0 * basis.coefficients.colwise().squaredNorm().dot(lengths.transpose());
    }
};

}  // namespace detail

/// Options of `pivot`.
struct pivot_options {
    double growth = 2.0;                    ///< what no coefficient exceeds in absolute value; > 1
    nsvd::progress_callback progress = {};  ///< told how far the call is (progress.hpp)
    nsvd::cancel_token cancel = {};         ///< asked whether it is to stop
};

/// The same matrix in pivoted storage: by rows or by columns, whichever loses less by rounding. `growth` > 1
/// is what no coefficient exceeds in absolute value. In double: about 4(m + n)k² flops and two more for each
/// coefficient an exchange of pivots (detail/maximal_volume.hpp). Throws `nsvd::error` if the factors do not
/// belong together, are not finite, k > min(m, n), W′ exceeds the range of its scalar, or `growth` is not
/// greater than 1; `nsvd::cancelled` where
/// `cancel` asks for it.
template <factor_scalar Scalar>
[[nodiscard]] pivoted_low_rank<Scalar> pivot(const low_rank<Scalar>& d, const pivot_options& options) {
    const double growth = options.growth;
    if (!(growth > 1.0)) throw error("pivot: growth = " + detail::text(growth) + " must be greater than 1");
    if (d.right.rows() != d.rank() || d.rank() < 1 || d.rank() > std::min(d.rows(), d.cols()))
        throw error("pivot: left " + detail::shape_text(index{d.left.rows()}, index{d.left.cols()}) +
                    " and right " + detail::shape_text(index{d.right.rows()}, index{d.right.cols()}) +
                    " are not factors of rank 1 to min(m, n)");
    detail::require_finite(d.left, "pivot: left");
    detail::require_finite(d.right, "pivot: right");
    const detail::graded_factors factors(d.left.template cast<double>(),
                                         d.right.transpose().template cast<double>());
    detail::observer watch(options.progress, options.cancel, "pivot");
    watch.enter("rows", 0.0, 0.5);
    detail::pivoted_candidate<Scalar> rows(factors.left(), factors.graded_right(factors.exponent()), growth,
                                           watch);
    watch.enter("columns", 0.5, 1.0);
    detail::pivoted_candidate<Scalar> columns(factors.right(), factors.graded_left(factors.exponent()),
                                              growth, watch);
    pivoted_low_rank<Scalar> result;
    result.info = d.info;
    const bool by_rows = rows.rounding <= columns.rounding;
    detail::scale_by_power((by_rows ? rows : columns).lines, factors.exponent());
    if (by_rows) {
        result.kept = lines::rows;
        result.indices = rows.basis.rows;
        result.left = rows.basis.coefficients.template cast<Scalar>();
        result.right = rows.lines.template cast<Scalar>();
    } else {
        result.kept = lines::columns;
        result.indices = columns.basis.rows;
        result.left = columns.lines.transpose().template cast<Scalar>();
        result.right = columns.basis.coefficients.transpose().template cast<Scalar>();
    }
    detail::require_in_range(result.left, result.right, "pivot");
    watch.finish();
    return result;
}
/// The same with no other option than `growth`.
template <factor_scalar Scalar>
[[nodiscard]] pivoted_low_rank<Scalar> pivot(const low_rank<Scalar>& d, double growth = 2.0) {
    return pivot(d, pivot_options{.growth = growth});
}

}  // namespace nsvd::inline NSVD_ABI
