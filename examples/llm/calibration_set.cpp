// SPDX-License-Identifier: MIT
#include "calibration_set.hpp"

#include "shrinkage.hpp"

#include <nsvd/error.hpp>
#include <nsvd/ext/calibration_file.hpp>

#include <fmt/format.h>

#include <array>
#include <string_view>
#include <utility>

namespace llm {

namespace safetensors = nsvd::safetensors;
namespace fs = std::filesystem;

namespace {

constexpr const char *format = "nsvd.calibrations", *version = "1";

}  // namespace

calibration_set::calibration_set(fs::path path) : file_(std::move(path)) {
    const auto is = [&](const char* key, const char* value) {
        const auto found = metadata().find(key);
        return found != metadata().end() && found->second == value;
    };
    if (!is("format", format) || !is("version", version))
        throw nsvd::error(file_.path().string() +
                          ": no statistics of a model: make them with nsvd-llm calibrate");
    for (const auto& name : file_.tensors())
        for (const std::string_view ending : {".gram", ".central_gram"})
            if (name.ends_with(ending)) prefixes_.push_back(name.substr(0, name.size() - ending.size() + 1));
}

nsvd::calibration<float> calibration_set::at(const std::string& prefix) const {
    return nsvd::calibration_from<float>(file_, prefix);
}

block_statistics calibration_set::block(const model& m, std::size_t block) const {
    block_statistics sites;
    for (const auto& where : m.block_sites()) {
        const auto prefix = site_prefix(m, block, where);
        sites.push_back(at(prefix));
        const auto features = m.site_features(m.site_index(block, where));
        if (sites.back().features() != static_cast<Eigen::Index>(features))
            throw nsvd::error(
                fmt::format("{}: {} has {} features, {} in the model {}: these are statistics "
                            "of another one",
                            file_.path().string(), prefix.substr(0, prefix.size() - 1),
                            sites.back().features(), features, m.folder().string()));
    }
    return sites;
}

std::string site_prefix(const model& m, std::size_t block, const site& where) {
    constexpr std::array<std::string_view, site_kinds.size()> names{"attention", "attention_output",
                                                                    "feed_forward", "feed_forward_output"};
    const auto prefix = fmt::format("{}.{}.{}.", m.shape().names.blocks, block, names[index_of(where.kind)]);
    const bool expert = m.shape().experts > 0 && is_of_experts(where.kind);
    return expert ? fmt::format("{}{}.", prefix, where.expert) : prefix;
}

statistics_in_files::statistics_in_files(const model& m, const std::vector<fs::path>& paths) : model_(m) {
    for (const auto& path : paths)
        sets_.emplace_back(path);
}

block_statistics statistics_in_files::gather(std::size_t block) {
    auto sum = sets_.front().block(model_, block);
    for (std::size_t i = 1; i < sets_.size(); ++i) {
        const auto more = sets_[i].block(model_, block);
        // The tokens of each file count what those of the first do, all together. All tokens pass the first
        // site, an expert those that are routed to it.
        const double first = sum.front().weight() / static_cast<double>(i);
        const double factor = first > 0 && more.front().weight() > 0 ? first / more.front().weight() : 1.0;
        for (std::size_t s = 0; s < sum.size(); ++s)
            if (more[s].weight() > 0) sum[s].merge(scaled(more[s], factor));
    }
    return sum;
}

void write_calibration_set(const fs::path& path, const std::vector<std::string>& prefixes,
                           const std::function<nsvd::calibration<float>(std::size_t)>& make,
                           const safetensors::string_map& metadata, const journal& kept) {
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
    safetensors::write(path, tensors, all);
}

}  // namespace llm
