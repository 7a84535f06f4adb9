// SPDX-License-Identifier: MIT
/// What compressing one unit alone does to the model's predictions.
#pragma once

#include "journal.hpp"
#include "model.hpp"
#include "processes.hpp"
#include "progress.hpp"
#include "unit.hpp"

#include <nsvd/calibration.hpp>
#include <nsvd/metric.hpp>

#include <Eigen/Core>

#include <functional>
#include <span>
#include <vector>

namespace llm {

/// Means over the predictions of the windows that were tried.
struct effect {
    Eigen::Index rank = 0;
    double divergence = 0;  ///< Kullback–Leibler, from the model's predictions, in nats
    double nll = 0;         ///< negative log likelihood of the text
};

struct unit_effects {
    std::vector<effect> effects;  ///< by ascending rank
    double dense_nll = 0;         ///< of the same windows, nothing compressed
};

/// For each unit the effects at the ranks that `ranks` gives for it, ascending. One eigendecomposition a
/// unit, in the metric that `metric_of` gives; one pass through the blocks from the unit's on for each rank
/// and window. Holds the hidden states of all windows twice. `layers` are the model's own, dense. What the
/// journal has of a unit is taken from there.
///
/// Of several processes, each measures the units it owns and reads the others' in the journal;
/// `reach_block` is called on all of them before units of a block are measured.
[[nodiscard]] std::vector<unit_effects> measure_effects(
    const model& m, const std::vector<linear>& layers, const std::vector<unit>& units,
    const std::function<nsvd::metric(const unit&)>& metric_of,
    const std::function<std::vector<Eigen::Index>(const unit&)>& ranks,
    const std::vector<std::vector<token>>& windows, const journal& kept, unsigned threads, progress& bar,
    const processes& world = {}, std::span<const int> owners = {},
    const std::function<void(std::size_t block)>& reach_block = {});

/// Losses at the ranks 0, 1, …, min(m, n) from a few measured divergences: between them, log divergence is
/// linear in the logarithm of the relative loss of the spectrum; beyond them, divergence is in proportion to
/// it. Descending, 0 at full rank.
[[nodiscard]] std::vector<double> divergence_curve(const std::vector<effect>& effects,
                                                   const Eigen::VectorXd& spectrum);

}  // namespace llm
