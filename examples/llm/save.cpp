// SPDX-License-Identifier: MIT
#include "save.hpp"

#include "assignment.hpp"
#include "files.hpp"
#include "journal.hpp"
#include "stored_layer.hpp"

#include <nsvd/error.hpp>
#include <nsvd/ext/atomic_file.hpp>

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
    staging_folder(const fs::path& target, const processes& world)
        : parent_(partial_folder(target)), path_(parent_ / staged_name), own_(world.is_first()) {
        if (own_) {
            fs::remove_all(path_);
            fs::create_directories(path_);
        }
        world.wait();
    }
    staging_folder(const staging_folder&) = delete;
    staging_folder& operator=(const staging_folder&) = delete;
    ~staging_folder() {
        if (!own_) return;
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
            nsvd::flush_to_disk(target.parent_path());
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
            nsvd::flush_to_disk(target);
        }
    }

private:
    static constexpr const char* staged_name = "files";
    fs::path parent_, path_;
    bool own_;
};

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

/// What stands in the result for each tensor of the model.
class written_tensors {
public:
    explicit written_tensors(const model& m) : model_(m) {
        for (std::size_t i = 0; i < m.layers(); ++i) {
            const auto parts = m.fusible(i);
            for (const auto part : layer_parts) {
                layers_.emplace(fmt::format("{}.{}", m.layer_name(i), part), std::pair(i, std::size_t{1}));
                if (parts > 1)
                    layers_.emplace(fmt::format("{}.{}", m.fused_name(i), part), std::pair(i, parts));
            }
        }
        // A layer comes with the first of its tensors.
        std::set<std::size_t> seen;
        for (const auto& file : m.weights().files())
            for (const auto& name : file.tensors()) {
                const auto found = layers_.find(name);
                if (found == layers_.end()) continue;
                const auto [first, count] = found->second;
                for (std::size_t i = first; i < first + count; ++i)
                    if (!m.is_within_fused(i) && seen.insert(i).second) places_[name].push_back(i);
            }
    }

    /// In place of the tensor `name`: itself, those of a layer, or none.
    [[nodiscard]] std::vector<safetensors::tensor> in_place_of(const std::string& name) const {
        if (!layers_.contains(name)) return {other_tensor(model_, name)};
        std::vector<safetensors::tensor> tensors;
        if (const auto found = places_.find(name); found != places_.end())
            for (const auto i : found->second) {
                const auto stored = model_.is_fused(i) ? model_.fused_name(i) : model_.layer_name(i);
                auto parts = layer_tensors(model_.layer(i), model_.layer_dtype(i), stored);
                std::move(parts.begin(), parts.end(), std::back_inserter(tensors));
            }
        return tensors;
    }

private:
    const model& model_;
    // The layers that have a tensor: one, or all that were fused there; and those written in its place.
    std::map<std::string, std::pair<std::size_t, std::size_t>> layers_;
    std::map<std::string, std::vector<std::size_t>> places_;
};

/// Writes the files of the weights, as many and under the names that the model has.
void write_weights(const model& m, const fs::path& folder, progress& bar, const processes& world) {
    const written_tensors result(m);
    std::map<std::string, std::string> places;
    std::size_t total = 0;
    const auto& files = m.weights().files();
    // The largest first, to whoever has written least.
    std::vector<double> sizes;
    for (const auto& file : files) {
        sizes.push_back(0);
        for (const auto& name : file.tensors())
            sizes.back() += static_cast<double>(file.at(name).bytes.size());
    }
    const auto writers = assign(sizes, world.count());
    for (std::size_t f = 0; f < files.size(); ++f) {
        const auto& file = files[f];
        const bool mine = writers[f] == static_cast<int>(world.own());
        // The first process makes the index.
        if (!mine && !(world.is_first() && m.weights().has_index())) continue;
        bar.expect(file.tensors().size());
        const auto name = file.path().filename();
        // Made twice, for the header and for the data: all of them need not be in memory.
        std::vector<safetensors::entry> entries;
        for (const auto& source : file.tensors())
            for (const auto& tensor : result.in_place_of(source)) {
                entries.push_back({tensor.name, tensor.dtype, tensor.shape});
                places[tensor.name] = name.string();
                total += tensor.bytes.size();
            }
        if (!mine) continue;
        safetensors::writer out(folder / name, entries, file.metadata());
        for (const auto& source : file.tensors()) {
            for (const auto& tensor : result.in_place_of(source))
                out.add(tensor.bytes);
            bar.step();
        }
        out.commit();
    }
    if (!m.weights().has_index() || !world.is_first()) return;
    json index = read_json(m.folder() / index_name);
    auto& metadata = index["metadata"];
    if (!metadata.is_object()) metadata = json::object();
    metadata["total_size"] = total;
    metadata.erase("total_parameters");  // of the dense model
    index["weight_map"] = places;
    write_file(folder / index_name, index.dump(2) + "\n");
}

