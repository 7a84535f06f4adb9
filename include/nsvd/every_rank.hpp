// SPDX-License-Identifier: MIT
/// One decomposition of a layer in a metric, from which every rank and every share can be taken.
#pragma once

#include "decompose.hpp"
#include "detail/blas.hpp"
#include "detail/factorizations.hpp"
#include "low_rank.hpp"
#include "matrix.hpp"
#include "metric.hpp"
#include "metrics.hpp"
#include "rank/fixed_rank.hpp"
#include "rank/policy.hpp"
#include "solver/deflated_eigen.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace nsvd::inline NSVD_ABI {

/// Options of `every_rank`.
struct every_rank_options {
    nsvd::progress_callback progress = {};  ///< told how far the call is (progress.hpp)
    nsvd::cancel_token cancel = {};         ///< asked whether it is to stop
};

/// The decomposition `W = Q R` of all r = min(m, n) directions of `W` (`m×n`) in a metric `M`: `Q` (`m×r`)
/// leads the left singular vectors of `W S`, `S Sᵀ = M`, in descending order, and is filled from the metric
/// `I` beyond the rank of `W S`; `R = Qᵀ W` (`r×n`). Since the best `W′` of rank k is `Q_k Q_kᵀ W`, that is
/// every rank at once, and the second stage of `nested` is an eigenproblem of a trailing block of `R Rᵀ`.
///
/// For programs that try many ranks, shares or inputs on one layer: allocation over layers, the choice of a
/// share on held-out inputs (`held_out_losses`). For one rank, `asvd` is quicker beyond min(m, n) = 512: it
/// works in single precision, whose rounding would hide the small end of the spectrum here.
///
/// With s = min(m, n), l = max(m, n): made in about `l s² + 9 s³` flops in double for a regular `W` and `M`,
/// and what `M` needs of a factor and `W S`, n³/3 + 2mn² (9n³ more where `M` is singular). Memory:
/// `r(m + n)` numbers in the scalar of `W` and r² doubles are kept; about eight `l×s` matrices of doubles
/// while it is made. Nothing refers to `W` or `M` afterwards; all members are safe to call from several
/// threads.
template <factor_scalar Scalar>
class every_rank {
public:
    /// Throws `nsvd::error` as `decompose` does.
    template <matrix W>
    explicit every_rank(const W& w, const metric& m = {}, const every_rank_options& options = {});

    /// min(m, n), the largest rank there is.
    [[nodiscard]] index full_rank() const noexcept { return full_.rank(); }
    /// σ² of `W S`, all min(m, n) of them, descending, in the units of the data; what is rounding is 0. A
    /// view, for rank policies and `layer_profile`.
    [[nodiscard]] nsvd::spectrum spectrum() const noexcept {
        return {.leading = {full_.info.spectrum.data(), static_cast<std::size_t>(full_rank())}};
    }
    /// What was met on the way; its stages are those of full rank.
    [[nodiscard]] const decomposition_info& info() const noexcept { return full_.info; }

    /// The result of `asvd` (`svd` for the metric `I`) at rank k, for the cost of copying it: k(m + n)
    /// numbers. Throws `nsvd::error` unless 1 ≤ k ≤ min(m, n).
    [[nodiscard]] low_rank<Scalar> take(index k) const;

    /// The result of `nested` with `residual::svd` at rank k: `k₁ = max(1, floor(share·k + ½))` directions in
    /// the metric `M`, k − k₁ of what they leave in the metric `I`. With b = r − k₁, about `3b³ + 2b²(k −
    /// k₁)` flops for the eigenproblem and 2(m + n)b(k − k₁) to multiply out; `nb² + 9b³` more where what is
    /// asked for of the residual falls below 1e-8 of its largest σ². Throws `nsvd::error` unless 1 ≤ k ≤
    /// min(m, n) and share is in [0, 1], and where the factors exceed the range of their scalar.
    [[nodiscard]] low_rank<Scalar> take(index k, double share) const;

