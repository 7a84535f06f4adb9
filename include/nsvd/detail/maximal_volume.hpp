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
template <class = void>
[[nodiscard]] row_basis maximal_volume(const Eigen::MatrixXd& a, double growth, observer* watch = nullptr) {
    const index m = a.rows();
    const index k = a.cols();
    Eigen::MatrixXd r = a.transpose();
    std::vector<index> order = column_pivoted_r(r);
    Eigen::MatrixXd solved = r.rightCols(m - k);
    solve_upper(r.leftCols(k), solved);
    Eigen::MatrixXd b = solved.transpose();

    // Rounding of an exchange is that of a product; so many are not to be expected.
    for (index exchanges = 0; b.size() > 0 && exchanges < 10 * m; ++exchanges) {
        if (watch != nullptr) watch->step(0.01, 0.9);
        index i = 0;
        index j = 0;
        if (!(b.cwiseAbs().maxCoeff(&i, &j) > growth)) break;
        const double pivot = b(i, j);
        const Eigen::VectorXd column = b.col(j);
        Eigen::MatrixXd row = b.row(i) / pivot;
        row(0, j) = 0.0;
        multiply_into<double>(b, column, op::none, row, op::none, into::subtract);
        b.row(i) = -row;
        b.col(j) = column / pivot;
        b(i, j) = 1.0 / pivot;
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
