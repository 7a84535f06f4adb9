// SPDX-License-Identifier: MIT
#include "compress.hpp"
#include "files.hpp"
#include "stored_layer.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <system_error>
#include <unistd.h>
#include <vector>

namespace llm {
namespace {

namespace fs = std::filesystem;

/// A new folder beside `target`; removed with what is left in it.
class staging_folder {
public:
    explicit staging_folder(const fs::path& target)
        : path_(target.parent_path() /
                fmt::format(".{}.{}.partial", target.filename().string(), ::getpid())) {
        fs::create_directories(target.parent_path());
        fs::create_directory(path_);
    }
    staging_folder(const staging_folder&) = delete;
    staging_folder& operator=(const staging_folder&) = delete;
    ~staging_folder() {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }

    [[nodiscard]] const fs::path& path() const { return path_; }

    /// Gives every file its place in `target`.
    void move_into(const fs::path& target) const {
        fs::create_directory(target);
        for (const auto& entry : fs::directory_iterator(path_))
            fs::rename(entry, target / entry.path().filename());
    }

private:
    fs::path path_;
};

/// Absolute, without the trailing slash that would leave an empty file name.
fs::path normal(const fs::path& path) {
    const auto result = fs::weakly_canonical(fs::absolute(path));
    return result.has_filename() ? result : result.parent_path();
}

/// Files that may hold the dense weights once more.
const std::set<std::string> weight_endings{".safetensors", ".bin", ".pt", ".pth", ".h5", ".onnx", ".gguf"};

/// Throws unless every layer is there, by itself or in a fused one: a folder without could not be read.
void check_layers(const model& m) {
    for (std::size_t first = 0, count = 0; first < m.layers(); first += count) {
        count = m.is_fused(first) ? m.fusible(first) : 1;
        Eigen::Index rows = 0;
        bool apart = false;
        for (std::size_t i = first; i < first + count; ++i) {
            rows += m.layer_shape(i).first;
            apart = apart || (i > first && !m.is_within_fused(i));
        }
        if (m.layer(first).rows() != rows || apart)
            throw nsvd::error(fmt::format("layer {}: has {} rows of {}, cannot be written",
                                          count > 1 ? m.fused_name(first) : m.layer_name(first),
                                          m.layer(first).rows(), rows));
    }
}

void write_weights(const model& m, const fs::path& path) {
    namespace safetensors = nsvd::safetensors;
    // Which layers a tensor of the source is replaced by: its own, or all that were fused there.
    std::map<std::string, std::pair<std::size_t, std::size_t>> layers;
    for (std::size_t i = 0; i < m.layers(); ++i) {
        const auto parts = m.fusible(i);
        for (const auto part : layer_parts) {
            layers.emplace(fmt::format("{}.{}", m.layer_name(i), part), std::pair(i, std::size_t{1}));
            if (parts > 1) layers.emplace(fmt::format("{}.{}", m.fused_name(i), part), std::pair(i, parts));
        }
    }
    std::vector<safetensors::tensor> tensors;
    std::set<std::size_t> written;
    for (const auto& name : m.file().tensors()) {
        const auto found = layers.find(name);
        if (found == layers.end()) {
            const auto& source = m.file().at(name);
            tensors.push_back({name, source.dtype, source.shape, source.bytes});
            continue;
        }
        const auto [first, count] = found->second;
        for (std::size_t i = first; i < first + count; ++i) {
            if (m.is_within_fused(i) || !written.insert(i).second) continue;
            const auto stored = m.is_fused(i) ? m.fused_name(i) : m.layer_name(i);
            auto parts = layer_tensors(m.layer(i), m.layer_dtype(i), stored);
            std::move(parts.begin(), parts.end(), std::back_inserter(tensors));
        }
    }
    safetensors::write(path, tensors, m.file().metadata());
}

void save(const model& m, const fs::path& output, const nlohmann::ordered_json& about) {
    const staging_folder staging(output);
    auto config = read_json(m.folder() / "config.json");
    config["nsvd"] = about;
    for (const auto& entry : fs::directory_iterator(m.folder())) {
        const auto name = entry.path().filename();
        if (entry.is_regular_file() && name != "config.json" &&
            !weight_endings.contains(name.extension().string()))
            fs::copy_file(entry, staging.path() / name);
    }
    write_weights(m, staging.path() / "model.safetensors");
    llm::output(staging.path() / "config.json").write(config.dump(2) + "\n");
    staging.move_into(output);
}

}  // namespace

void check_output(const model& m, const fs::path& output, bool force) {
    const auto fail = [&](const char* why) { throw nsvd::error(output.string() + ": " + why); };
    if (normal(output) == normal(m.folder())) fail("the output folder is the model itself: give another one");
    if (!fs::exists(output)) return;
    if (!fs::is_directory(output)) fail("is no folder: give another --output");
    if (!force && !fs::is_empty(output)) fail("the folder is not empty: give another --output, or --force");
}

void save_model(const model& m, const fs::path& output, const nlohmann::ordered_json& about, bool force) {
    check_output(m, output, force);
    check_layers(m);
    try {
        save(m, normal(output), about);
    } catch (const fs::filesystem_error& e) {
        throw nsvd::error(fmt::format("{}: cannot be written: {}", output.string(), e.code().message()));
    }
}

}  // namespace llm
