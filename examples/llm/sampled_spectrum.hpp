// SPDX-License-Identifier: MIT
/// A spectrum of which some values are kept: enough to draw it.
#pragma once

#include <Eigen/Core>

#include <cstdint>
#include <vector>

namespace llm {

/// Squared singular values at some indices, which count from 1 and ascend. Both lists are equally long.
struct sampled_spectrum {
    std::vector<std::int64_t> index{};
    std::vector<double> value{};

    [[nodiscard]] bool empty() const { return index.empty(); }
    /// log₁₀(σ²/σ₁²) at an index, along straight lines between those kept; outside of them the nearest.
    /// At least `lowest`, also for σ = 0.
    [[nodiscard]] double log_ratio(double at) const;
    static constexpr double lowest = -16;
};

/// All of a short spectrum, and about a hundred values, spread like powers, of a longer one; the last is
/// among them.
[[nodiscard]] sampled_spectrum sample_spectrum(const Eigen::Ref<const Eigen::VectorXd>& squares);

}  // namespace llm