    /// `Qᵀ W M Wᵀ Q` (`r×r`) for another metric `M`, up to a factor: what `relative_loss` looks at. For the
    /// Gram matrix of other inputs, `gram_metric(held_out)`. 2nr(n + r) flops. Throws `nsvd::error` unless
    /// `M` is `I` or has size n.
    [[nodiscard]] Eigen::MatrixXd seen_in(const metric& other) const;

    /// `tr((W − W′) M (W − W′)ᵀ) / tr(W M Wᵀ)` for the `W′` of `take(k)`, given `seen_in(M)`, without forming
    /// it; r flops. It is the square of `weighted_error`; 0 where both vanish. Infinite where no eigensolver
    /// converged or the trace of `seen` is not finite, for nobody to choose. Throws `nsvd::error` as `take`
    /// does, and if `seen` is not `r×r`.
    [[nodiscard]] double relative_loss(const Eigen::MatrixXd& seen, index k) const;

    /// The same for the `W′` of `take(k, share)`, at the cost of its eigenproblem.
    [[nodiscard]] double relative_loss(const Eigen::MatrixXd& seen, index k, double share) const;

private:
    /// Combinations of the directions after the first few that a stage in the metric `I` takes.
    struct second_stage {
        Eigen::MatrixXd vectors;  ///< orthonormal columns; the first `resolved` are not arbitrary
        index resolved = 0;
        std::string solver;
        bool converged = true;
    };
    [[nodiscard]] second_stage residual_stage(index first, index count) const;
    /// k₁, less what `M` says nothing about: that comes from `I`, as what follows does.
    [[nodiscard]] index first_stage_rank(index k, double share) const {
        return std::min(detail::stage_rank(share, true, false, k, 0), full_.info.stages.front().rank);
    }
    /// `tr(Zᵀ B Z)` for the trailing block `B` of a symmetric matrix, of which the lower triangle is read.
    [[nodiscard]] static double captured(const Eigen::MatrixXd& lower, const Eigen::MatrixXd& z) {
        Eigen::MatrixXd product(z.rows(), z.cols());
        detail::multiply_symmetric_into<double>(product, lower.bottomRightCorner(z.rows(), z.rows()), z);
        return product.cwiseProduct(z).sum();
    }
    [[nodiscard]] static double squared_ratio(double loss, double whole) {
        if (!std::isfinite(whole)) return std::numeric_limits<double>::infinity();
        const double ratio = detail::norm_ratio(loss, whole);
        return ratio * ratio;
    }
    /// `‖W − W′‖²` after the first k directions, in the units of the data.
    [[nodiscard]] double plain_loss(index k) const {
        return in_units(gram_.diagonal().tail(full_rank() - k).sum());
    }
    [[nodiscard]] double in_units(double square) const {
        Eigen::VectorXd one = Eigen::VectorXd::Constant(1, std::max(square, 0.0));
        detail::restore_units(one, exponent_);
        return one(0);
    }
    /// `Rᵀ` in double, `n×r`, divided by a power of two.
    [[nodiscard]] detail::scaled_matrix scaled_right() const {
        detail::scaled_matrix result{full_.right.transpose().template cast<double>()};
        result.exponent = detail::normalize(result.values);
        return result;
    }
    void require_rank(const char* where, index k) const {
        if (k < 1 || k > full_rank())
            throw error("every_rank." + std::string(where) + ": k = " + std::to_string(k) +
                        " is outside [1, " + std::to_string(full_rank()) + "]");
    }
    static void require_share(const char* where, double share) {
        if (!(share >= 0.0 && share <= 1.0))
            throw error("every_rank." + std::string(where) + ": share = " + detail::text(share) +
                        " is outside [0, 1]");
    }
    void require_seen(const Eigen::MatrixXd& seen) const {
        if (seen.rows() != full_rank() || seen.cols() != full_rank())
            throw error("every_rank.relative_loss: seen is " +
                        detail::shape_text(index{seen.rows()}, index{seen.cols()}) + ", not " +
                        detail::shape_text(full_rank(), full_rank()));
    }