/// As it is, flushed to the disk.
void copy_flushed(const fs::path& from, const fs::path& to) {
    std::error_code failure;
    do
        fs::copy_file(from, to, fs::copy_options::overwrite_existing, failure);
    while (failure == std::errc::interrupted);
    if (failure)
        throw nsvd::error(
            fmt::format("{}: cannot be copied to {}: {}", from.string(), to.string(), failure.message()));
    nsvd::flush_to_disk(to);
}

/// What config.json calls a type.
std::string torch_name(safetensors::dtype type) {
    if (type == safetensors::dtype::F32) return "float32";
    return type == safetensors::dtype::F16 ? "float16" : "bfloat16";
}

void save(const model& m, const fs::path& output, const json& about,
          const std::map<std::string, std::string>& more, progress& bar, const processes& world,
          const std::function<void()>& check) {
    const staging_folder staging(output, world);
    if (!world.is_first()) {
        write_weights(m, staging.path(), bar, world);
        return world.wait();
    }
    auto config = read_json(m.folder() / "config.json");
    if (m.stored_as()) config["torch_dtype"] = torch_name(*m.stored_as());
    config["nsvd"] = about;
    for (const auto& entry : fs::directory_iterator(m.folder())) {
        const auto name = entry.path().filename();
        if (entry.is_regular_file() && name != "config.json" && name != index_name &&
            !weight_endings.contains(name.extension().string()))
            copy_flushed(entry.path(), staging.path() / name);
    }
    write_weights(m, staging.path(), bar, world);
    write_file(staging.path() / "config.json", config.dump(2) + "\n");
    for (const auto& [name, text] : more)
        write_file(staging.path() / name, text);
    world.wait();
    if (check) check();
    staging.move_into(output, more);
}

}  // namespace

void check_output(const model& m, const fs::path& output, bool force) {
    const auto fail = [&](const char* why) { throw nsvd::error(output.string() + ": " + why); };
    if (resolved(output) == resolved(m.folder()))
        fail("the output folder is the model itself: give another one");
    if (!fs::exists(output)) return;
    if (!fs::is_directory(output)) fail("is no folder: give another --output");
    if (!force && !fs::is_empty(output)) fail("the folder is not empty: give another --output, or --force");
}

void save_model(const model& m, const fs::path& output, const nlohmann::ordered_json& about, bool force,
                const std::map<std::string, std::string>& more, progress* bar, const processes& world,
                const std::function<void()>& check) {
    check_output(m, output, force);
    check_layers(m);
    progress silent;
    try {
        save(m, resolved(output), about, more, bar != nullptr ? *bar : silent, world, check);
    } catch (const nsvd::error&) {
        // What was cut off a mapped file can't be written either.
        for (const auto& file : m.weights().files())
            file.check_unchanged();
        throw;
    } catch (const fs::filesystem_error& e) {
        throw nsvd::error(fmt::format("{}: cannot be written: {}", output.string(), e.code().message()));
    }
}

}  // namespace llm
