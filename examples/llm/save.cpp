// SPDX-License-Identifier: MIT
#include "save.hpp"

#include "files.hpp"
#include "journal.hpp"
#include "stored_layer.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <system_error>
#include <vector>

namespace llm {
namespace {

namespace fs = std::filesystem;
namespace safetensors = nsvd::safetensors;
using json = nlohmann::ordered_json;

/// An empty folder in which the files of `target` are written; removed with what is left in it.
class staging_folder {
public:
    explicit staging_folder(const fs::path& target)
        : parent_(partial_folder(target)), path_(parent_ / staged_name) {
        fs::remove_all(path_);
        fs::create_directories(path_);
    }
    staging_folder(const staging_folder&) = delete;
    staging_folder& operator=(const staging_folder&) = delete;
    ~staging_folder() {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
        fs::remove(parent_, ignored);  // unless a journal lies there as well
    }

    [[nodiscard]] const fs::path& path() const { return path_; }

    /// Gives the folder its name, or every file its place in `target` where that is there: `last` at the
    /// end, in the place of weights that would be read before these.
    void move_into(const fs::path& target, const std::map<std::string, std::string>& last) const {
        if (!fs::exists(target) || fs::is_empty(target)) {
            if (fs::exists(target)) fs::remove(target);
            fs::rename(path_, target);
            return;
        }
        for (const auto* name : {"model.safetensors", index_name})
            if (!fs::exists(path_ / name)) fs::remove(target / name);
        for (const bool at_end : {false, true}) {
            std::vector<fs::path> names;
            for (const auto& entry : fs::directory_iterator(path_))
                if (last.contains(entry.path().filename().string()) == at_end)
                    names.push_back(entry.path().filename());
            for (const auto& name : names)
                fs::rename(path_ / name, target / name);
        }
    }

private:
    static constexpr const char* staged_name = "files";
    fs::path parent_, path_;
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

/// A tensor that is no layer's: as it was, or in the type that all numbers are to have.
safetensors::tensor other_tensor(const model& m, const std::string& name) {
    const auto& source = m.weights().at(name);
    const auto type = m.stored_as().value_or(source.dtype);
    const bool numbers = source.dtype == safetensors::dtype::F64 || source.dtype == safetensors::dtype::F32 ||
                         source.dtype == safetensors::dtype::F16 || source.dtype == safetensors::dtype::BF16;
    if (!numbers || type == source.dtype || source.shape.size() > 2)
        return {name, source.dtype, source.shape, source.bytes};
    auto result =
        layer_tensors(rounded(linear(safetensors::to_matrix<float>(source)), type, name), type, name).front();
    result.name = name;
    result.shape = source.shape;
    return result;
}

/// Writes the files of the weights, as many and under the names that the model has.
void write_weights(const model& m, const fs::path& folder) {
    // Which layers a tensor of the source is replaced by: its own, or all that were fused there.
    std::map<std::string, std::pair<std::size_t, std::size_t>> layers;
    for (std::size_t i = 0; i < m.layers(); ++i) {
        const auto parts = m.fusible(i);
        for (const auto part : layer_parts) {
            layers.emplace(fmt::format("{}.{}", m.layer_name(i), part), std::pair(i, std::size_t{1}));
            if (parts > 1) layers.emplace(fmt::format("{}.{}", m.fused_name(i), part), std::pair(i, parts));
        }
    }
    std::set<std::size_t> written;
    std::map<std::string, std::string> places;
    std::size_t total = 0;
    for (const auto& file : m.weights().files()) {
        std::vector<safetensors::tensor> tensors;
        for (const auto& name : file.tensors()) {
            const auto found = layers.find(name);
            if (found == layers.end()) {
                tensors.push_back(other_tensor(m, name));
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
        const auto name = file.path().filename();
        for (const auto& tensor : tensors) {
            places[tensor.name] = name.string();
            total += tensor.bytes.size();
        }
        safetensors::write(folder / name, tensors, file.metadata());
    }
    if (!m.weights().has_index()) return;
    json index = read_json(m.folder() / index_name);
    auto& metadata = index["metadata"];
    if (!metadata.is_object()) metadata = json::object();
    metadata["total_size"] = total;
    metadata.erase("total_parameters");  // of the dense model
    index["weight_map"] = places;
    write_file(folder / index_name, index.dump(2) + "\n");
}

/// What config.json calls a type.
std::string torch_name(safetensors::dtype type) {
    if (type == safetensors::dtype::F32) return "float32";
    return type == safetensors::dtype::F16 ? "float16" : "bfloat16";
}

void save(const model& m, const fs::path& output, const json& about,
          const std::map<std::string, std::string>& more) {
    const staging_folder staging(output);
    auto config = read_json(m.folder() / "config.json");
    if (m.stored_as()) config["torch_dtype"] = torch_name(*m.stored_as());
    config["nsvd"] = about;
    for (const auto& entry : fs::directory_iterator(m.folder())) {
        const auto name = entry.path().filename();
        if (entry.is_regular_file() && name != "config.json" && name != index_name &&
            !weight_endings.contains(name.extension().string()))
            fs::copy_file(entry, staging.path() / name);
    }
    write_weights(m, staging.path());
    write_file(staging.path() / "config.json", config.dump(2) + "\n");
    for (const auto& [name, text] : more)
        write_file(staging.path() / name, text);
    staging.move_into(output, more);
}

}  // namespace

void check_output(const model& m, const fs::path& output, bool force) {
    const auto fail = [&](const char* why) { throw nsvd::error(output.string() + ": " + why); };
    if (normal(output) == normal(m.folder())) fail("the output folder is the model itself: give another one");
    if (!fs::exists(output)) return;
    if (!fs::is_directory(output)) fail("is no folder: give another --output");
    if (!force && !fs::is_empty(output)) fail("the folder is not empty: give another --output, or --force");
}

void save_model(const model& m, const fs::path& output, const nlohmann::ordered_json& about, bool force,
                const std::map<std::string, std::string>& more) {
    check_output(m, output, force);
    check_layers(m);
    try {
        save(m, normal(output), about, more);
    } catch (const fs::filesystem_error& e) {
        throw nsvd::error(fmt::format("{}: cannot be written: {}", output.string(), e.code().message()));
    }
}

}  // namespace llm