    low_rank<Scalar> full_;
    Eigen::MatrixXd gram_;  ///< lower triangle of `R Rᵀ`, divided by 2^(2·exponent)
    int exponent_ = 0;
};

/// The scalar follows from W.
template <matrix W>
every_rank(const W&) -> every_rank<detail::factor_scalar_t<W>>;
/// The scalar follows from W.
template <matrix W>
every_rank(const W&, const metric&, const every_rank_options& = {}) -> every_rank<detail::factor_scalar_t<W>>;

template <factor_scalar Scalar>
template <matrix W>
every_rank<Scalar>::every_rank(const W& w, const metric& m, const every_rank_options& options) {
    const auto [rows, cols] = detail::extent(w);
    const stage only{m, 1.0};
    detail::observer watch(options.progress, options.cancel, "every_rank");
    full_ = detail::decompose(w, {&only, 1}, rank{std::min(rows, cols)},
                              {.progress = watch.part(0.0, 0.95), .cancel = options.cancel}, "every_rank");
    watch.poll();
    const detail::scaled_matrix right = scaled_right();
    exponent_ = right.exponent;
    gram_.setZero(full_rank(), full_rank());
    detail::add_gram_lower<double>(gram_, right.values, detail::op::transpose);
    watch.finish();
}

template <factor_scalar Scalar>
low_rank<Scalar> every_rank<Scalar>::take(index k) const {
    require_rank("take", k);
    low_rank<Scalar> d = full_.truncate(k);
    std::vector<stage_info>& stages = d.info.stages;
    std::erase_if(stages, [](const stage_info& s) { return s.filler && s.rank == 0; });
    const index first = stages.front().rank;
    d.info.loss = stages.front().loss = spectrum().rest_after(static_cast<std::size_t>(first));
    // What fills up is next, in the metric I.
    if (stages.size() > 1 && stages[1].metric != "completion") {
        stages[1].total = plain_loss(first);
        stages[1].loss = plain_loss(first + stages[1].rank);
    }
    return d;
}

/// The leading `count` eigenvectors of the trailing block of `R Rᵀ`: `W − Q₁Q₁ᵀW = Q₂ R₂`, with `Q₂` all
/// directions after the first.
template <factor_scalar Scalar>
auto every_rank<Scalar>::residual_stage(index first, index count) const -> second_stage {
    const index side = full_rank() - first;
    const double floor = detail::rounding_floor(full_.rows(), full_.cols(), std::sqrt(gram_.trace()));
    second_stage found;
    const detail::tridiagonal_eigen<double> eigen(Eigen::MatrixXd(gram_.bottomRightCorner(side, side)));
    // Of one eigenproblem no more than this is accurate, as in deflated_eigen.
    const double least =
        std::max(floor * floor, eigen.values()(0) * std::sqrt(std::numeric_limits<double>::epsilon()));
    if (eigen.converged() && eigen.values()(count - 1) > least) {
        found.vectors = eigen.vectors(count);
        found.resolved = count;
        found.solver = eigen.name();
        return found;
    }
    const detail::deflated_eigen<double> solver(scaled_right().values.rightCols(side).transpose(), floor,
                                                count);
    found.resolved = std::min(count, solver.resolved());
    found.solver = solver.name();
    found.converged = solver.converged();
    found.vectors = Eigen::MatrixXd::Zero(side, count);
    found.vectors.leftCols(found.resolved) = solver.leading(found.resolved);
    if (found.resolved < count) detail::householder_orthonormalize<double>(found.vectors);
    return found;
}

