// SPDX-License-Identifier: MIT
/// Layers that share their input, decomposed as one: stacked on their rows they share a right factor.
#pragma once

#include "low_rank.hpp"
#include "matrix.hpp"

#include <Eigen/Core>

#include <cstddef>
#include <ranges>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace nsvd::inline NSVD_ABI {

namespace detail {

template <class R>
concept range_of_matrices =
    !matrix<std::remove_cvref_t<R>> && std::ranges::forward_range<R> && matrix<std::ranges::range_value_t<R>>;

/// Throws unless matrix i of those to stack is not empty and has `cols` columns.
inline void require_stackable(std::size_t i, std::pair<index, index> shape, index cols) {
    const std::string name = "stack_rows: matrix " + std::to_string(i);
    require_nonempty(shape.first, shape.second, name.c_str());
    if (shape.second != cols)
        throw error(name + " is " + shape_text(shape.first, shape.second) + " but the first has " +
                    std::to_string(cols) + " columns");
}

template <class Scalar, matrix W>
void copy_rows(dense_matrix<Scalar>& stacked, index& row, const W& w) {
    with_expression(w, [&](const auto& expression) {
        stacked.middleRows(row, expression.rows()) = expression.template cast<Scalar>();
        row += expression.rows();
    });
}

}  // namespace detail

/// The weights of layers that share their input (q, k, v; gate, up), one on top of the other:
/// `(m₁ + m₂ + …)×n`. A decomposition of it serves all of them with one right factor, and is the best that
/// does: in the metric `I` without data (2402.16319), in that of their common input with `asvd` and `nested`,
/// in the same way since `‖(W − W′) X‖²` is the sum over the layers.
///
/// Layers of neighbouring blocks have inputs of their own; for those pool the calibrations by `merge`, whose
/// Gram matrix is that of `[X₁ X₂]` (Basis Sharing, 2410.03765).
///
/// A rank costs `Σ m_i + n` numbers, and `compression` counts so: for three 4096² at a fraction ρ of the
/// numbers, k = 3072ρ in place of 2048ρ each. Scale layers beforehand if some are to count more. Copies
/// `n Σ m_i` numbers; the scalar is `double` if one of them has it, else `float`. Throws `nsvd::error` if a
/// matrix is empty or the columns differ.
template <matrix First, matrix... Rest>
[[nodiscard]] auto stack_rows(const First& first, const Rest&... rest) {
    using scalar = std::common_type_t<detail::factor_scalar_t<First>, detail::factor_scalar_t<Rest>...>;
    const std::vector<std::pair<index, index>> shapes{detail::extent(first), detail::extent(rest)...};
    index rows = 0;
    for (std::size_t i = 0; i < shapes.size(); ++i) {
        detail::require_stackable(i, shapes[i], shapes[0].second);
        rows += shapes[i].first;
    }
    detail::dense_matrix<scalar> stacked(rows, shapes[0].second);
    index row = 0;
    detail::copy_rows(stacked, row, first);
    (detail::copy_rows(stacked, row, rest), ...);
    return stacked;
}

/// The same for a `std::vector`, `std::span` or other range of matrices of one type. Throws `nsvd::error`
/// also if there are none.
template <detail::range_of_matrices R>
[[nodiscard]] auto stack_rows(const R& matrices) {
    using scalar = detail::factor_scalar_t<std::ranges::range_value_t<R>>;
    if (std::ranges::empty(matrices)) throw error("stack_rows: no matrices");
    const index cols = detail::extent(*std::ranges::begin(matrices)).second;
    index rows = 0;
    std::size_t i = 0;
    for (const auto& w : matrices) {
        detail::require_stackable(i++, detail::extent(w), cols);
        rows += detail::extent(w).first;
    }
    detail::dense_matrix<scalar> stacked(rows, cols);
    index row = 0;
    for (const auto& w : matrices)
        detail::copy_rows(stacked, row, w);
    return stacked;
}

/// The layers of a decomposition of stacked weights: part i has its `heights[i]` rows of `left`, and the
/// whole of `right`, each its own copy. A program that stores them stores `right` once, k(Σ m_i + n) numbers
/// in all; the `parameters()` of the parts count it with each. With `left` split, the columns of a part's are
/// not orthonormal, and its rank may be below k.
///
/// `info` says how the whole was made (status, solver, stages); what it measured of the whole (spectrum,
/// losses, seconds) is left out. Copies `k Σ (m_i + n)` numbers. Throws `nsvd::error` unless the heights are
/// at least 1 and sum to the rows of `joint`.
template <factor_scalar Scalar>
[[nodiscard]] std::vector<low_rank<Scalar>> split_rows(const low_rank<Scalar>& joint,
                                                       std::span<const index> heights) {
    index left = joint.rows();
    for (std::size_t i = 0; i < heights.size(); ++i) {
        const auto name = [&] {
            return "split_rows: heights[" + std::to_string(i) + "] = " + std::to_string(heights[i]);
        };
        if (heights[i] < 1) throw error(name() + " is less than 1");
        if (heights[i] > left)
            throw error(name() + " after " + std::to_string(joint.rows() - left) + " rows of " +
                        std::to_string(joint.rows()) + " is too many");
        left -= heights[i];
    }
    if (left != 0)
        throw error("split_rows: the heights sum to " + std::to_string(joint.rows() - left) +
                    " but there are " + std::to_string(joint.rows()) + " rows");
    decomposition_info info;
    info.status = joint.info.status;
    info.solver = joint.info.solver;
    info.gap = joint.info.gap;
    info.certified = joint.info.certified;
    info.stages = joint.info.stages;
    for (stage_info& s : info.stages)
        s.loss = s.total = s.loss_error = s.seconds = 0.0;
    std::vector<low_rank<Scalar>> parts;
    parts.reserve(heights.size());
    index row = 0;
    for (const index height : heights) {
        parts.push_back({joint.left.middleRows(row, height), joint.right, info});
        row += height;
    }
    return parts;
}

}  // namespace nsvd::inline NSVD_ABI
