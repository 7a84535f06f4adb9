// SPDX-License-Identifier: MIT
#include "options.hpp"

#include "../methods.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <string_view>

namespace llm::commands {
namespace {

/// A check for CLI11 with a message of one short line.
CLI::Validator require(const char* what, bool (*holds)(const std::string&)) {
    return CLI::Validator(
        [=](std::string& value) {
            return holds(value) ? std::string() : fmt::format("'{}': want {}", value, what);
        },
        "");
}

bool is_count(const std::string& value) {
    return !value.empty() && value.size() < 19 && value[0] != '0' &&
           std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_seed(const std::string& value) {
    return value == "0" || is_count(value);
}

bool is_given(const std::string& value) {
    return !value.empty();
}

}  // namespace

CLI::Validator positive() {
    return require("a positive integer", is_count);
}

CLI::Validator seed_number() {
    return require("an integer, 0 or more", is_seed);
}

CLI::Validator given(const char* what) {
    return require(what, is_given);
}

void check_compression(double compression) {
    if (!(compression >= 0 && compression < 1))
        throw nsvd::error(
            fmt::format("--compression is {}: want the share of the parameters to remove, at least 0 "
                        "and below 1",
                        compression));
}

std::string dump(const nlohmann::ordered_json& value) {
    return value.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string method_names() {
    std::vector<std::string_view> names;
    for (const auto& method : methods)
        names.push_back(method.name);
    names.emplace_back("best");
    return fmt::format("{}", fmt::join(names, ", "));
}

std::string about_best() {
    return fmt::format(
        "best is {}: more rank for the same bytes, ranks by what each layer alone does to the predictions, "
        "layers made for the inputs that compressed ones give, statistics of text the model writes itself. "
        "docs/ablation.md has the figures.\n\n",
        best_recipe);
}

void model_options::declare(CLI::App& command, bool required) {
    command.add_option("--model", model, "model folder: config.json and safetensors")->required(required);
    command
        .add_option("--context", context, "tokens of a window (default: the model's context, at most 2048)")
        ->check(positive());
    command.add_option("--threads", threads, "threads (default: one a processor)")->check(positive());
    command.add_option("--json", json, "write the result as JSON; - is standard output")
        ->check(given("the name of a file"));
}

std::vector<std::pair<std::string, std::filesystem::path>> named_texts(
    const std::vector<std::string>& arguments) {
    std::vector<std::pair<std::string, std::filesystem::path>> texts;
    std::vector<std::string> names;
    for (const auto& argument : arguments) {
        const auto split = argument.find('=');
        if (split == 0 || split == std::string::npos || split + 1 == argument.size())
            throw nsvd::error(fmt::format("--text {}: want NAME=FILE", argument));
        names.push_back(argument.substr(0, split));
        texts.emplace_back(names.back(), argument.substr(split + 1));
    }
    check_distinct(names, "--text");
    return texts;
}

void declare_calibration(CLI::App& command, std::filesystem::path& calibration, std::size_t& windows,
                         std::uint64_t& seed, bool required) {
    command.add_option("--calibration", calibration, "text, or token ids: .u16, .u32, .safetensors")
        ->required(required);
    command.add_option("--windows", windows, "calibrate on at most this many windows")
        ->capture_default_str()
        ->check(positive());
    command.add_option("--seed", seed, "of the draw of calibration windows")
        ->capture_default_str()
        ->check(seed_number());
}

void recipe_options::declare(CLI::App& command, bool from_statistics) {
    declare_calibration(command, calibration, windows, seed, !from_statistics);
    command.add_option("--share", share, "the first stage's part of the rank in nested methods")
        ->capture_default_str();
    command.add_option("--storage", storage, "plain or pivoted factors (default: the method's own)");
    command.add_option("--allocation", allocation,
                       "ranks: uniform, greedy, effective-rank, loss-group, sensitivity, measured");
    // Open MPI's mpirun takes a `--tune FILE` after the program's name for its own.
    command.add_option("--tune,--held-out", tune,
                       "second text, on which share and blend of each layer are chosen");
    command.add_flag("--anchored", anchored, "layer after layer, on the inputs compressed ones give");
    command.add_option("--epsilon", epsilon, "of --anchored: weight of the weights' own error")
        ->capture_default_str();
    command.add_flag("--bias", bias, "correct the mean of each layer's output");
    command.add_flag("--joint", joint, "q, k, v as one layer, gate and up as one");
    command.add_flag("--own-text", own_text, "calibrate on the model's own and random text as well");
    command
        .add_option("--keep-dense", keep_dense,
                    "layers to leave as they are: parts of names, or spiking; may be given again")
        ->delimiter(',');
}

recipe recipe_options::find(const std::string& name) const {
    if (!(epsilon >= 0 && std::isfinite(epsilon)))
        throw nsvd::error(fmt::format("--epsilon is {}: want a number, 0 or more", epsilon));
    recipe base;
    base.share = share;
    base.epsilon = epsilon;
    base.anchored = anchored;
    base.bias = bias;
    base.joint = joint;
    base.own_text = own_text;
    auto result = parse_recipe(name, base);
    if (!storage.empty()) result.storage = find_storage(storage);
    if (!allocation.empty()) result.ranks = find_rank_rule(allocation);
    return named(result);
}

void recipe_options::tune_all(std::vector<recipe>& recipes) const {
    const auto is_tuned = [](const recipe& r) { return r.tuned || r.tuned_once; };
    if (tune.empty() || std::any_of(recipes.begin(), recipes.end(), is_tuned)) return;
    for (auto& r : recipes) {
        r.tuned = true;
        r = named(r);
    }
}

}  // namespace llm::commands
