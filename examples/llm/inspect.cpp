// SPDX-License-Identifier: MIT
#include "inspect.hpp"

#include "compression_report.hpp"
#include "files.hpp"
#include "stored_layer.hpp"
#include "threads.hpp"

#include <nsvd/error.hpp>
#include <nsvd/every_rank.hpp>
#include <nsvd/ext/safetensors.hpp>

#include <Eigen/QR>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

namespace llm {
namespace {

namespace safetensors = nsvd::safetensors;
using json = nlohmann::ordered_json;

std::string form_of(const linear& layer) {
    switch (layer.form()) {
        case layer_form::dense:
            return "dense";
        case layer_form::factors:
            return "factors";
        case layer_form::kept_rows:
            return "rows";
        default:
            return "columns";
    }
}

inspected_layer look_at(const model& m, std::size_t i, const linear& layer) {
    inspected_layer found{.name = m.is_fused(i) ? m.fused_name(i) : m.layer_name(i),
                          .block = static_cast<std::int64_t>(m.block_of(i)),
                          .m = layer.rows(),
                          .n = layer.cols(),
                          .form = form_of(layer),
                          .rank = layer.rank(),
                          .full_rank = std::min(layer.rows(), layer.cols()),
                          .parameters = layer.parameters(),
                          .bytes = stored_bytes(layer, m.layer_dtype(i)),
                          .dtype = std::string(safetensors::name_of(m.layer_dtype(i)))};
    found.kind = found.name.substr(fmt::format("{}.{}.", m.shape().names.blocks, found.block).size());
    const auto size = static_cast<std::int64_t>(safetensors::size_of(m.layer_dtype(i)));
    found.dense_bytes = (found.m * found.n + layer.bias().size()) * size;
    return found;
}

/// σ² of W as it is. Those of left · right are those of the triangles of their QR decompositions.
Eigen::VectorXd squares_of(const linear& layer) {
    const auto of = [](const Eigen::MatrixXf& w) -> Eigen::VectorXd {
        return nsvd::every_rank<float>(w).info().spectrum;
    };
    if (const auto* dense = layer.dense()) return of(*dense);
    const auto d = layer.pivoted() != nullptr ? layer.pivoted()->plain() : *layer.factors();
    const auto k = d.rank();
    if (k >= std::min(d.left.rows(), d.right.cols())) return of(layer.product());
    const auto triangle = [&](const Eigen::MatrixXf& tall) -> Eigen::MatrixXf {
        return Eigen::HouseholderQR<Eigen::MatrixXf>(tall)
            .matrixQR()
            .topRows(k)
            .triangularView<Eigen::Upper>();
    };
    return of(triangle(d.left) * triangle(d.right.transpose()).transpose());
}

/// Bytes of what is no linear layer of a block.
void count_rest(const model& m, inspection& found) {
    const auto& names = m.shape().names;
    std::int64_t all = 0;
    for (const auto& name : m.weights().tensors()) {
        const auto bytes = static_cast<std::int64_t>(m.weights().at(name).bytes.size());
        all += bytes;
        if (name == names.embedding || name == names.positions) found.embedding_bytes += bytes;
        if (name == names.head) found.head_bytes += bytes;
    }
    found.other_bytes = all - found.layer_bytes - found.embedding_bytes - found.head_bytes;
}

std::map<std::string, sampled_spectrum> reported_spectra(const std::filesystem::path& path) {
    if (!std::filesystem::exists(path)) return {};
    const auto source = read_json(path);
    std::map<std::string, sampled_spectrum> found;
    // Other programs write files of this name as well.
    if (!is_compression_report(source)) return found;
    try {
        const auto report = read_compression_report(source);
        for (std::size_t i = 0; i < report.layers.size(); ++i)
            if (!report.layers[i].spectrum.empty()) found[report.layers[i].name] = report.layers[i].spectrum;
    } catch (const nsvd::error& e) {
        throw nsvd::error(fmt::format("{}: {}", path.string(), e.what()));
    }
    return found;
}

}  // namespace

inspection inspect(const model& m, spectra wanted, unsigned threads, progress& bar) {
    inspection found{.folder = m.folder().string(), .shape = m.shape()};
    std::vector<std::size_t> layers;
    for (std::size_t i = 0; i < m.layers(); ++i)
        if (!m.is_within_fused(i)) layers.push_back(i);
    const auto reported = reported_spectra(m.folder() / "report.json");
    const bool compute = wanted == spectra::computed && reported.empty();
    found.spectra_from = !reported.empty() ? "report.json" : compute ? "the weights" : "";
    found.layers.resize(layers.size());
    parallel_for(layers.size(), threads, [&](std::size_t job) {
        const auto& layer = m.layer(layers[job]);
        auto& made = found.layers[job];
        made = look_at(m, layers[job], layer);
        if (const auto known = reported.find(made.name); known != reported.end())
            made.spectrum = known->second;
        try {
            if (compute) made.spectrum = sample_spectrum(squares_of(layer.loaded()));
        } catch (const nsvd::error& e) {
            throw nsvd::error(fmt::format("layer {}: {}", made.name, e.what()));
        }
        bar.step();
    });
    for (const auto& layer : found.layers) {
        found.layer_parameters += layer.parameters;
        found.layer_bytes += layer.bytes;
        found.dense_layer_bytes += layer.dense_bytes;
    }
    count_rest(m, found);
    const auto config = read_json(m.folder() / "config.json");
    if (config.contains("nsvd")) found.about = config["nsvd"];
    return found;
}

json to_json(const inspection& found) {
    const auto& shape = found.shape;
    json layers = json::array();
    for (const auto& layer : found.layers) {
        json made{{"name", layer.name},
                  {"block", layer.block},
                  {"kind", layer.kind},
                  {"m", layer.m},
                  {"n", layer.n},
                  {"form", layer.form},
                  {"rank", layer.rank},
                  {"full_rank", layer.full_rank},
                  {"parameters", layer.parameters},
                  {"bytes", layer.bytes},
                  {"dense_bytes", layer.dense_bytes},
                  {"dtype", layer.dtype}};
        if (!layer.spectrum.empty())
            made["spectrum"] = {{"index", layer.spectrum.index}, {"value", layer.spectrum.value}};
        layers.push_back(std::move(made));
    }
    return {{"model", found.folder},
            {"architecture", shape.model_type},
            {"blocks", shape.blocks},
            {"hidden_size", shape.hidden_size},
            {"intermediate_size", shape.intermediate_size},
            {"heads", shape.heads},
            {"key_value_heads", shape.key_value_heads},
            {"head_dim", shape.head_dim},
            {"context", shape.max_position_embeddings},
            {"vocabulary", shape.vocab_size},
            {"tied_embeddings", shape.tied_embeddings},
            {"bytes",
             {{"layers", found.layer_bytes},
              {"layers_dense", found.dense_layer_bytes},
              {"embeddings", found.embedding_bytes},
              {"head", found.head_bytes},
              {"other", found.other_bytes}}},
            {"parameters", found.layer_parameters},
            {"nsvd", found.about},
            {"spectra", found.spectra_from.empty() ? json(nullptr) : json(found.spectra_from)},
            {"layers", layers}};
}

}  // namespace llm
