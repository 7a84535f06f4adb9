// SPDX-License-Identifier: MIT
// The forward pass against a naive one on random models; what a model folder may not be; evaluation.
#include "llm_support.hpp"
#include "model.hpp"
#include "naive_llama.hpp"
#include "perplexity.hpp"
#include "support/catch.hpp"

#include <nlohmann/json.hpp>

#include <cmath>
#include <numeric>

using llm_test::error_of;
using llm_test::random_model;
namespace st = nsvd::safetensors;

namespace {

std::vector<random_model> models() {
    std::vector<random_model> list(7);
    list[1].kv_heads = 4;  // one key and value head a query head
    list[1].dtype = st::dtype::F16;
    list[2].kv_heads = 1;
    list[2].tied = true;
    list[2].dtype = st::dtype::BF16;
    list[3].head_dim = 6;  // heads · head_dim is not the hidden size
    list[3].explicit_head_dim = true;
    list[3].theta = 500000;
    list[4].blocks = 1;
    list[4].heads = list[4].kv_heads = 1;
    list[4].head_dim = 16;
    list[4].eps = 0.5;
    list[5].vocab = 3;
    list[5].blocks = 4;
    list[6].biased = true;
    list[6].dtype = st::dtype::BF16;
    for (unsigned i = 0; i < list.size(); ++i)
        list[i].seed = i;
    return list;
}

}  // namespace

TEST_CASE("forward pass agrees with a naive one", "[llm]") {
    for (const auto& m : models()) {
        CAPTURE(m.seed);
        const llm_test::scratch folder;
        m.write_to(folder.path());
        const llm::model model(folder.path());
        for (const auto length : {2UL, 7UL, 64UL, 150UL}) {
            CAPTURE(length);
            const auto tokens = m.tokens(length);
            const auto expected = llm_test::naive_forward(m, folder.path(), tokens);
            const Eigen::MatrixXf logits = model.forward(tokens);
            REQUIRE(logits.cols() == static_cast<Eigen::Index>(length));
            REQUIRE(logits.rows() == static_cast<Eigen::Index>(m.vocab));
            double worst = 0;
            for (std::size_t t = 0; t < length; ++t)
                for (std::size_t i = 0; i < m.vocab; ++i)
                    worst = std::max(worst, std::abs(expected[t][i] - logits(static_cast<Eigen::Index>(i),
                                                                             static_cast<Eigen::Index>(t))));
            CHECK(worst < 1e-4);
            CHECK(llm::window_nll(model, tokens) ==
                  Approx(llm_test::naive_nll(expected, tokens)).epsilon(1e-5));
        }
    }
}

TEST_CASE("the observer sees what the linear layers see", "[llm]") {
    const random_model m;
    const llm_test::scratch folder;
    m.write_to(folder.path());
    const llm::model model(folder.path());
    const auto tokens = m.tokens(9);
    std::vector<std::size_t> seen;
    (void)model.hidden(tokens, [&](std::size_t block, llm::site where, const Eigen::MatrixXf& x) {
        seen.push_back(model.site_index(block, where));
        CHECK(x.rows() == static_cast<Eigen::Index>(model.site_features(seen.back())));
        CHECK(x.cols() == 9);
    });
    std::vector<std::size_t> all(model.sites());
    std::iota(all.begin(), all.end(), std::size_t{0});
    CHECK(seen == all);
    for (std::size_t i = 0; i < model.layers(); ++i)
        CHECK(model.layer(i).cols() == static_cast<Eigen::Index>(model.site_features(model.site_index(i))));
    CHECK(model.layer_name(8) == "model.layers.1.self_attn.k_proj");
}

