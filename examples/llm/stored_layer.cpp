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

std::vector<nsvd::index> read_pivots(const checkpoint& file, const std::string& name, Index lines, Index rank,
                                     std::string_view kind) {
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

void check_type(const checkpoint& file, const std::string& name, safetensors::dtype type) {
    if (file.at(name).dtype != type)
        fail(file, name,
             fmt::format("dtype {}: the layer's is {}", safetensors::name_of(file.at(name).dtype),
                         safetensors::name_of(type)));
}

/// What the header says about a layer.
struct layer_layout {
    layer_form form;
    safetensors::dtype type;
    Index rank = 0;
    nsvd::lines kept = nsvd::lines::rows;
    std::vector<nsvd::index> pivots = {};
    std::array<Index, 2> left{}, right{};  // rows and columns; of a dense weight `left`

    [[nodiscard]] std::int64_t parameters() const { return left[0] * left[1] + right[0] * right[1]; }
};

layer_layout factors_layout(const checkpoint& file, const std::string& name, Index m, Index n) {
    const auto left = name + ".left.weight", right = name + ".right.weight", pivots = name + ".pivots";
    const auto& shape = file.at(left).shape;
    const Index rank = shape.size() == 2 ? shape[1] : 0;
    if (rank < 1) fail(file, left, "want a matrix of rank 1 or more");
    check_type(file, right, file.at(left).dtype);
    const bool pivoted = file.contains(pivots);
    // k is at least 1: m rows can't be taken for m − k.
    const auto kept = shape[0] == m ? nsvd::lines::columns : nsvd::lines::rows;
    const bool rows = pivoted && kept == nsvd::lines::rows, columns = pivoted && !rows;
    const auto* kind = rows ? "rows" : "columns";
    const Index lines = rows ? m : n;
    if (pivoted && rank > lines)
        fail(file, left, fmt::format("has the rank {}: there are {} {} to keep", rank, lines, kind));
    layer_layout layout{.form = !pivoted ? layer_form::factors
                                : rows   ? layer_form::kept_rows
                                         : layer_form::kept_columns,
                        .type = file.at(left).dtype,
                        .rank = rank,
                        .kept = kept,
                        .left = {rows ? m - rank : m, rank},
                        .right = {rank, columns ? n - rank : n}};
    if (pivoted) layout.pivots = read_pivots(file, pivots, lines, rank, kind);
    const auto by = fmt::format("a layer of {}×{} and rank {}{}", m, n, rank,
                                pivoted ? fmt::format(" by its {}", kind) : "");
    check_shape(file, left, {layout.left[0], layout.left[1]}, by);
    check_numbers(file, left);
    check_shape(file, right, {layout.right[0], layout.right[1]}, by);
    return layout;
}

layer_layout layout_of(const checkpoint& file, const std::string& name, Index m, Index n) {
    const auto weight = name + ".weight";
    for (const auto* part : {".left.weight", ".right.weight", ".pivots"}) {
        if (!file.contains(name + part)) continue;
        if (file.contains(weight)) fail(file, name + part, "the layer is stored dense as well");
        return factors_layout(file, name, m, n);
    }
    check_shape(file, weight, {m, n});
    check_numbers(file, weight);
    return {.form = layer_form::dense, .type = file.at(weight).dtype, .rank = std::min(m, n), .left = {m, n}};
}

linear numbers_of(const checkpoint& file, const std::string& name, const layer_layout& layout) {
    const auto read = [&](const char* part, const std::array<Index, 2>& shape) {
        return read_matrix(file, name + part, shape[0], shape[1]);
    };
    if (layout.form == layer_form::dense) return linear(read(".weight", layout.left));
    auto left = read(".left.weight", layout.left);
    auto right = read(".right.weight", layout.right);
    if (layout.form == layer_form::factors)
        return linear(nsvd::low_rank<float>{std::move(left), std::move(right)});
    return linear(
        nsvd::pivoted_low_rank<float>{layout.kept, layout.pivots, std::move(left), std::move(right)});
}

Eigen::VectorXf stored_bias(const checkpoint& file, const std::string& name, Index m,
                            safetensors::dtype type) {
    const auto bias = name + ".bias";
    if (!file.contains(bias)) return {};
    check_type(file, bias, type);
    return read_vector(file, bias, m);
}

class layer_in_file final : public deferred_layer {
public:
    layer_in_file(std::shared_ptr<const checkpoint> file, std::string name, layer_layout layout, Index m,
                  Index n)
        : deferred_layer(layout.form, m, n, layout.rank, layout.parameters()),
          file_(std::move(file)),
          name_(std::move(name)),
          layout_(std::move(layout)) {}

    [[nodiscard]] linear read() const override { return numbers_of(*file_, name_, layout_); }
    [[nodiscard]] safetensors::dtype type() const { return layout_.type; }
    [[nodiscard]] std::int64_t mask() const {
        if (form == layer_form::kept_rows) return mask_bytes(rows);
        return form == layer_form::kept_columns ? mask_bytes(cols) : 0;
    }
    /// The tensors but the bias, under the name of another layer.
    [[nodiscard]] std::vector<safetensors::tensor> tensors(const std::string& name) const {
        std::vector<safetensors::tensor> found;
        for (const auto part : layer_parts) {
            const auto tensor = fmt::format("{}.{}", name_, part);
            if (part == "bias" || !file_->contains(tensor)) continue;
            const auto& view = file_->at(tensor);
            found.push_back({fmt::format("{}.{}", name, part), view.dtype, view.shape, view.bytes});
        }
        return found;
    }

private:
    std::shared_ptr<const checkpoint> file_;
    std::string name_;
    layer_layout layout_;
};

}  // namespace

