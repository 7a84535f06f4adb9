// SPDX-License-Identifier: MIT
/// Writing a model as a folder.
#pragma once

#include "model.hpp"
#include "processes.hpp"
#include "progress.hpp"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <functional>
#include <map>
#include <string>

namespace llm {

/// Throws nsvd::error unless a model can be written to `output`: another folder than the model's own, that is
/// not there, is empty or may be overwritten (`force`).
void check_output(const model& m, const std::filesystem::path& output, bool force);

/// Writes the model's folder with every layer as it is in the model (stored_layer.hpp), in as many files of
/// weights, `about` under the key `nsvd` of config.json, the files `more` (by their names), everything else
/// byte for byte as in the source, but for the type of numbers where the model is to be stored in another
/// (`model::store_as`). The files are written to OUTPUT.partial and get their names when all are complete,
/// `more` at the end; files of other names in an existing folder are left alone, but for a model.safetensors
/// or an index that would be read in their place. Throws nsvd::error like check_output, or when writing
/// fails. `check` is called when all is written, before any file gets its name, and may throw. What has its
/// name has been flushed to the disk. Of several processes, each writes some of the files of weights, the
/// first everything else. One progress step a tensor of the source.
void save_model(const model& m, const std::filesystem::path& output, const nlohmann::ordered_json& about,
                bool force, const std::map<std::string, std::string>& more = {}, progress* bar = nullptr,
                const processes& world = {}, const std::function<void()>& check = {});

}  // namespace llm