TEST_CASE("evaluation: windows, predictions, and the same for any number of threads", "[llm]") {
    const random_model m;
    const llm_test::scratch folder;
    m.write_to(folder.path());
    const llm::model model(folder.path());
    const auto tokens = m.tokens(107);
    llm::progress silent;
    const auto one = llm::evaluate(model, tokens, 10, "text", 1, silent);
    CHECK(one.tokens == 107);
    CHECK(one.windows == 10);
    CHECK(one.predictions == 90);
    double sum = 0;
    for (std::size_t w = 0; w < 10; ++w) {
        const std::vector<std::uint32_t> window(tokens.begin() + static_cast<std::ptrdiff_t>(10 * w),
                                                tokens.begin() + static_cast<std::ptrdiff_t>(10 * w + 10));
        sum += llm_test::naive_nll(llm_test::naive_forward(m, folder.path(), window), window);
    }
    CHECK(one.nll == Approx(sum / 10).epsilon(1e-5));
    CHECK(one.perplexity == Approx(std::exp(sum / 10)).epsilon(1e-5));
    const auto three = llm::evaluate(model, tokens, 10, "text", 3, silent);
    CHECK(one.nll == three.nll);
    CHECK(one.window_nll == three.window_nll);
    CHECK_FALSE(error_of([&] { (void)llm::evaluate(model, tokens, 108, "text", 1, silent); }).empty());
}

TEST_CASE("config.json: what can't be right is an error naming the key", "[llm]") {
    const random_model m;
    const llm_test::scratch folder;
    m.write_to(folder.path());
    const auto path = folder / "config.json";
    const auto good = nlohmann::json::parse(llm_test::read(path));
    const auto message = [&](const nlohmann::json& config) {
        llm_test::write(path, config.dump());
        return error_of([&] { (void)llm::read_config(path); });
    };
    CHECK(message(good).empty());
    const std::vector<std::pair<const char*, nlohmann::json>> wrong{
        {"model_type", "gpt2"},
        {"hidden_act", "tanh"},
        {"rope_scaling", "linear"},
        {"attention_bias", 1},
        {"quantization_config", {{"bits", 4}}},
        {"hidden_size", 0},
        {"hidden_size", -16},
        {"hidden_size", 16.5},
        {"hidden_size", "16"},
        {"num_hidden_layers", 1e12},
        {"num_attention_heads", 5},
        {"num_key_value_heads", 3},
        {"head_dim", 3},
        {"rms_norm_eps", "small"},
        {"rope_theta", -1},
        {"tie_word_embeddings", 1},
    };
    for (const auto& [key, value] : wrong) {
        auto config = good;
        config[key] = value;
        CAPTURE(key, value.dump());
        CHECK(message(config).starts_with(path.string() + ": key '" + key + "'"));
    }
    for (const auto* key : {"model_type", "hidden_size", "intermediate_size", "num_hidden_layers",
                            "num_attention_heads", "vocab_size", "rms_norm_eps"}) {
        auto config = good;
        config.erase(key);
        CHECK(message(config) == path.string() + ": key '" + key + "' is missing");
    }
    llm_test::write(path, "{");
    CHECK(error_of([&] { (void)llm::read_config(path); }).starts_with(path.string() + ": not JSON"));
}

TEST_CASE("model.safetensors: what can't be right is an error naming the tensor", "[llm]") {
    const random_model m;
    const llm_test::scratch folder;
    m.write_to(folder.path());
    const auto path = folder / "model.safetensors";
    const llm_test::scratch source;
    m.write_to(source.path());
    const st::file file(source / "model.safetensors");
    const auto message = [&](const std::string& name, const auto& change) {
        std::vector<st::tensor> tensors;
        for (const auto& key : file.tensors()) {
            const auto& view = file.at(key);
            st::tensor tensor{key, view.dtype, view.shape, view.bytes};
            if (key == name) change(tensor);
            if (!tensor.name.empty()) tensors.push_back(tensor);
        }
        st::write(path, tensors);
        return error_of([&] { llm::model{folder.path()}; });
    };
    const std::string q = "model.layers.1.self_attn.q_proj";
    CHECK(message("none", [](st::tensor&) {}).empty());
    for (const auto& name : file.tensors()) {
        CHECK(message(name, [](st::tensor& t) { t.name.clear(); }) ==
              path.string() + ": tensor '" + name + "': is missing");
        CHECK(message(name, [](st::tensor& t) { t.shape.push_back(1); }).find("has the shape") !=
              std::string::npos);
        CHECK(message(name, [&](st::tensor& t) {
                  t.storage =
                      std::make_shared<std::vector<std::byte>>(t.bytes.size(), std::byte{0xff});  // NaN
                  t.bytes = *t.storage;
              }).find("'" + name + "': has NaN") != std::string::npos);
    }
    CHECK(message(q + ".weight", [](st::tensor& t) { t.dtype = st::dtype::I32; }).find("dtype I32") !=
          std::string::npos);
    CHECK(message(q + ".weight", [&](st::tensor& t) {
              t.name = q + ".left.weight";
          }).find(q + ".right.weight") != std::string::npos);
    std::filesystem::remove(path);
    CHECK(error_of([&] { llm::model{folder.path()}; }).starts_with(path.string() + ": cannot be read"));
}

