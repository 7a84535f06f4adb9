// SPDX-License-Identifier: MIT
/// Recipes and compressions side by side on several texts.
#pragma once

#include "comparison.hpp"
#include "model.hpp"
#include "recipe.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace llm {

struct compare_options {
    std::filesystem::path model, calibration;
    std::vector<std::pair<std::string, std::filesystem::path>> texts;  // by name
    std::vector<double> compressions;
    std::vector<recipe> recipes;  // their compressions are not looked at
    std::size_t context = 0;      // 0: context_of
    std::size_t windows = 256;
    std::uint64_t seed = 0;
    double share = 0.95;  // for the record; recipes have theirs
    std::optional<std::string> in_domain;
    std::optional<std::string> reference;  // a recipe's name; asvd-1, nsvd-1 or the first one
    std::filesystem::path held_out;        // empty: none
    std::vector<std::string> keep_dense;
    unsigned threads = 0;     // 0: one a processor
    bool similarity = false;  // of the texts and the calibration, as well
};

/// The window length: `wanted`, or where that is 0 the model's own context, at most 2048.
[[nodiscard]] std::size_t context_of(const model& m, std::size_t wanted);

/// Calibrates once, then compresses by every recipe at every compression and evaluates every text.
/// All but `command` of the result is filled in. Shows a progress bar.
[[nodiscard]] comparison compare(const compare_options& options);

}  // namespace llm
