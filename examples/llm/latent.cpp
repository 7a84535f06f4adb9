// SPDX-License-Identifier: MIT
#include "latent.hpp"

#include <nsvd/detail/blas.hpp>

#include <algorithm>
#include <cstddef>

namespace llm {
namespace {

using Eigen::Index;
using Eigen::MatrixXf;
using nsvd::detail::op;

const MatrixXf& left_of(const linear& layer) {
    return layer.factors() != nullptr ? layer.factors()->left : layer.pivoted()->left;
}

/// The pivots of a layer that keeps rows.
const std::vector<Index>* kept_rows(const linear& layer) {
    const auto* pivoted = layer.pivoted();
    return pivoted != nullptr && pivoted->kept == nsvd::lines::rows ? &pivoted->indices : nullptr;
}

/// How many of the rows above `row` are kept.
Index kept_above(const linear& layer, Index row) {
    const auto* kept = kept_rows(layer);
    return kept == nullptr ? 0 : std::lower_bound(kept->begin(), kept->end(), row) - kept->begin();
}

}  // namespace

Index latent_size(const linear& layer) {
    if (layer.factors() != nullptr) return layer.factors()->rank();
    return layer.pivoted() != nullptr ? layer.pivoted()->rank() : 0;
}

MatrixXf latents(const linear& layer, const MatrixXf& x) {
    if (const auto* factors = layer.factors())
        return nsvd::detail::multiply<float>(factors->right.transpose(), op::transpose, x, op::none);
    const auto& pivoted = *layer.pivoted();
    if (pivoted.kept == nsvd::lines::rows)
        return nsvd::detail::multiply<float>(pivoted.right.transpose(), op::transpose, x, op::none);
    const auto others = nsvd::detail::complement(pivoted.indices, pivoted.cols());
    const MatrixXf outside = x(others, Eigen::all);
    MatrixXf z = x(pivoted.indices, Eigen::all);
    nsvd::detail::multiply_into<float>(z, pivoted.right.transpose(), op::transpose, outside, op::none,
                                       nsvd::detail::into::add);
    return z;
}

// The rows that are not kept follow each other in `left`, whichever rows are asked for.
latent_rows::latent_rows(const linear& layer, Index first, Index count)
    : left_(left_of(layer).middleRows(first - kept_above(layer, first),
                                      count - (kept_above(layer, first + count) - kept_above(layer, first)))),
      bias_(
          layer.bias().segment(layer.bias().size() == 0 ? 0 : first, layer.bias().size() == 0 ? 0 : count)) {
    const auto* kept = kept_rows(layer);
    if (kept == nullptr) return;
    Index next = kept_above(layer, first);
    for (Index row = 0; row < count; ++row) {
        if (next < static_cast<Index>(kept->size()) && (*kept)[static_cast<std::size_t>(next)] == first + row)
            kept_.emplace_back(row, next++);
        else
            others_.push_back(row);
    }
}

MatrixXf latent_rows::apply(const Eigen::Ref<const MatrixXf>& z) const {
    MatrixXf y = nsvd::detail::multiply<float>(left_, op::none, z, op::none);
    if (!kept_.empty()) {
        MatrixXf all(y.rows() + static_cast<Index>(kept_.size()), z.cols());
        all(others_, Eigen::all) = y;
        for (const auto& [row, latent] : kept_)
            all.row(row) = z.row(latent);
        y = std::move(all);
    }
    if (bias_.size() != 0) y.colwise() += bias_;
    return y;
}

MatrixXf latent_rows::apply_transposed(const Eigen::Ref<const MatrixXf>& y) const {
    if (kept_.empty()) return nsvd::detail::multiply<float>(left_, op::transpose, y, op::none);
    const MatrixXf of_others = y(others_, Eigen::all);
    MatrixXf z = nsvd::detail::multiply<float>(left_, op::transpose, of_others, op::none);
    for (const auto& [row, latent] : kept_)
        z.row(latent) += y.row(row);
    return z;
}

}  // namespace llm
