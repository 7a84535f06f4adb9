// SPDX-License-Identifier: MIT
#include "checkpoint.hpp"

#include "files.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <utility>

namespace llm {

namespace fs = std::filesystem;

checkpoint::checkpoint(fs::path path) : path_(std::move(path)) {
    const auto index = path_ / index_name;
    if (!fs::is_directory(path_) || fs::exists(path_ / "model.safetensors") || !fs::exists(index)) {
        if (fs::is_directory(path_)) path_ /= "model.safetensors";
        add(path_);
        return;
    }
    const auto fail = [&](const std::string& what) {
        throw nsvd::error(fmt::format("{}: {}", index.string(), what));
    };
    has_index_ = true;
    const auto json = read_json(index);
    const auto map = json.find("weight_map");
    if (map == json.end() || !map->is_object() || map->empty())
        fail("weight_map is no object that gives tensors their files");
    std::map<std::string, std::string> file_of;
    std::map<std::string, std::size_t> tensors;  // how many each file is to have
    for (const auto& [tensor, file] : map->items()) {
        const auto name = file.is_string() ? file.get<std::string>() : std::string();
        if (name.empty() || fs::path(name).filename() != name || name == "." || name == "..")
            fail(fmt::format("tensor '{}' is in {}: want the name of a file in this folder", tensor,
                             file.dump()));
        file_of[tensor] = name;
        ++tensors[name];
    }
    for (const auto& [name, count] : tensors) {
        add(path_ / name);
        for (const auto& tensor : files_.back().tensors())
            if (const auto found = file_of.find(tensor); found == file_of.end() || found->second != name)
                fail(fmt::format("has no tensor '{}' in {}", tensor, name));
        if (files_.back().tensors().size() != count)
            fail(fmt::format("{} tensors are said to be in {}, which has {}", count, name,
                             files_.back().tensors().size()));
    }
}

void checkpoint::add(const fs::path& file) {
    const auto place = files_.size();
    files_.emplace_back(file);
    for (const auto& name : files_.back().tensors()) {
        names_.push_back(name);
        places_.emplace(name, place);
    }
}

const nsvd::safetensors::view& checkpoint::at(const std::string& name) const {
    const auto found = places_.find(name);
    if (found == places_.end())
        throw nsvd::error(fmt::format("{}: tensor '{}': is missing", path_.string(), name));
    return files_[found->second].at(name);
}

const fs::path& checkpoint::path_of(const std::string& name) const {
    const auto found = places_.find(name);
    return found == places_.end() ? path_ : files_[found->second].path();
}

}  // namespace llm
