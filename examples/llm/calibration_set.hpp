// SPDX-License-Identifier: MIT
/// Files with the statistics of all inputs of a model's linear layers (docs/format.md).
#pragma once

#include "input_statistics.hpp"
#include "job.hpp"

#include <nsvd/ext/safetensors.hpp>

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace llm {

/// What several files of statistics are for.
enum class statistics_use : std::uint8_t {
    pooled,  ///< one metric: the mean of those that each would give by itself, all tokens counted alike
    stages,  ///< a stage each, in the order given
};

/// The calibrations of a file, mapped.
class calibration_set {
public:
    /// Throws nsvd::error naming the file for one that is no such.
    explicit calibration_set(std::filesystem::path path);

    [[nodiscard]] const nsvd::safetensors::string_map& metadata() const { return file_.metadata(); }
    [[nodiscard]] const std::filesystem::path& path() const { return file_.path(); }
    /// What second moments are about: the same for all calibrations.
    [[nodiscard]] nsvd::moments about() const { return about_; }
    /// What the names of each calibration's tensors begin with.
    [[nodiscard]] const std::vector<std::string>& prefixes() const { return prefixes_; }
    /// Throws nsvd::error naming the file where it is damaged.
    [[nodiscard]] nsvd::calibration<float> at(const std::string& prefix) const;
    /// Throws nsvd::error naming file and site unless these are statistics of all inputs of the model, and of
    /// no others.
    void check(const model& m) const;
    [[nodiscard]] block_statistics block(const model& m, std::size_t block) const;

private:
    nsvd::safetensors::file file_;
    std::vector<std::string> prefixes_;
    nsvd::moments about_ = nsvd::moments::raw;
};

/// The prefix of a site: "model.layers.0.attention.", for an expert "model.layers.0.feed_forward.3.".
[[nodiscard]] std::string site_prefix(const model& m, std::size_t block, const site& where);

/// Statistics read from one file, or pooled from several.
class statistics_in_files final : public statistics_source {
public:
    /// Throws nsvd::error naming the file for statistics of another model, for raw moments where central ones
    /// are wanted, and unless all are of moments about the same.
    statistics_in_files(const model& m, const std::vector<std::filesystem::path>& paths,
                        nsvd::moments wanted);
    [[nodiscard]] block_statistics gather(std::size_t block) override;

private:
    const model& model_;
    std::vector<calibration_set> sets_;
};

/// Writes a file of calibrations under `prefixes`; `make(i)` gives number i. Each is put into the journal,
/// which has to be one that keeps, at once, so that no more than one is in memory and none is made twice. The
/// digest of the journal's job goes into the metadata. `check` is called when all is written, before the file
/// gets its name, and may throw. Of several processes, `make(i)` is called on all, that of `owners[i]` is
/// kept, and the first process writes the file. Throws nsvd::error for what is damaged in the journal, and
/// when writing fails.
void write_calibration_set(const std::filesystem::path& path, const std::vector<std::string>& prefixes,
                           const std::function<nsvd::calibration<float>(std::size_t)>& make,
                           nsvd::safetensors::string_map metadata, const journal& kept,
                           const processes& world = {}, std::span<const int> owners = {},
                           const std::function<void()>& check = {});

/// Whether the file is there already, made by this very job.
[[nodiscard]] bool is_calibration_set_of(const std::filesystem::path& path,
                                         const nlohmann::ordered_json& job);

}  // namespace llm
