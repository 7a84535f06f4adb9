// SPDX-License-Identifier: MIT
// A model's file of weights as several, with their index.
#pragma once

#include "llm_support.hpp"

#include <nsvd/ext/safetensors.hpp>

#include <nlohmann/json.hpp>

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace llm_test {

/// "model-00001-of-00003.safetensors".
inline std::string shard_name(std::size_t shard, std::size_t count) {
    const auto number = [](std::size_t n) {
        return std::string(5 - std::to_string(n).size(), '0') + std::to_string(n);
    };
    return "model-" + number(shard + 1) + "-of-" + number(count) + ".safetensors";
}

/// Deals the tensors of model.safetensors to `count` files in turns, so that what belongs together is apart.
inline void split(const std::filesystem::path& folder, std::size_t count) {
    const auto whole = folder / "model.safetensors";
    {
        const nsvd::safetensors::file file(whole);
        std::vector<std::vector<nsvd::safetensors::tensor>> shards(count);
        nlohmann::json index{{"metadata", {{"total_size", 0}, {"total_parameters", 1}}}};
        std::size_t total = 0;
        for (std::size_t i = 0; i < file.tensors().size(); ++i) {
            const auto& name = file.tensors()[i];
            const auto& view = file.at(name);
            shards[i % count].push_back({name, view.dtype, view.shape, view.bytes});
            index["weight_map"][name] = shard_name(i % count, count);
            total += view.bytes.size();
        }
        index["metadata"]["total_size"] = total;
        for (std::size_t i = 0; i < count; ++i)
            nsvd::safetensors::write(folder / shard_name(i, count), shards[i], {{"format", "pt"}});
        write(folder / "model.safetensors.index.json", index.dump(2));
    }
    std::filesystem::remove(whole);
}

}  // namespace llm_test
