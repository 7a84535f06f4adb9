// SPDX-License-Identifier: MIT
/// What compressing layers apart and in order share.
#pragma once

#include "linear.hpp"
#include "recipe.hpp"
#include "unit.hpp"
#include "windows.hpp"

#include <nsvd/bias.hpp>
#include <nsvd/calibration.hpp>
#include <nsvd/error.hpp>
#include <nsvd/pivoted_low_rank.hpp>

#include <fmt/format.h>

#include <chrono>
#include <utility>

namespace llm {

[[nodiscard]] inline nsvd::moments moments_of(const recipe& r) {
    return r.bias ? nsvd::moments::central : nsvd::moments::raw;
}

/// Throws nsvd::error where a recipe that runs text through the model has none.
inline void require_text(const weighted_windows& windows, const recipe& r) {
    if (windows.windows.empty())
        throw nsvd::error(
            fmt::format("{}: statistics are not enough for it, it wants a text: --calibration FILE", r.name));
}

/// Calls `work` with the unit's name in front of its errors.
template <class Work>
auto named(const unit& u, const Work& work) {
    try {
        return work();
    } catch (const nsvd::error& e) {
        throw nsvd::error(fmt::format("layer {}: {}", u.name, e.what()));
    }
}

/// W′ of a unit in the recipe's storage, with its bias, corrected where the recipe says so.
[[nodiscard]] inline linear stored_in(const recipe& r, nsvd::low_rank<float> d, Eigen::VectorXf bias,
                                      const Eigen::MatrixXf& w, const nsvd::calibration<float>& inputs,
                                      const Eigen::VectorXd& mean_error) {
    if (r.bias) {
        Eigen::VectorXd sum = nsvd::bias_correction(w, d, inputs, mean_error);
        if (bias.size() != 0) sum += bias.cast<double>();
        bias = sum.cast<float>();
    }
    if (r.storage == nsvd::storage::plain) return linear(std::move(d), std::move(bias));
    return linear(nsvd::pivot(d), std::move(bias));
}

using clock = std::chrono::steady_clock;

[[nodiscard]] inline double seconds_since(clock::time_point start) {
    return std::chrono::duration<double>(clock::now() - start).count();
}

}  // namespace llm
