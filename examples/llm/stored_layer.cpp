// SPDX-License-Identifier: MIT
#include "stored_layer.hpp"

#include "tensors.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>

namespace llm {

namespace safetensors = nsvd::safetensors;
using Eigen::Index;

namespace {

constexpr std::int64_t mask_bytes(Index lines) {
    return (lines + 7) / 8;
}

safetensors::tensor pivots_tensor(std::string name, const std::vector<nsvd::index>& indices, Index lines) {
    auto mask = std::make_shared<std::vector<std::byte>>(static_cast<std::size_t>(mask_bytes(lines)));
    for (const auto i : indices)
        (*mask)[static_cast<std::size_t>(i / 8)] |= std::byte{1} << (i % 8);
    return {std::move(name), safetensors::dtype::U8, {mask_bytes(lines)}, *mask, mask};
}

std::vector<nsvd::index> read_pivots(const safetensors::file& file, const std::string& name, Index lines,
                                     Index rank, std::string_view kind) {
    const auto& tensor = file.at(name);
    if (tensor.dtype != safetensors::dtype::U8)
        fail(file, name, fmt::format("dtype {}: want U8", safetensors::name_of(tensor.dtype)));
    check_shape(file, name, {mask_bytes(lines)}, fmt::format("a bit for each of {} {}", lines, kind));
    std::vector<nsvd::index> indices;
    for (Index i = 0; i < 8 * mask_bytes(lines); ++i) {
        if (((tensor.bytes[static_cast<std::size_t>(i / 8)] >> (i % 8)) & std::byte{1}) == std::byte{0})
            continue;
        if (i >= lines) fail(file, name, fmt::format("bit {} is set: there are {} {}", i, lines, kind));
        indices.push_back(i);
    }
    if (static_cast<Index>(indices.size()) != rank)
        fail(file, name, fmt::format("{} bits are set: the rank is {}", indices.size(), rank));
    return indices;
}

void check_type(const safetensors::file& file, const std::string& name, safetensors::dtype type) {
    if (file.at(name).dtype != type)
        fail(file, name,
             fmt::format("dtype {}: the layer's is {}", safetensors::name_of(file.at(name).dtype),
                         safetensors::name_of(type)));
}

linear read_factors(const safetensors::file& file, const std::string& name, Index m, Index n) {
    const auto left = name + ".left.weight", right = name + ".right.weight", pivots = name + ".pivots";
    const auto& shape = file.at(left).shape;
    const Index rank = shape.size() == 2 ? shape[1] : 0;
    if (rank < 1) fail(file, left, "want a matrix of rank 1 or more");
    check_type(file, right, file.at(left).dtype);
    const bool pivoted = file.contains(pivots);
    // k is at least 1: m rows can't be taken for m − k.
    const auto kept = shape[0] == m ? nsvd::lines::columns : nsvd::lines::rows;
    const auto* kind = kept == nsvd::lines::rows ? "rows" : "columns";
    const Index lines = kept == nsvd::lines::rows ? m : n;
    if (pivoted && rank > lines)
        fail(file, left, fmt::format("has the rank {}: there are {} {} to keep", rank, lines, kind));
    const auto factor = [&](const std::string& tensor, Index rows, Index cols) {
        return read_matrix(file, tensor, rows, cols,
                           fmt::format("a layer of {}×{} and rank {}{}", m, n, rank,
                                       pivoted ? fmt::format(" by its {}", kind) : ""));
    };
    if (!pivoted) return linear(nsvd::low_rank<float>{factor(left, m, rank), factor(right, rank, n)});
    nsvd::pivoted_low_rank<float> weight{kept, read_pivots(file, pivots, lines, rank, kind), {}, {}};
    weight.left = factor(left, kept == nsvd::lines::rows ? m - rank : m, rank);
    weight.right = factor(right, rank, kept == nsvd::lines::rows ? n : n - rank);
    return linear(std::move(weight));
}

}  // namespace

stored_layer read_layer(const safetensors::file& file, const std::string& name, Index m, Index n) {
    const auto weight = name + ".weight", bias = name + ".bias";
    const bool in_factors = [&] {
        for (const auto* part : {".left.weight", ".right.weight", ".pivots"}) {
            if (!file.contains(name + part)) continue;
            if (file.contains(weight)) fail(file, name + part, "the layer is stored dense as well");
            return true;
        }
        return false;
    }();
    stored_layer stored{in_factors ? read_factors(file, name, m, n) : linear(read_matrix(file, weight, m, n)),
                        file.at(in_factors ? name + ".left.weight" : weight).dtype};
    if (file.contains(bias)) {
        check_type(file, bias, stored.type);
        stored.layer.set_bias(read_vector(file, bias, m));
    }
    return stored;
}

std::vector<safetensors::tensor> layer_tensors(const linear& layer, safetensors::dtype type,
                                               const std::string& name) {
    std::vector<safetensors::tensor> tensors;
    const auto add = [&](const char* part, const auto& matrix) {
        tensors.push_back(safetensors::from_matrix(name + part, type, matrix));
    };
    if (const auto* dense = layer.dense()) {
        add(".weight", *dense);
    } else if (const auto* factors = layer.factors()) {
        add(".left.weight", factors->left);
        add(".right.weight", factors->right);
    } else {
        const auto& pivoted = *layer.pivoted();
        add(".left.weight", pivoted.left);
        add(".right.weight", pivoted.right);
        tensors.push_back(pivots_tensor(name + ".pivots", pivoted.indices,
                                        pivoted.kept == nsvd::lines::rows ? layer.rows() : layer.cols()));
    }
    if (layer.bias().size() != 0) {
        add(".bias", layer.bias());
        tensors.back().shape = {layer.rows()};
    }
    return tensors;
}

std::int64_t stored_bytes(const linear& layer, safetensors::dtype type) {
    std::int64_t numbers = layer.bias().size();
    std::int64_t mask = 0;
    if (const auto* dense = layer.dense()) {
        numbers += dense->size();
    } else if (const auto* factors = layer.factors()) {
        numbers += factors->left.size() + factors->right.size();
    } else {
        const auto& pivoted = *layer.pivoted();
        numbers += pivoted.left.size() + pivoted.right.size();
        mask = mask_bytes(pivoted.kept == nsvd::lines::rows ? layer.rows() : layer.cols());
    }
    return numbers * static_cast<std::int64_t>(safetensors::size_of(type)) + mask;
}

linear rounded(const linear& layer, safetensors::dtype type, const std::string& name) {
    const auto round = [&]<class Derived>(const Eigen::MatrixBase<Derived>& matrix) {
        using plain = typename Derived::PlainObject;
        const plain result = safetensors::visit_scalar(type, [&](auto stored) -> plain {
            return matrix.template cast<decltype(stored)>().template cast<float>();
        });
        if (!result.allFinite())
            throw nsvd::error(
                fmt::format("layer {}: weights exceed the range of {}", name, safetensors::name_of(type)));
        return result;
    };
    auto bias = round(layer.bias());
    if (const auto* dense = layer.dense()) return linear(round(*dense), std::move(bias));
    if (const auto* f = layer.factors())
        return linear(nsvd::low_rank<float>{round(f->left), round(f->right), f->info}, std::move(bias));
    const auto& p = *layer.pivoted();
    return linear(nsvd::pivoted_low_rank<float>{p.kept, p.indices, round(p.left), round(p.right), p.info},
                  std::move(bias));
}

}  // namespace llm
