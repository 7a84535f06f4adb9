// SPDX-License-Identifier: MIT
#pragma once

#include "asvd.hpp"

#include <cstdint>

namespace nsvd::inline NSVD_ABI {

/// How the second stage of `nested` treats the residual.
enum class residual : std::uint8_t {
    svd,            ///< truncated SVD: NSVD
    interpolative,  ///< interpolative decomposition: NID
};

/// Options of `nested`.
struct nested_options {
    nsvd::whitening whitening =
        nsvd::whitening::cholesky;                  ///< of the first stage: cholesky: NSVD-I, eigen: NSVD-II
    double share = 0.95;                            ///< of the first stage, in [0, 1]
    nsvd::residual residual = nsvd::residual::svd;  ///< second stage: svd: NSVD, interpolative: NID
    double alpha = 0.5;                             ///< for whitening::diagonal, as in `asvd_options`
    nsvd::statistic statistic = nsvd::statistic::mean;   ///< likewise
    double blend = 0.0;                                  ///< μ of the first stage, as in `asvd_options`
    nsvd::accuracy accuracy = nsvd::accuracy::balanced;  ///< how close to the optimum each stage must be
    nsvd::workspace* workspace = nullptr;                ///< memory to reuse; not owned
    nsvd::moments moments = nsvd::moments::raw;          ///< of the first stage, as in `asvd_options`
    nsvd::progress_callback progress = {};               ///< told how far the call is (progress.hpp)
    nsvd::cancel_token cancel = {};                      ///< asked whether it is to stop
};

/// Nested activation-aware decomposition, NSVD and NID (Lu et al., 2503.17101): the first stage is `asvd`
/// with rank `k₁ = max(1, floor(share·k + ½))`, the second approximates its residual `W − Q₁ Q₁ᵀ W` with the
/// rank `k₂ = k − k₁` that is left, without regard to the activations. It gives up a little of the error on
/// inputs like those of the calibration for a smaller one on inputs unlike them.
///
/// NSVD: `W′ = [Q₁ Q₂][Q₁ Q₂]ᵀ W`, one orthonormal factor. NID: `left = [Q₁ R_J]`, k₂ columns of the residual
/// itself, and coefficients whose identity block `parameters()` does not count.
///
/// A policy that looks at the spectrum sees that of the first stage's metric and picks the total rank k.
/// Cost of `asvd` and of a second eigenproblem (NSVD) or 4mnk₂ flops (NID). Throws `nsvd::error` as `asvd`
/// does, and if the share is outside [0, 1].
template <matrix W, real_scalar Scalar, rank_policy Policy>
[[nodiscard]] low_rank<detail::factor_scalar_t<W>> nested(const W& w, const calibration<Scalar>& calib,
                                                          const Policy& policy,
                                                          const nested_options& options = {}) {
    detail::require_features(w, calib, "nested");
    if (!(options.share >= 0.0 && options.share <= 1.0))
        throw error("nested: share = " + detail::text(options.share) + " is outside [0, 1]");
    Eigen::MatrixXd storage;
    stage stages[2] = {{detail::activation_metric(calib, options, storage), options.share},
                       {metric(), 1.0 - options.share}};
    if (options.residual == nsvd::residual::interpolative) stages[1].by = column_selection{};
    return detail::decompose(
        w, stages, policy, {options.accuracy, options.workspace, options.progress, options.cancel}, "nested");
}

}  // namespace nsvd::inline NSVD_ABI
