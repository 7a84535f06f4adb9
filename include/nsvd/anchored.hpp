// SPDX-License-Identifier: MIT
/// Anchored regression: compression of a layer that sees other inputs than it was made for.
#pragma once

#include "decompose.hpp"
#include "nested.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <span>
#include <string>
#include <utility>

namespace nsvd::inline NSVD_ABI {

/// Options of `anchored`.
struct anchored_options {
    double epsilon = 0.03;  ///< weight of ‖W − W′‖², in units of tr(B Bᵀ)/n, ≥ 0
    double share = 1.0;  ///< of the stage in the metric B Bᵀ + εI, in [0, 1]; the rest goes to the residual
    /// `central` where the bias is corrected as well (`bias_correction`); needs a calibration of such moments
    nsvd::moments moments = nsvd::moments::raw;
    /// `Σ w e bᵀ` (`m×n`) of an error e in the output that W′ is to make up for, with the same tokens and
    /// weights as the calibration and about what `moments` says; nullptr: none. Not owned.
    const Eigen::MatrixXd* output_error = nullptr;
    nsvd::residual residual = nsvd::residual::svd;       ///< what the rest of the rank does
    nsvd::accuracy accuracy = nsvd::accuracy::balanced;  ///< how close to the optimum each stage must be
    nsvd::workspace* workspace = nullptr;                ///< memory to reuse; not owned
    nsvd::progress_callback progress = {};               ///< told how far the call is (progress.hpp)
    nsvd::cancel_token cancel = {};                      ///< asked whether it is to stop
};

namespace detail {

/// `Y M⁺` (`m×n`) of least norm for `Y` (`m×n`) in the row space of `M = S Sᵀ`.
template <class = void>
[[nodiscard]] Eigen::MatrixXd solve_metric(const whitening_factor& s, const Eigen::MatrixXd& y) {
    if (s.cols() == 0) return Eigen::MatrixXd::Zero(y.rows(), y.cols());
    const Eigen::MatrixXd half = s.solve(Eigen::MatrixXd(y.transpose()));
    Eigen::MatrixXd x = s.solve_right(Eigen::MatrixXd(half.transpose()));
    if (s.kind != whitening::eigen || s.cols() == s.size()) return x;
    // S⁺ = B⁺ D⁻¹ finds the solution that is least in x D; all solutions agree on the range of S.
    Eigen::MatrixXd range = s.dense();
    for (auto column : range.colwise())
        column.stableNormalize();
    orthonormalize<double>(range);
    return multiply(multiply(x, op::none, range, op::none), op::none, range, op::transpose);
}

/// The target of `anchored`, the metric it is approximated in, and what was met on the way.
struct anchored_problem {
    Eigen::MatrixXd target;
    nsvd::metric metric;
    nsvd::status status = nsvd::status::ok;
};

/// `storage` must outlive the result.
template <matrix W, real_scalar Scalar>
[[nodiscard]] anchored_problem anchor(const W& w, const calibration<Scalar>& calib,
                                      const anchored_options& options, Eigen::MatrixXd& storage,
                                      const char* where) {
    require_features(w, calib, where);
    require_not_negative("epsilon", options.epsilon);
    const auto [m, n] = extent(w);
    const Eigen::MatrixXd* const error_moments = options.output_error;
    if (!calib.has_cross() && error_moments == nullptr)
        throw error(std::string(where) + ": calib has no pairs of inputs: call update(a, b)");
    if (error_moments != nullptr) {
        const std::string name = std::string(where) + ": output_error";
        if (error_moments->rows() != m || error_moments->cols() != n)
            throw error(name + " is " +
                        shape_text(index{error_moments->rows()}, index{error_moments->cols()}) +
                        " but W is " + shape_text(m, n));
        require_finite(*error_moments, name.c_str());
    }
    anchored_problem result;
    scaled_matrix original = read_scaled(w, (std::string(where) + ": W").c_str());
    const Eigen::MatrixXd& gram = gram_about(calib, options.moments, storage);
    result.metric = gram_metric_of(calib, gram, options.moments, whitening::cholesky, options.epsilon);
    // Y = W (C_ab − C_bb) + E_b, everything over a power of two
    Eigen::MatrixXd y = Eigen::MatrixXd::Zero(m, n);
    if (calib.has_cross()) {
        Eigen::MatrixXd change = options.moments == moments::central ? calib.central_cross() : calib.cross();
        change -= Eigen::MatrixXd(gram.selfadjointView<Eigen::Lower>());
        y = multiply(original.values, op::none, change, op::none);
    }
    if (error_moments != nullptr) {
        Eigen::MatrixXd scaled = *error_moments;
        scale_by_power(scaled, -original.exponent);
        y += scaled;
    }
    // For A = B there is nothing to solve, and W comes back as it is.
    if (!y.isZero(0.0)) {
        const whitening_factor& s = result.metric.factor();
        if (!s.converged) result.status = status::not_converged;
        original.values += solve_metric(s, y);
    }
    scale_by_power(original.values, original.exponent);
    result.target = std::move(original.values);
    if (!result.target.allFinite())
        throw error(std::string(where) + ": the target exceeds the range of double; scale W or the inputs");
    return result;
}

}  // namespace detail

/// What `anchored` approximates: the `m×n` matrix T that, of all matrices of any rank, does best by the
/// inputs `B` that the layer gets what `W` did by the inputs `A` it was made for,
///
///     min_T ‖W A + E − T B‖² + ε ‖W − T‖²,    ε = epsilon · tr(B Bᵀ) / n,
///     T = W + (W (A Bᵀ − B Bᵀ) + E Bᵀ) (B Bᵀ + εI)⁻¹,
///
/// written as a correction of `W`, which is exactly zero for A = B and E = 0. Where `epsilon` = 0 and `B Bᵀ`
/// is numerically singular, it is the correction of least norm. Without pairs, A = B. In double; 4mn² + n³/3
/// flops, 9n³ more for a singular matrix. Throws `nsvd::error` if W is empty or not finite, the calibration
/// has other features than W has columns, no tokens, not the moments that are asked for, or neither pairs nor
/// an `output_error`, that has another shape than W or is not finite, epsilon is not finite and ≥ 0, or no
/// eigensolver converged (`anchored` has a status for that).
template <matrix W, real_scalar Scalar>
[[nodiscard]] Eigen::MatrixXd anchored_target(const W& w, const calibration<Scalar>& calib,
                                              const anchored_options& options = {}) {
    Eigen::MatrixXd storage;
    detail::anchored_problem problem = detail::anchor(w, calib, options, storage, "anchored_target");
    if (problem.status == status::not_converged)
        throw error("anchored_target: no eigensolver converged for B Bᵀ");
    return std::move(problem.target);
}

/// Anchored regression (AA-SVD, 2604.02119): for a layer behind layers that are compressed already, the
/// rank-k `W′` that minimises
///
///     ‖W A + E − W′ B‖² + ε ‖W − W′‖²,    ε = epsilon · tr(B Bᵀ) / n,
///
/// where A are its inputs in the original model and B those in the compressed one (`calib.update(A, B)`), and
/// E is an error of what its output is added to, if there is one (`output_error`). The sum is that of T (see
/// `anchored_target`) plus `‖(T − W′)(B Bᵀ + εI)^½‖²`: a decomposition of T in the metric `B Bᵀ + εI`,
/// `W′ = Q Qᵀ T`. With a `share` below 1 the rest of the rank goes to the residual of T, as in `nested`.
///
/// T is rounded to the scalar of the factors. Cost of `anchored_target` and of `asvd` or `nested`. Throws
/// `nsvd::error` as these do.
template <matrix W, real_scalar Scalar, rank_policy Policy>
[[nodiscard]] low_rank<detail::factor_scalar_t<W>> anchored(const W& w, const calibration<Scalar>& calib,
                                                            const Policy& policy,
                                                            const anchored_options& options = {}) {
    if (!(options.share >= 0.0 && options.share <= 1.0))
        throw error("anchored: share = " + detail::text(options.share) + " is outside [0, 1]");
    Eigen::MatrixXd storage;
    detail::observer watch(options.progress, options.cancel, "anchored");
    watch.enter("target", 0.0, 0.3);
    const detail::anchored_problem problem = detail::anchor(w, calib, options, storage, "anchored");
    stage stages[2] = {{problem.metric, options.share}, {metric(), 1.0 - options.share}};
    if (options.residual == nsvd::residual::interpolative) stages[1].by = column_selection{};
    using factor = detail::dense_matrix<detail::factor_scalar_t<W>>;
    const factor target = problem.target.template cast<detail::factor_scalar_t<W>>();
    low_rank<detail::factor_scalar_t<W>> d = detail::decompose(
        target, std::span<const stage>(stages, options.share < 1.0 ? 2 : 1), policy,
        {options.accuracy, options.workspace, watch.part(0.3, 1.0), options.cancel}, "anchored");
    watch.finish();
    d.info.status = std::max(d.info.status, problem.status);
    return d;
}

}  // namespace nsvd::inline NSVD_ABI
