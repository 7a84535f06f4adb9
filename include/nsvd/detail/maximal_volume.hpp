// SPDX-License-Identifier: MIT
/// Rows of a tall matrix that span the others with small coefficients.
#pragma once

#include "../matrix.hpp"
#include "../progress.hpp"
#include "blas.hpp"
#include "factorizations.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

namespace nsvd::inline NSVD_ABI::detail {

/// `A(rest, :) = B A(I, :)`, both lists of rows ascending.
struct row_basis {
    std::vector<index> rows;       ///< I, k of them
    Eigen::MatrixXd coefficients;  ///< B, `(m−k)×k`
};

/// What of 0 … count − 1 is not in the ascending list.
[[nodiscard]] inline std::vector<index> complement(const std::vector<index>& list, index count) {
    std::vector<index> others;
    others.reserve(static_cast<std::size_t>(count) - list.size());
    auto next = list.begin();
    for (index i = 0; i < count; ++i)
        if (next != list.end() && *next == i)
            ++next;
        else
            others.push_back(i);
    return others;
}

/// k rows of an `m×k` matrix of full rank for which no coefficient exceeds `growth` > 1: column-pivoted QR of
/// `Aᵀ`, whose coefficients are moderate in practice, and then exchanges of a row inside for one outside as
/// long as there is a larger one. Each exchange multiplies the volume `|det A(I, :)|` by more than `growth`,
/// so they end; at `growth` → 1 the volume is locally maximal (Goreinov, Oseledets, Savostyanov, Tyrtyshnikov
/// and Zamarashkin, "How to find a good submatrix", 2010). 2mk² flops, and 2(m−k)k an exchange.
template <class Real = double>
[[nodiscard]] row_basis maximal_volume(dense_ref<Real> a, Real growth, observer* watch = nullptr) {
    const index m = a.rows();
    const index k = a.cols();
    dense_matrix<Real> r = transposed<Real>(a);
    std::vector<index> order = column_pivoted_r<Real>(r);
    const dense_span<Real> triangle(r);
    solve_upper<Real>(triangle.leftCols(k), triangle.rightCols(m - k));
    dense_matrix<Real> b = transposed<Real>(triangle.rightCols(m - k));

    // Rounding of an exchange is that of a product; so many are not to be expected.
    for (index exchanges = 0; b.size() > 0 && exchanges < 10 * m; ++exchanges) {
        if (watch != nullptr) watch->step(0.01, 0.9);
        index i = 0;
        index j = 0;
        if (!(b.cwiseAbs().maxCoeff(&i, &j) > growth)) break;
        const Real pivot = b(i, j);
        const dense_matrix<Real> column = converted<Real, Real>(dense_ref<Real>(b).middleCols(j, 1));
        dense_matrix<Real> row = converted<Real, Real>(dense_ref<Real>(b).middleRows(i, 1));
        row /= pivot;
        row(0, j) = Real(0);
        multiply_into<Real>(b, column, op::none, row, op::none, into::subtract);
        b.row(i) = -row;
        b.col(j) = column / pivot;
        b(i, j) = Real(1) / pivot;
        std::swap(order[static_cast<std::size_t>(j)], order[static_cast<std::size_t>(k + i)]);
    }

    const auto ascending = [&](index first, index count) {
        std::vector<index> positions(static_cast<std::size_t>(count));
        std::iota(positions.begin(), positions.end(), index{0});
        std::sort(positions.begin(), positions.end(), [&](index x, index y) {
            return order[static_cast<std::size_t>(first + x)] < order[static_cast<std::size_t>(first + y)];
        });
        return positions;
    };
    const std::vector<index> inside = ascending(0, k);
    row_basis result;
    for (const index i : inside)
        result.rows.push_back(order[static_cast<std::size_t>(i)]);
    result.coefficients = b(ascending(k, m - k), inside);
    return result;
}

}  // namespace nsvd::inline NSVD_ABI::detail
