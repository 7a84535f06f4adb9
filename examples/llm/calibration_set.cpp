// SPDX-License-Identifier: MIT
#include "calibration_set.hpp"

#include "digest.hpp"
#include "files.hpp"
#include "kept_tensors.hpp"
#include "shrinkage.hpp"

#include <nsvd/error.hpp>
#include <nsvd/ext/calibration_file.hpp>

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <set>
#include <string_view>
#include <utility>

namespace llm {

namespace safetensors = nsvd::safetensors;
namespace fs = std::filesystem;

namespace {

constexpr const char *format = "nsvd.calibrations", *version = "2";
constexpr const char* job_key = "job";

}  // namespace

calibration_set::calibration_set(fs::path path) : file_(std::move(path)) {
    const auto is = [&](const char* key, const char* value) {
        const auto found = metadata().find(key);
        return found != metadata().end() && found->second == value;
    };
    // Version 1 had no checksums.
    if (!is("format", format) || !(is("version", version) || is("version", "1")))
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
        for (const auto& where : m.block_sites()) {
            const auto prefix = site_prefix(m, block, where);
            if (left.erase(prefix) == 0) fail(prefix, "is not in it, but in");
            const auto& shape = file_.at(prefix + "sum").shape;
            const auto size = shape.empty() ? 0 : shape[0];
            const auto features = m.site_features(m.site_index(block, where));
            if (!std::cmp_equal(size, features))
                fail(prefix, fmt::format("has {} features, {} in", size, features));
        }
    if (!left.empty()) fail(*left.begin(), "is not in");
}

block_statistics calibration_set::block(const model& m, std::size_t block) const {
    block_statistics sites;
    for (const auto& where : m.block_sites())
        sites.push_back(at(site_prefix(m, block, where)));
    return sites;
}

std::string site_prefix(const model& m, std::size_t block, const site& where) {
    constexpr std::array<std::string_view, site_kinds.size()> names{"attention", "attention_output",
                                                                    "feed_forward", "feed_forward_output"};
    const auto prefix = fmt::format("{}.{}.{}.", m.shape().names.blocks, block, names[index_of(where.kind)]);
    const bool expert = m.shape().experts > 0 && is_of_experts(where.kind);
    return expert ? fmt::format("{}{}.", prefix, where.expert) : prefix;
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
    const double share = sum.front().weight();  // of the tokens of each file, all together
    for (std::size_t i = 1; i < sets_.size(); ++i) {
        const auto more = sets_[i].block(model_, block);
        // All tokens pass the first site, an expert those that are routed to it.
        const double own = more.front().weight();
        for (std::size_t s = 0; s < sum.size(); ++s)
            if (more[s].weight() > 0) sum[s].merge(scaled(more[s], share > 0 ? share / own : 1.0));
    }
    return sum;
}

void write_calibration_set(const fs::path& path, const std::vector<std::string>& prefixes,
                           const std::function<nsvd::calibration<float>(std::size_t)>& make,
                           safetensors::string_map metadata, const journal& kept, const processes& world,
                           std::span<const int> owners, const std::function<void()>& check) {
    const auto part = [](std::size_t i) { return fmt::format("calibration-{:05}.safetensors", i); };
    std::vector<std::uint8_t> missing;
    for (std::size_t i = 0; i < prefixes.size(); ++i)
        missing.push_back(kept.has(part(i)) ? 0 : 1);
    world.any(missing);
    for (std::size_t i = 0; i < prefixes.size(); ++i) {
        if (missing[i] == 0) continue;
        const auto made = make(i);
        if (world.alone() || owners[i] == static_cast<int>(world.own()))
            keep_tensors(kept, part(i), nsvd::to_tensors(made, prefixes[i]));
    }
    world.wait();
    if (!world.is_first()) return world.wait();
    std::vector<safetensors::file> parts;
    std::vector<safetensors::tensor> tensors;
    for (std::size_t i = 0; i < prefixes.size(); ++i) {
        check_kept(kept, parts.emplace_back(kept.path(part(i))));
        for (const auto& tensor : parts.back().tensors()) {
            const auto& view = parts.back().at(tensor);
            tensors.push_back({tensor, view.dtype, view.shape, view.bytes});
        }
    }
    metadata["format"] = format;
    metadata["version"] = version;
    metadata[job_key] = digest_of(kept.job());
    const auto complete = kept.path("calibrations.safetensors");
    safetensors::write(complete, tensors, metadata);
    kept.check_own();
    if (check) check();
    const auto target = resolved(path);  // the journal is beside what a link names
    fs::rename(complete, target);
    nsvd::flush_to_disk(target.parent_path());
    world.wait();
}

bool is_calibration_set_of(const fs::path& path, const nlohmann::ordered_json& job) {
    if (!fs::exists(path)) return false;
    try {
        const calibration_set there(path);
        const auto made_by = there.metadata().find(job_key);
        return made_by != there.metadata().end() && made_by->second == digest_of(job);
    } catch (const nsvd::error&) {
        return false;  // something else of that name
    }
}

}  // namespace llm
