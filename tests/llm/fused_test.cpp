// SPDX-License-Identifier: MIT
// Layers that share their input as one: in the forward pass, in files, and compressed once more.
#include "compare.hpp"
#include "compress.hpp"
#include "perplexity.hpp"
#include "save.hpp"
#include "small_model.hpp"
#include "stored_layer.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <array>

using llm_test::error_of;
using llm_test::recipe_at;
namespace st = nsvd::safetensors;

namespace {

llm::compression_input text_of(std::vector<llm::token> tokens, unsigned threads = 1) {
    return {.calibration = std::move(tokens),
            .calibration_name = "text",
            .sample = {.context = 20},
            .threads = threads};
}

/// W and b of layers from `first` on, one below the other, row by row.
llm::linear stacked(const std::vector<llm::linear>& layers, std::size_t first, std::size_t count,
                    bool biased) {
    Eigen::Index rows = 0;
    for (std::size_t i = first; i < first + count; ++i)
        rows += layers[i].rows();
    Eigen::MatrixXf w(rows, layers[first].cols());
    Eigen::VectorXf b(biased ? rows : 0);
    Eigen::Index row = 0;
    for (std::size_t i = first; i < first + count; ++i)
        for (Eigen::Index j = 0; j < layers[i].rows(); ++j, ++row) {
            w.row(row) = layers[i].dense()->row(j);
            if (biased) b(row) = layers[i].bias()(j);
        }
    return llm::linear(w, b);
}

}  // namespace

TEST_CASE("a fused layer gives what its parts give", "[llm]") {
    for (const bool biased : {false, true}) {
        llm_test::random_model source;
        source.biased = biased;
        const llm_test::small_model where(source);
        const llm::model apart(where.path());
        llm::model fused(where.path());
        const auto layers = llm_test::layers_of(apart);
        for (const auto& [first, count] : std::vector<std::pair<std::size_t, std::size_t>>{{0, 3}, {11, 2}}) {
            fused.layer(first) = stacked(layers, first, count, biased);
            for (std::size_t i = first + 1; i < first + count; ++i)
                fused.layer(i) = llm::linear();
        }
        CHECK(fused.is_fused(0));
        CHECK(fused.is_within_fused(1));
        CHECK(fused.is_within_fused(2));
        CHECK_FALSE(fused.is_fused(4));
        CHECK(fused.is_fused(11));
        CHECK(fused.is_within_fused(12));
        CHECK(fused.fused_name(0) == "model.layers.0.self_attn.qkv_proj");
        CHECK(fused.fused_name(11) == "model.layers.1.mlp.gate_up_proj");
        const auto tokens = source.tokens(90);
        const Eigen::MatrixXf expected = apart.forward(tokens);
        CHECK((fused.forward(tokens) - expected).norm() <= 1e-5F * expected.norm());
    }
}

TEST_CASE("units: the layers by themselves, or what shares its input as one", "[llm]") {
    llm_test::random_model source;
    source.biased = true;
    const llm_test::small_model where(source);
    llm::model model(where.path());
    auto layers = llm_test::layers_of(model);
    const auto apart = llm::units_of(model, false);
    REQUIRE(apart.size() == 14);
    for (std::size_t i = 0; i < 14; ++i) {
        CHECK(apart[i].layers == std::vector<std::size_t>{i});
        CHECK(apart[i].name == model.layer_name(i));
        CHECK(llm::weight_of(apart[i], layers) == *layers[i].dense());
        CHECK(llm::bias_of(apart[i], layers) == layers[i].bias());
    }
    const auto joint = llm::units_of(model, true);
    REQUIRE(joint.size() == 8);
    const std::array<std::pair<std::size_t, std::size_t>, 4> parts{{{0, 3}, {3, 1}, {4, 2}, {6, 1}}};
    for (std::size_t i = 0; i < 8; ++i) {
        const auto [first, count] = parts[i % 4];
        const auto at = i / 4 * 7 + first;
        const auto all = stacked(layers, at, count, true);
        CHECK(joint[i].layers.size() == count);
        CHECK(joint[i].layers.front() == at);
        CHECK(joint[i].shape.rows == all.rows());
        CHECK(joint[i].shape.cols == all.cols());
        CHECK(llm::weight_of(joint[i], layers) == *all.dense());
        CHECK(llm::bias_of(joint[i], layers) == all.bias());
    }
    CHECK(joint[4].name == "model.layers.1.self_attn.qkv_proj");
    CHECK(joint[5].name == "model.layers.1.self_attn.o_proj");
    // A part without a bias has one of zeros beside others, and all without have none.
    layers[1].set_bias({});
    auto expected = stacked(layers, 0, 1, true).bias();
    CHECK(llm::bias_of(joint[0], layers).head(16) == layers[0].bias());
    CHECK(llm::bias_of(joint[0], layers).segment(16, 8) == Eigen::VectorXf::Zero(8));
    CHECK(llm::bias_of(joint[0], layers).tail(8) == layers[2].bias());
    layers[0].set_bias({});
    layers[2].set_bias({});
    CHECK(llm::bias_of(joint[0], layers).size() == 0);
}

