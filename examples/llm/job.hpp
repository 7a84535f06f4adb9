// SPDX-License-Identifier: MIT
/// What the result of a run depends on, for its journal and its report.
#pragma once

#include "model.hpp"
#include "tokens.hpp"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace llm {

/// Name, size and time of last change: a file of the same three is taken for the same.
[[nodiscard]] nlohmann::ordered_json identity_of(const std::filesystem::path& file);

/// The folder, its config.json and the files of its weights.
[[nodiscard]] nlohmann::ordered_json identity_of(const model& m);

/// Throws nsvd::error naming the first file that is no longer what its identity says.
void check_unchanged(const nlohmann::ordered_json& files);

/// The same for the files of a model, since they were opened, and since `job` was made with its identity.
void check_unchanged(const model& m, const nlohmann::ordered_json& job);

/// How many tokens there are, and a checksum (XXH3 of 64 bits) of them.
[[nodiscard]] nlohmann::ordered_json identity_of(std::span<const token> tokens);

}  // namespace llm