template <factor_scalar Scalar>
low_rank<Scalar> every_rank<Scalar>::take(index k, double share) const {
    using detail::op;
    require_rank("take", k);
    require_share("take", share);
    const index first = first_stage_rank(k, share);
    if (first == k) return take(k);
    const index count = k - first;
    const index side = full_rank() - first;
    const second_stage found = residual_stage(first, count);

    low_rank<Scalar> d{{full_.rows(), k}, {k, full_.cols()}, full_.info};
    d.left.leftCols(first) = full_.left.leftCols(first);
    d.right.topRows(first) = full_.right.topRows(first);
    // In double, as `decompose` does it: products of rounded factors would be orthonormal to no more than
    // several eps. What is orthonormalized is so but for rounding, so that its columns stay what they are.
    Eigen::MatrixXd directions =
        detail::multiply_in_double<Scalar>(full_.left.rightCols(side), op::none, found.vectors);
    detail::project_out_in_double<Scalar>(directions, full_.left.leftCols(first));
    detail::orthonormalize<double>(directions);
    d.left.rightCols(count) = directions.template cast<Scalar>();
    const detail::dense_matrix<Scalar> vectors = found.vectors.template cast<Scalar>();
    detail::multiply_into<Scalar>(d.right.bottomRows(count).transpose(),
                                  full_.right.bottomRows(side).transpose(), op::none, vectors, op::none);

    std::vector<stage_info>& stages = d.info.stages;
    stages.resize(1);
    stages[0].rank = first;
    stages[0].share = share;
    d.info.loss = stages[0].loss = spectrum().rest_after(static_cast<std::size_t>(first));
    stage_info second{.metric = metric().name(),
                      .solver = found.solver,
                      .rank = found.resolved,
                      .share = 1.0 - share,
                      .total = plain_loss(first),
                      .certified = found.converged};
    second.loss = std::max(0.0, second.total - in_units(captured(gram_, found.vectors)));
    stages.push_back(second);
    if (found.resolved < count)
        stages.push_back({.metric = "completion",
                          .solver = "Householder QR",
                          .rank = count - found.resolved,
                          .filler = true});
    if (!found.converged) d.info.status = status::not_converged;
    detail::require_in_range(d.left, d.right, "every_rank.take");
    return d;
}

template <factor_scalar Scalar>
Eigen::MatrixXd every_rank<Scalar>::seen_in(const metric& other) const {
    if (!other.is_identity() && other.size() != full_.cols())
        throw error("every_rank.seen_in: the metric is for " + std::to_string(other.size()) +
                    " features but W has " + std::to_string(full_.cols()) + " columns");
    const Eigen::MatrixXd right = scaled_right().values;
    if (!other.is_identity() && !other.has_matrix()) {
        // S may have scales whose squares M could not hold.
        Eigen::MatrixXd half = other.factor().apply_right(right.transpose());
        detail::normalize(half);
        return detail::multiply(half, detail::op::none, half, detail::op::transpose);
    }
    Eigen::MatrixXd weighted = other.times(right);
    detail::normalize(weighted);
    return detail::multiply(right, detail::op::transpose, weighted, detail::op::none);
}

template <factor_scalar Scalar>
double every_rank<Scalar>::relative_loss(const Eigen::MatrixXd& seen, index k) const {
    require_rank("relative_loss", k);
    require_seen(seen);
    if (full_.info.status == status::not_converged) return std::numeric_limits<double>::infinity();
    return squared_ratio(seen.diagonal().tail(full_rank() - k).sum(), seen.trace());
}

template <factor_scalar Scalar>
double every_rank<Scalar>::relative_loss(const Eigen::MatrixXd& seen, index k, double share) const {
    require_rank("relative_loss", k);
    require_share("relative_loss", share);
    require_seen(seen);
    const index first = first_stage_rank(k, share);
    if (first == k) return relative_loss(seen, k);
    const second_stage second = residual_stage(first, k - first);
    if (full_.info.status == status::not_converged || !second.converged)
        return std::numeric_limits<double>::infinity();
    const double before = seen.diagonal().tail(full_rank() - first).sum();
    return squared_ratio(before - captured(seen, second.vectors), seen.trace());
}

}  // namespace nsvd::inline NSVD_ABI
