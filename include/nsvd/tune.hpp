// SPDX-License-Identifier: MIT
/// The share of NSVD, the blend of the metric and the exponent of ASVD-0, chosen on inputs held out from the
/// calibration.
#pragma once

#include "asvd.hpp"
#include "calibration.hpp"
#include "every_rank.hpp"
#include "matrix.hpp"
#include "metric.hpp"
#include "progress.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace nsvd::inline NSVD_ABI {

/// A candidate: `nested` with these options and `residual::svd`; with a share of 1 that is `asvd`.
struct tuning {
    nsvd::whitening whitening = nsvd::whitening::cholesky;  ///< of the first stage
    double share = 1.0;                                     ///< of the first stage
    double blend = 0.0;                                     ///< μ, for `cholesky` and `eigen`
    double alpha = 0.5;                                     ///< for `diagonal`
};

namespace detail {

/// Whether the first stages of two candidates have the same metric.
[[nodiscard]] inline bool same_metric(const tuning& a, const tuning& b) {
    const bool diagonal = a.whitening == whitening::diagonal;
    if (diagonal != (b.whitening == whitening::diagonal) || a.blend != b.blend) return false;
    // The Cholesky factor and the eigen square root are two ways to one metric.
    return !diagonal || a.alpha == b.alpha;
}

}  // namespace detail

/// Options of `held_out_losses`.
struct held_out_options {
    nsvd::progress_callback progress = {};  ///< told how far the call is (progress.hpp)
    nsvd::cancel_token cancel = {};         ///< asked whether it is to stop
};

/// For each candidate `‖(W − W′) Y‖² / ‖W Y‖²` at rank k on the inputs `Y` of `held_out`, with `W′` made for
/// `calib`: the square of `weighted_error`, without forming `W′`. Candidates of one metric share one
/// `every_rank`, and cost an eigenproblem of the residual each unless their share is 1.
///
/// Hold out whole texts, and better still texts of another kind: tokens of one text are alike, and what is
/// best on the calibration itself is always `share = 1, blend = 0`. Throws `nsvd::error` as `nested` does, if
/// k is outside [1, min(m, n)], or if `held_out` has other features than `calib` or no tokens;
/// `nsvd::cancelled` where `cancel` asks for it.
template <matrix W, real_scalar Scalar, real_scalar HeldOut>
[[nodiscard]] std::vector<double> held_out_losses(const W& w, const calibration<Scalar>& calib,
                                                  const calibration<HeldOut>& held_out, index k,
                                                  std::span<const tuning> candidates,
                                                  const held_out_options& watched = {}) {
    detail::require_features(w, calib, "held_out_losses");
    if (held_out.features() != calib.features())
        throw error("held_out_losses: held_out has " + std::to_string(held_out.features()) +
                    " features but calib has " + std::to_string(calib.features()));
    if (held_out.tokens() == 0) throw error("held_out_losses: held_out has no tokens: call update first");
    Eigen::MatrixXd own;
    Eigen::MatrixXd others;
    const metric other = detail::gram_metric_of(held_out, detail::gram_about(held_out, moments::raw, others),
                                                moments::raw, whitening::cholesky, 0.0);
    detail::observer watch(watched.progress, watched.cancel, "held_out_losses");
    watch.enter("candidates", 0.0, 1.0);
    // An eigenproblem for each metric counts as much as those of all its shares.
    const auto reached = [&](std::size_t count) {
        return static_cast<double>(count) / static_cast<double>(candidates.size());
    };
    std::size_t over = 0;
    std::vector<std::optional<double>> found(candidates.size());
    for (std::size_t i = 0; i < candidates.size(); ++i) {
        if (found[i]) continue;
        const asvd_options options{
            .whitening = candidates[i].whitening, .alpha = candidates[i].alpha, .blend = candidates[i].blend};
        std::size_t same = 0;
        for (std::size_t j = i; j < candidates.size(); ++j)
            same += detail::same_metric(candidates[i], candidates[j]) ? 1 : 0;
        const double half = 0.5 * (reached(over) + reached(over + same));
        const every_rank all(w, detail::activation_metric(calib, options, own),
                             {.progress = watch.part(reached(over), half), .cancel = watched.cancel});
        over += same;
        const Eigen::MatrixXd seen = all.seen_in(other);
        for (std::size_t j = i; j < candidates.size(); ++j)
            if (detail::same_metric(candidates[i], candidates[j])) {
                watch.step((reached(over) - half) / static_cast<double>(same), reached(over));
                found[j] = all.relative_loss(seen, k, candidates[j].share);
            }
    }
    std::vector<double> losses;
    for (const std::optional<double>& loss : found)
        losses.push_back(*loss);
    watch.finish();
    return losses;
}

/// Candidates to start from: the Gram metric with μ = 0, 1e-4, 1e-3, 1e-2, 0.1 by shares of 1, 0.99, 0.95,
/// 0.9, 0.8, and ASVD-0 with α = 0.25, 0.5, 0.75, 1: nine metrics, 29 candidates. μ is relative to the mean
/// channel, which outlier channels make far larger than a typical one: hence the small ones.
[[nodiscard]] inline std::vector<tuning> tuning_grid() {
    std::vector<tuning> grid;
    for (const double blend : {0.0, 1e-4, 1e-3, 1e-2, 0.1})
        for (const double share : {1.0, 0.99, 0.95, 0.9, 0.8})
            grid.push_back({.share = share, .blend = blend});
    for (const double alpha : {0.25, 0.5, 0.75, 1.0})
        grid.push_back({.whitening = whitening::diagonal, .alpha = alpha});
    return grid;
}

/// The candidate of the least sum of losses over layers, the first of equals: one choice for a model.
/// `layers` holds what `held_out_losses` gave for the same candidates; of a single one, the choice for that
/// layer. Throws `nsvd::error` if there are no layers or no candidates, or their numbers differ.
[[nodiscard]] inline std::size_t best_tuning(std::span<const std::vector<double>> layers) {
    if (layers.empty() || layers.front().empty())
        throw error("best_tuning: no " + std::string(layers.empty() ? "layers" : "candidates"));
    std::vector<double> sums(layers.front().size());
    for (std::size_t l = 0; l < layers.size(); ++l) {
        if (layers[l].size() != sums.size())
            throw error("best_tuning: layer " + std::to_string(l) + " has " +
                        std::to_string(layers[l].size()) + " losses, the first has " +
                        std::to_string(sums.size()));
        for (std::size_t i = 0; i < sums.size(); ++i)
            sums[i] += layers[l][i];
    }
    return static_cast<std::size_t>(std::min_element(sums.begin(), sums.end()) - sums.begin());
}

/// The same for one layer.
[[nodiscard]] inline std::size_t best_tuning(const std::vector<double>& losses) {
    return best_tuning(std::span(&losses, 1));
}

}  // namespace nsvd::inline NSVD_ABI
