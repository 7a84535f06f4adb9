// SPDX-License-Identifier: MIT
/// Options that several subcommands have.
#pragma once

#include "../model.hpp"
#include "../recipe.hpp"

#include <nsvd/error.hpp>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace llm::commands {

/// A model, and how it is run.
struct model_options {
    std::filesystem::path model, json;
    std::size_t context = 0;
    unsigned threads = 0;

    void declare(CLI::App& command, bool required = true);
};

/// What a model is compressed by: texts and recipes.
struct recipe_options {
    std::filesystem::path calibration, tune;
    std::size_t windows = 256;
    std::uint64_t seed = 0;
    double share = recipe{}.share, epsilon = recipe{}.epsilon;
    std::string storage, allocation;
    std::vector<std::string> keep_dense;
    bool anchored = false, bias = false, joint = false, own_text = false;

    /// `from_statistics`: a text is not needed where statistics are given.
    void declare(CLI::App& command, bool from_statistics = false);
    /// A recipe by its name, on top of what the options say.
    [[nodiscard]] recipe find(const std::string& name) const;
    /// --tune is for the recipes that are tuned by name; for all where none is.
    void tune_all(std::vector<recipe>& recipes) const;
};

/// Where weights are for --low-memory, or without.
[[nodiscard]] constexpr residence residence_of(bool low_memory) {
    return low_memory ? residence::in_file : residence::in_memory;
}

/// --calibration, --windows and --seed.
void declare_calibration(CLI::App& command, std::filesystem::path& calibration, std::size_t& windows,
                         std::uint64_t& seed, bool required);

/// NAME=FILE each. Throws nsvd::error for others, and for a name that is given twice.
[[nodiscard]] std::vector<std::pair<std::string, std::filesystem::path>> named_texts(
    const std::vector<std::string>& arguments);

/// Checks for CLI11, with messages of one short line.
[[nodiscard]] CLI::Validator positive();
[[nodiscard]] CLI::Validator seed_number();
[[nodiscard]] CLI::Validator given(const char* what);

/// Throws nsvd::error unless the share of the parameters to remove is in [0, 1).
void check_compression(double compression);

template <class T>
void check_distinct(const std::vector<T>& values, const char* option) {
    for (std::set<T> seen; const auto& value : values)
        if (!seen.insert(value).second)
            throw nsvd::error(fmt::format("{}: {} is given twice", option, value));
}

/// As a file: indented, invalid UTF-8 replaced.
[[nodiscard]] std::string dump(const nlohmann::ordered_json& value);

/// "plain, asvd-0, …, best".
[[nodiscard]] std::string method_names();
/// What --help says about the recipe `best`.
[[nodiscard]] std::string about_best();

}  // namespace llm::commands