TEST_CASE("joint compression, saved and read back, gives the same logits", "[llm]") {
    for (const auto dtype : {st::dtype::F32, st::dtype::BF16})
        for (const auto* name : {"nsvd-1+joint", "asvd-1+joint+pivoted+bias", "svd+joint+greedy"}) {
            CAPTURE(dtype, name);
            llm_test::random_model source;
            source.dtype = dtype;
            source.biased = dtype == st::dtype::BF16;
            const llm_test::small_model where(source);
            const llm_test::scratch folder;
            llm::model model(where.path());
            llm::progress silent;
            llm::compressor compress(model, text_of(source.tokens(400)), silent);
            const auto records = compress.run(recipe_at(name, 0.3));
            REQUIRE(records.size() == 8);
            llm::save_model(model, folder / "joint", {}, false);
            const llm::model back(folder / "joint");
            const auto tokens = source.tokens(60);
            const Eigen::MatrixXf logits = model.forward(tokens);
            REQUIRE(logits.allFinite());
            CHECK(back.forward(tokens) == logits);
            std::size_t of_layers = 0;
            for (const auto& record : records) {
                CAPTURE(record.name);
                CHECK(record.bytes == llm_test::bytes_in(back.weights(), record.name));
                for (const auto part : llm::layer_parts)
                    of_layers += back.weights().contains(record.name + "." + std::string(part)) ? 1 : 0;
            }
            for (const auto* part : {"q", "k", "v"})
                CHECK_FALSE(llm::contains_layer(back.weights(),
                                                std::string("model.layers.0.self_attn.") + part + "_proj"));
            CHECK(records[0].name == "model.layers.0.self_attn.qkv_proj");
            CHECK(records[0].m == 32);
            CHECK(records[2].name == "model.layers.0.mlp.gate_up_proj");
            CHECK(records[2].m == 48);
            std::size_t others = 0;
            for (const auto& tensor : model.weights().tensors())
                others += tensor.find("_proj") == std::string::npos ? 1 : 0;
            CHECK(back.weights().tensors().size() == others + of_layers);
            CHECK(error_of([&] { llm::require_dense(back); }).find("compressed already") !=
                  std::string::npos);
        }
}

TEST_CASE("a joint layer's factors are those of the stacked weights", "[llm]") {
    const llm_test::small_model where;
    llm::model model(where.path());
    const auto dense = llm_test::layers_of(model);
    const auto tokens = where.source().tokens(400);
    llm::progress silent;
    const auto sites = llm::gather(model, tokens, {.context = 20}, "text", 1, silent);
    llm::compressor compress(model, text_of(tokens), silent);
    const auto records = compress.run(recipe_at("asvd-1+joint", 0.3));
    for (const std::size_t unit : {0UL, 2UL, 4UL, 6UL}) {
        const std::size_t first = unit / 4 * 7 + (unit % 4 == 0 ? 0 : 4), count = unit % 4 == 0 ? 3 : 2;
        const auto w = *stacked(dense, first, count, false).dense();
        const auto expected = nsvd::asvd(w, sites[model.site_index(first)], nsvd::rank{records[unit].rank},
                                         {.whitening = nsvd::whitening::cholesky});
        const Eigen::MatrixXf product = model.layer(first).product();
        CHECK((product - expected.dense()).norm() <= 1e-4F * w.norm());
    }
}