bool contains_layer(const checkpoint& file, const std::string& name) {
    return std::any_of(layer_parts.begin(), layer_parts.end(), [&](std::string_view part) {
        return file.contains(fmt::format("{}.{}", name, part));
    });
}

stored_layer read_layer(const checkpoint& file, const std::string& name, Index m, Index n) {
    const auto layout = layout_of(file, name, m, n);
    stored_layer stored{numbers_of(file, name, layout), layout.type};
    stored.layer.set_bias(stored_bias(file, name, m, layout.type));
    return stored;
}

stored_layer defer_layer(std::shared_ptr<const checkpoint> file, const std::string& name, Index m, Index n) {
    auto layout = layout_of(*file, name, m, n);
    const auto type = layout.type;
    auto bias = stored_bias(*file, name, m, type);
    return {linear(std::make_shared<const layer_in_file>(std::move(file), name, std::move(layout), m, n),
                   std::move(bias)),
            type};
}

std::vector<safetensors::tensor> layer_tensors(const linear& layer, safetensors::dtype type,
                                               const std::string& name) {
    std::vector<safetensors::tensor> tensors;
    const auto add = [&](const char* part, const auto& matrix) {
        tensors.push_back(safetensors::from_matrix(name + part, type, matrix));
    };
    if (layer.deferred() != nullptr) {
        const auto* in_file = dynamic_cast<const layer_in_file*>(layer.deferred());
        if (in_file == nullptr || in_file->type() != type) return layer_tensors(layer.loaded(), type, name);
        tensors = in_file->tensors(name);
    } else if (const auto* dense = layer.dense()) {
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
    std::int64_t mask = 0;
    std::int64_t numbers = layer.parameters();
    if (const auto* pivoted = layer.pivoted())
        mask = mask_bytes(pivoted->kept == nsvd::lines::rows ? layer.rows() : layer.cols());
    // Its parameters are without the identity block of an interpolative stage.
    if (const auto* factors = layer.factors())
        numbers = factors->left.size() + factors->right.size() + layer.bias().size();
    if (const auto* in_file = dynamic_cast<const layer_in_file*>(layer.deferred())) mask = in_file->mask();
    return numbers * static_cast<std::int64_t>(safetensors::size_of(type)) + mask;
}

linear rounded(const linear& layer, safetensors::dtype type, const std::string& name) {
    if (layer.deferred() != nullptr) return rounded(layer.loaded(), type, name);
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
