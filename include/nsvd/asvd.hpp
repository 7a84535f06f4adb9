// SPDX-License-Identifier: MIT
#pragma once

#include "decompose.hpp"

#include <string>

namespace nsvd::inline NSVD_ABI {

/// Options of `asvd`.
struct asvd_options {
    nsvd::whitening whitening =
        nsvd::whitening::cholesky;  ///< diagonal: ASVD-0, cholesky: ASVD-I, eigen: ASVD-II
    double alpha = 0.5;             ///< exponent of ASVD-0, ≥ 0
    nsvd::statistic statistic = nsvd::statistic::mean;  ///< of ASVD-0: mean or largest |x| of a channel
    double blend = 0.0;  ///< μ of `C + μ·(tr C / n)·I`, ≥ 0, for ASVD-I and II
    nsvd::accuracy accuracy = nsvd::accuracy::balanced;  ///< how close to the optimum each stage must be
    nsvd::workspace* workspace = nullptr;                ///< memory to reuse; not owned
    /// Of ASVD-I and II: `central` for a layer whose bias is corrected; needs a calibration of such moments
    nsvd::moments moments = nsvd::moments::raw;
    nsvd::progress_callback progress = {};  ///< told how far the call is (progress.hpp)
    nsvd::cancel_token cancel = {};         ///< asked whether it is to stop
};

namespace detail {

/// Throws unless W and the calibration belong to one layer.
template <matrix W, real_scalar Scalar>
void require_features(const W& w, const calibration<Scalar>& calib, const char* where) {
    const auto [rows, cols] = extent(w);
    if (cols != calib.features())
        throw error(std::string(where) + ": W is " + shape_text(rows, cols) + " but calib has " +
                    std::to_string(calib.features()) + " features");
    require_tokens(calib, where);
}

/// The metric that `asvd_options` and `nested_options` describe. `storage` must outlive it.
template <real_scalar Scalar, class Options>
[[nodiscard]] metric activation_metric(const calibration<Scalar>& calib, const Options& options,
                                       Eigen::MatrixXd& storage) {
    require_not_negative("alpha", options.alpha);
    require_not_negative("blend", options.blend);
    if (options.whitening == nsvd::whitening::diagonal && options.blend != 0.0)
        throw error("blend = " + text(options.blend) +
                    " is for the cholesky and eigen whitening, not for diagonal");
    if (options.whitening == nsvd::whitening::diagonal && options.moments != nsvd::moments::raw)
        throw error("moments = central is for the cholesky and eigen whitening, not for diagonal");
    if (options.whitening == nsvd::whitening::diagonal)
        return diagonal_metric(calib, options.alpha, options.statistic);
    return gram_metric_of(calib, gram_about(calib, options.moments, storage), options.moments,
                          options.whitening, options.blend);
}

}  // namespace detail

/// Activation-aware SVD: the best rank-k approximation `W′ = Q Qᵀ W` of `W` (`m×n`) for the inputs that the
/// calibration has seen.
///
/// - `whitening::cholesky` (ASVD-I of 2503.17101, SVD-LLM 2403.07378) and `eigen` (ASVD-II) minimise
///   `‖(W − W′) X‖_F` exactly: `Q` leads the left singular vectors of `W S`, `S Sᵀ = C = X Xᵀ`. They differ
///   by rounding only; `blend` = μ adds `μ (tr C / n) ‖W − W′‖²` to what is minimised.
/// - `whitening::diagonal` (ASVD, 2312.05821) minimises `‖(W − W′) diag(s)‖_F`, `s_i = (mean |x_i|)^alpha`.
///
/// Cost of `decompose` and of one factorization of C (n³/3 flops; 9n³ for `eigen` or a singular C). To share
/// that among layers with the same input, build the metric once (`gram_metric`) and call `decompose`. Throws
/// `nsvd::error` as `decompose` does, and if the calibration has other features than `W` has columns, no
/// tokens, or not the moments that are asked for.
template <matrix W, real_scalar Scalar, rank_policy Policy>
[[nodiscard]] low_rank<detail::factor_scalar_t<W>> asvd(const W& w, const calibration<Scalar>& calib,
                                                        const Policy& policy,
                                                        const asvd_options& options = {}) {
    detail::require_features(w, calib, "asvd");
    Eigen::MatrixXd storage;
    const stage only{detail::activation_metric(calib, options, storage), 1.0};
    return detail::decompose(w, {&only, 1}, policy,
                             {options.accuracy, options.workspace, options.progress, options.cancel}, "asvd");
}

}  // namespace nsvd::inline NSVD_ABI
