// SPDX-License-Identifier: MIT
// Any bytes are the files of a model, parted by lines of "%%": a list of files, a.safetensors and
// b.safetensors; or a single file. Their layers can be read, at once or when they are needed, or there is an
// nsvd::error.
#include "checkpoint.hpp"
#include "memory_folder.hpp"
#include "stored_layer.hpp"
#include "tensors.hpp"

#include <nsvd/error.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

/// The numbers of a layer, its pivots written out.
Eigen::MatrixXf numbers_of(const llm::linear& layer) {
    if (const auto* dense = layer.dense()) return *dense;
    if (const auto* factors = layer.factors()) return factors->dense();
    return layer.pivoted()->dense();
}

void read(const std::shared_ptr<const llm::checkpoint>& file, const std::string& name, Eigen::Index m,
          Eigen::Index n) {
    try {
        const auto now = llm::read_layer(*file, name, m, n);
        require(now.layer.rows() == m && now.layer.cols() == n && now.layer.bias().allFinite());
        const auto later = llm::defer_layer(file, name, m, n);
        require(later.type == now.type && later.layer.form() == now.layer.form() &&
                later.layer.rank() == now.layer.rank());
        require(llm::stored_bytes(now.layer, now.type) == llm::stored_bytes(later.layer, later.type));
        if (m * n > 4096) return;
        // Sums of numbers near the end of the range need not be finite.
        const Eigen::MatrixXf one = numbers_of(now.layer), other = numbers_of(later.layer.loaded());
        require(one.allFinite() ? one == other : one.size() == other.size());
    } catch (const nsvd::error&) {
    }
}

void read(const std::filesystem::path& path) {
    try {
        const auto file = std::make_shared<const llm::checkpoint>(path);
        for (const auto& tensor : file->tensors()) {
            require(file->contains(tensor));
            const auto& shape = file->at(tensor).shape;
            if (shape.size() != 2) continue;
            const auto ends_in = [&](std::string_view part) { return tensor.ends_with(part); };
            if (ends_in(".left.weight")) {
                const auto name = tensor.substr(0, tensor.size() - std::string_view(".left.weight").size());
                const auto right = name + ".right.weight";
                if (!file->contains(right) || file->at(right).shape.size() != 2) continue;
                const auto m = shape[0], k = shape[1], n = file->at(right).shape[1];
                if (m > 100000 || n > 100000 || k > 100000) continue;
                // Plain, by rows, by columns.
                read(file, name, m, n);
                read(file, name, m + k, n);
                read(file, name, m, n + k);
            } else if (ends_in(".weight") && !ends_in(".right.weight")) {
                const auto name = tensor.substr(0, tensor.size() - std::string_view(".weight").size());
                read(file, name, shape[0], shape[1]);
            }
        }
    } catch (const nsvd::error&) {
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    static const fuzz::memory_folder folder;
    const auto parts = fuzz::parts(bytes, size);
    if (parts.size() == 1) {
        read(folder.write("single.safetensors", parts[0]));
        return 0;
    }
    folder.write(llm::index_name, parts[0]);
    folder.write("a.safetensors", parts[1]);
    if (parts.size() > 2) folder.write("b.safetensors", parts[2]);
    read(folder.path());
    std::filesystem::remove(folder.path() / "b.safetensors");
    return 0;
}