TEST_CASE("a memory of keys and values: the next tokens alone, for several sequences", "[llm]") {
    for (const auto& m : models()) {
        CAPTURE(m.seed);
        const llm_test::scratch folder;
        m.write_to(folder.path());
        const llm::model model(folder.path());
        const auto tokens = m.tokens(3 * 80);
        std::vector<Eigen::MatrixXf> expected;
        for (std::size_t s = 0; s < 3; ++s)
            expected.push_back(model.hidden(std::span(tokens).subspan(s * 80, 80)));
        for (const auto& chunks : std::vector<std::vector<std::size_t>>{
                 std::vector<std::size_t>(80, 1), {80}, {1, 7, 2, 70}, {70, 10}, {64, 1, 15}}) {
            CAPTURE(chunks);
            llm::attention_memory memory(model.shape(), 3, 80);
            std::size_t passed = 0;
            double worst = 0;
            for (const auto count : chunks) {
                std::vector<std::uint32_t> next;
                for (std::size_t s = 0; s < 3; ++s)
                    next.insert(next.end(), tokens.begin() + static_cast<std::ptrdiff_t>(80 * s + passed),
                                tokens.begin() + static_cast<std::ptrdiff_t>(80 * s + passed + count));
                const Eigen::MatrixXf found = model.hidden(next, memory);
                REQUIRE(found.cols() == static_cast<Eigen::Index>(3 * count));
                for (std::size_t s = 0; s < 3; ++s) {
                    const auto part = found.middleCols(static_cast<Eigen::Index>(s * count),
                                                       static_cast<Eigen::Index>(count));
                    const auto whole = expected[s].middleCols(static_cast<Eigen::Index>(passed),
                                                              static_cast<Eigen::Index>(count));
                    worst = std::max(worst, static_cast<double>((part - whole).cwiseAbs().maxCoeff()));
                }
                passed += count;
                CHECK(memory.length == static_cast<Eigen::Index>(passed));
            }
            CHECK(worst < 1e-4);
            CHECK_FALSE(error_of([&] { (void)model.hidden(m.tokens(3), memory); }).empty());
        }
    }
}

TEST_CASE("a memory takes no more than it has room for, and the same for each sequence", "[llm]") {
    const random_model m;
    const llm_test::scratch folder;
    m.write_to(folder.path());
    const llm::model model(folder.path());
    const auto tokens = m.tokens(12);
    llm::attention_memory memory(model.shape(), 2, 5);
    (void)model.hidden(std::span(tokens).first(6), memory);
    CHECK(memory.length == 3);
    CHECK(error_of([&] { (void)model.hidden(std::span(tokens).first(6), memory); }) ==
          "6 more tokens for 2 sequences of 3 in a memory for 5 each");
    CHECK_FALSE(error_of([&] { (void)model.hidden(std::span(tokens).first(3), memory); }).empty());
    CHECK(memory.length == 3);
    // What was refused has left no trace.
    const auto more = std::vector<std::uint32_t>{tokens[1], tokens[2], tokens[4], tokens[5]};
    llm::attention_memory fresh(model.shape(), 2, 9);
    (void)model.hidden(std::span(tokens).first(6), fresh);
    CHECK(model.hidden(more, memory) == model.hidden(more, fresh));
}
