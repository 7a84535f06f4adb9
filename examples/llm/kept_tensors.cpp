// SPDX-License-Identifier: MIT
#include "kept_tensors.hpp"

#include "checksum.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <string>
#include <utility>

namespace llm {

namespace safetensors = nsvd::safetensors;

namespace {

constexpr const char* checksum_key = "fnv1a";

/// Of the metadata and, in the order of their data, the tensors.
class tensor_checksum {
public:
    tensor_checksum(const journal& kept, const safetensors::string_map& metadata) : sum_(kept.sum()) {
        for (const auto& [key, value] : metadata)
            if (key != checksum_key) sum_.add(fmt::format("{}={}\n", key, value));
    }
    /// A tensor or a view of one.
    template <class Tensor>
    void add(const std::string& name, const Tensor& t) {
        sum_.add(fmt::format("{} {} {}\n", name, safetensors::name_of(t.dtype), fmt::join(t.shape, "x")));
        sum_.add(t.bytes);
    }
    [[nodiscard]] std::string text() const { return sum_.text(); }

private:
    checksum sum_;
};

}  // namespace

void keep_tensors(const journal& kept, const std::string& name, std::span<const safetensors::tensor> tensors,
                  safetensors::string_map metadata) {
    tensor_checksum sum(kept, metadata);
    for (const auto& t : tensors)
        sum.add(t.name, t);
    metadata[checksum_key] = sum.text();
    safetensors::write(kept.path(name), tensors, metadata);
}

void check_kept(const journal& kept, const safetensors::file& file) {
    tensor_checksum sum(kept, file.metadata());
    for (const auto& name : file.tensors())
        sum.add(name, file.at(name));
    const auto there = file.metadata().find(checksum_key);
    if (there == file.metadata().end() || there->second != sum.text())
        throw nsvd::error(
            fmt::format("{}: is damaged: remove it, and start the same command again", file.path().string()));
}

}  // namespace llm
