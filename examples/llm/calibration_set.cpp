// SPDX-License-Identifier: MIT
#include "calibration_set.hpp"

#include <nsvd/error.hpp>
#include <nsvd/ext/calibration_file.hpp>

#include <fmt/format.h>

#include <array>
#include <set>
#include <string_view>
#include <utility>

namespace llm {

namespace safetensors = nsvd::safetensors;
namespace fs = std::filesystem;

namespace {

constexpr const char *format = "nsvd.calibrations", *version = "1";
constexpr const char *whole_name = "calibrations.safetensors", *naming_name = "naming.json";

/// A calibration whose tokens count `factor` times what they did.
nsvd::calibration<float> scaled(const nsvd::calibration<float>& calib, double factor) {
    auto state = calib.state();
    state.gram *= factor;
    state.sum *= factor;
    state.sum_abs *= factor;
    state.weight *= factor;
    return nsvd::calibration<float>(std::move(state));
}

}  // namespace

calibration_set::calibration_set(fs::path path) : file_(std::move(path)) {
    const auto is = [&](const char* key, const char* value) {
        const auto found = metadata().find(key);
        return found != metadata().end() && found->second == value;
    };
    if (!is("format", format) || !is("version", version))
        throw nsvd::error(file_.path().string() +
                          ": no statistics of a model: make them with nsvd-llm calibrate");
    bool raw = false;
    bool central = false;
    for (const auto& name : file_.tensors())
        for (const std::string_view ending : {".gram", ".central_gram"}) {
            if (!name.ends_with(ending)) continue;
            prefixes_.push_back(name.substr(0, name.size() - ending.size() + 1));
            (ending == ".gram" ? raw : central) = true;
        }
    if (raw == central)
        throw nsvd::error(file_.path().string() +
                          (raw ? ": both raw and central moments" : ": no statistics in it"));
    if (central) about_ = nsvd::moments::central;
}

nsvd::calibration<float> calibration_set::at(const std::string& prefix) const {
    return nsvd::calibration_from<float>(file_, prefix);
}

void calibration_set::check(const model& m) const {
    const auto fail = [&](const std::string& prefix, const std::string& what) {
        throw nsvd::error(fmt::format("{}: {} {}, the model {}: these are statistics of another one",
                                      path().string(), prefix.substr(0, prefix.size() - 1), what,
                                      m.folder().string()));
    };
    std::set<std::string> left(prefixes_.begin(), prefixes_.end());
    for (std::size_t block = 0; block < m.shape().blocks; ++block)
        for (const auto where : all_sites) {
            const auto prefix = site_prefix(m, block, where);
            if (left.erase(prefix) == 0) fail(prefix, "is not in it, but in");
            const auto& shape = file_.at(prefix + "sum").shape;
            const auto size = shape.empty() ? 0 : shape[0];
            const auto features = m.site_features(model::site_index(block, where));
            if (!std::cmp_equal(size, features))
                fail(prefix, fmt::format("has {} features, {} in", size, features));
        }
    if (!left.empty()) fail(*left.begin(), "is not in");
}

block_statistics calibration_set::block(const model& m, std::size_t block) const {
    block_statistics sites;
    for (const auto where : all_sites)
        sites.push_back(at(site_prefix(m, block, where)));
    return sites;
}

std::string site_prefix(const model& m, std::size_t block, site where) {
    constexpr std::array<std::string_view, sites_per_block> names{"attention", "attention_output",
                                                                  "feed_forward", "feed_forward_output"};
    return fmt::format("{}.{}.{}.", m.shape().names.blocks, block, names[index_of(where)]);
}

statistics_in_files::statistics_in_files(const model& m, const std::vector<fs::path>& paths,
                                         nsvd::moments wanted)
    : model_(m) {
    for (const auto& path : paths) {
        const auto& set = sets_.emplace_back(path);
        set.check(m);
        if (set.about() == nsvd::moments::raw && wanted == nsvd::moments::central)
            throw nsvd::error(path.string() +
                              ": raw moments, but biases want those about the mean: make them with "
                              "nsvd-llm calibrate --central");
        if (set.about() != sets_.front().about())
            throw nsvd::error(
                fmt::format("{} and {}: one has raw moments, the other central ones: make both "
                            "with the same nsvd-llm calibrate --central, or without",
                            paths.front().string(), path.string()));
    }
}

block_statistics statistics_in_files::gather(std::size_t block) {
    auto sum = sets_.front().block(model_, block);
    std::vector<double> shares(sum.size());  // the weight of each file's tokens, all together
    for (std::size_t s = 0; s < sum.size(); ++s)
        shares[s] = sum[s].weight();
    for (std::size_t i = 1; i < sets_.size(); ++i) {
        const auto more = sets_[i].block(model_, block);
        for (std::size_t s = 0; s < sum.size(); ++s) {
            if (!(more[s].weight() > 0)) continue;
            if (!(shares[s] > 0)) shares[s] = more[s].weight();
            sum[s].merge(scaled(more[s], shares[s] / more[s].weight()));
        }
    }
    return sum;
}

void write_calibration_set(const fs::path& path, const std::vector<std::string>& prefixes,
                           const std::function<nsvd::calibration<float>(std::size_t)>& make,
                           const safetensors::string_map& metadata, const journal& kept) {
    // Killed while it was given its name: nothing but that is left to do.
    const auto complete = kept.path(whole_name);
    if (kept.has(naming_name) && kept.has(whole_name)) {
        fs::rename(complete, path);
        return;
    }
    std::vector<safetensors::file> parts;
    std::vector<safetensors::tensor> tensors;
    for (std::size_t i = 0; i < prefixes.size(); ++i) {
        const auto part = kept.path(fmt::format("calibration-{:05}.safetensors", i));
        if (!fs::exists(part)) safetensors::write(part, nsvd::to_tensors(make(i), prefixes[i]));
        parts.emplace_back(part);
        for (const auto& name : parts.back().tensors()) {
            const auto& view = parts.back().at(name);
            tensors.push_back({name, view.dtype, view.shape, view.bytes});
        }
    }
    auto all = metadata;
    all["format"] = format;
    all["version"] = version;
    safetensors::write(complete, tensors, all);
    kept.keep(naming_name, nlohmann::ordered_json::object());
    fs::rename(complete, path);
}

bool is_calibration_set_written(const fs::path& path, const journal& kept) {
    return fs::exists(path) && (kept.was_finished() || (kept.has(naming_name) && !kept.has(whole_name)));
}

}  // namespace llm
