// SPDX-License-Identifier: MIT
/// The tensors of a model, in one safetensors file or in several.
#pragma once

#include <nsvd/ext/safetensors.hpp>

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace llm {

/// All tensors of a safetensors file, or of a folder: `model.safetensors`, or else the files that
/// `model.safetensors.index.json` names for its tensors (`weight_map`). Mapped, so that only what is read
/// takes memory.
class checkpoint {
public:
    /// Throws nsvd::error naming the file for what safetensors::file refuses, and for an index that names
    /// files outside of the folder, or other tensors than its files have.
    explicit checkpoint(std::filesystem::path path);

    /// File after file, in the order of their data.
    [[nodiscard]] const std::vector<std::string>& tensors() const { return names_; }
    [[nodiscard]] bool contains(const std::string& name) const { return places_.contains(name); }
    /// Throws nsvd::error for a name that is not there.
    [[nodiscard]] const nsvd::safetensors::view& at(const std::string& name) const;

    [[nodiscard]] const std::vector<nsvd::safetensors::file>& files() const { return files_; }
    /// Whether an index says which files there are.
    [[nodiscard]] bool has_index() const { return has_index_; }
    /// The file of a tensor; what was opened for one that is not there.
    [[nodiscard]] const std::filesystem::path& path_of(const std::string& name) const;

private:
    void add(const std::filesystem::path& file);

    std::filesystem::path path_;
    std::vector<nsvd::safetensors::file> files_;
    std::vector<std::string> names_;
    std::map<std::string, std::size_t> places_;  // which file
    bool has_index_ = false;
};

/// The name of the list of files in a folder that has several.
inline constexpr const char* index_name = "model.safetensors.index.json";

}  // namespace llm
