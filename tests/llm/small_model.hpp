// SPDX-License-Identifier: MIT
// A random model in a folder of its own, and what tests of compression ask about models.
#pragma once

#include "llm_support.hpp"
#include "model.hpp"
#include "naive_llama.hpp"
#include "recipe.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace llm_test {

/// The folder of a random model.
class small_model {
public:
    explicit small_model(random_model source = {}) : source_(source) { source_.write_to(folder_.path()); }

    [[nodiscard]] const std::filesystem::path& path() const { return folder_.path(); }
    [[nodiscard]] const random_model& source() const { return source_; }
    /// `count` windows of `length` random tokens.
    [[nodiscard]] std::vector<std::vector<llm::token>> windows(std::size_t count, std::size_t length) const {
        const auto tokens = source_.tokens(count * length);
        std::vector<std::vector<llm::token>> list;
        for (auto at = tokens.begin(); at != tokens.end(); at += static_cast<std::ptrdiff_t>(length))
            list.emplace_back(at, at + static_cast<std::ptrdiff_t>(length));
        return list;
    }

private:
    random_model source_;
    scratch folder_;
};

inline llm::recipe recipe_at(std::string_view name, double compression) {
    auto r = llm::parse_recipe(name);
    r.compression = compression;
    return r;
}

/// The dense layers of a model.
inline std::vector<llm::linear> layers_of(const llm::model& m) {
    std::vector<llm::linear> layers;
    for (std::size_t i = 0; i < m.layers(); ++i)
        layers.push_back(m.layer(i));
    return layers;
}

/// Bytes of all tensors of layer `name`.
inline std::int64_t bytes_in(const llm::checkpoint& file, const std::string& name) {
    std::int64_t bytes = 0;
    for (const auto& tensor : file.tensors())
        if (tensor.starts_with(name + ".")) bytes += static_cast<std::int64_t>(file.at(tensor).bytes.size());
    return bytes;
}

}  // namespace llm_test