TEST_CASE("a file with a fused layer and one of its parts is an error", "[llm]") {
    const llm_test::small_model where;
    const llm_test::scratch folder;
    llm::model model(where.path());
    llm::progress silent;
    llm::compressor(model, text_of(where.source().tokens(400)), silent).run(recipe_at("svd+joint", 0.3));
    llm::save_model(model, folder / "joint", {}, false);
    const auto path = folder / "joint" / "model.safetensors";
    const auto read_with = [&](const std::string& layer, const std::string& part) {
        std::vector<st::tensor> tensors;
        {
            const st::file joint(path);
            for (const auto& name : joint.tensors()) {
                const auto& view = joint.at(name);
                auto bytes = std::make_shared<std::vector<std::byte>>(view.bytes.begin(), view.bytes.end());
                tensors.push_back({name, view.dtype, view.shape, *bytes, bytes});
            }
        }
        const llm_test::scratch copy;
        std::filesystem::copy(folder / "joint" / "config.json", copy / "config.json");
        if (!layer.empty()) {
            const auto& view = model.weights().at(layer + ".weight");
            tensors.push_back({layer + part, view.dtype, view.shape, view.bytes});
        }
        st::write(copy / "model.safetensors", tensors);
        return error_of([&] { llm::model{copy.path()}; });
    };
    CHECK(read_with("", "").empty());
    for (const auto* part :
         {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj"})
        for (const auto* kind : {".weight", ".left.weight", ".bias"}) {
            CAPTURE(part, kind);
            const auto name = std::string("model.layers.1.") + part;
            const auto message = read_with(name, kind);
            CHECK(message.find("'" + name + "'") != std::string::npos);
            CHECK(message.find("as well") != std::string::npos);
        }
}

TEST_CASE("a model that was saved fused compresses like its layers multiplied out", "[llm]") {
    llm_test::random_model source;
    source.biased = true;
    source.vocab = 256;
    const llm_test::small_model where(source);
    const llm_test::scratch folder;
    const auto tokens = source.tokens(400);
    llm::progress silent;
    {
        llm::model model(where.path());
        llm::compressor compress(model, text_of(tokens), silent);
        compress.run(recipe_at("asvd-1+joint+pivoted", 0.2));
        llm::save_model(model, folder / "fused", {}, false);
        llm::model dense(where.path());
        for (std::size_t i = 0; i < model.layers(); ++i) {
            if (model.is_within_fused(i)) continue;
            const Eigen::MatrixXf w = model.layer(i).product();
            const Eigen::VectorXf b = model.layer(i).bias();
            Eigen::Index row = 0;
            for (std::size_t part = i; row < w.rows(); ++part) {
                const auto rows = dense.layer(part).rows();
                dense.layer(part) = llm::linear(Eigen::MatrixXf(w.middleRows(row, rows)),
                                                Eigen::VectorXf(b.segment(row, rows)));
                row += rows;
            }
        }
        llm::save_model(dense, folder / "dense", {}, false);
    }
    std::string text;
    for (const auto id : tokens)
        text += static_cast<char>(id);
    llm_test::write(folder / "text.txt", text);
    llm::compare_options options{.model = folder / "fused",
                                 .calibration = folder / "text.txt",
                                 .texts = {{"a", folder / "text.txt"}},
                                 .compressions = {0.3, 0.6},
                                 .recipes = {},
                                 .context = 20,
                                 .in_domain = {},
                                 .reference = {},
                                 .held_out = {},
                                 .keep_dense = {},
                                 .threads = 2};
    for (const auto* name : {"asvd-1", "svd+pivoted", "nsvd-1+joint+bias", "asvd-1+greedy+anchored"})
        options.recipes.push_back(llm::parse_recipe(name));
    const auto fused = llm::compare(options);
    options.model = folder / "dense";
    const auto dense = llm::compare(options);
    CHECK(fused.baseline == "as stored");
    CHECK(dense.baseline == "dense");
    CHECK(fused.dense[0].nll == Approx(dense.dense[0].nll).epsilon(1e-5));
    CHECK(fused.dense_bytes < dense.dense_bytes);
    const llm::model stored(folder / "fused");
    std::int64_t bytes = 0;
    for (const auto& tensor : stored.weights().tensors())
        if (tensor.find("_proj") != std::string::npos)
            bytes += static_cast<std::int64_t>(stored.weights().at(tensor).bytes.size());
    CHECK(fused.dense_bytes == bytes);
    REQUIRE(fused.rows.size() == 8);
    for (std::size_t i = 0; i < 8; ++i) {
        CAPTURE(i);
        CHECK(fused.rows[i].texts[0].window_nll == dense.rows[i].texts[0].window_nll);
        CHECK(fused.rows[i].bytes == dense.rows[i].bytes);
        CHECK(fused.rows[i].parameters == dense.rows[i].parameters);
    }
}
