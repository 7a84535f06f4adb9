// SPDX-License-Identifier: MIT
// Text token by token, from memories of features and of latents, against whole forward passes: every
// architecture, every form of layers.
#include "generate.hpp"

#include "detokenize.hpp"
#include "model_size.hpp"
#include "naive_opt.hpp"
#include "random_layer.hpp"
#include "random_model.hpp"
#include "sample.hpp"
#include "small_model.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

using Eigen::Index;
using llm_test::error_of;
using llm_test::form;
using llm_test::random_model;
using llm_test::random_opt;

namespace {

/// A layer with W times a factor.
llm::linear scaled(const llm::linear& layer, float factor) {
    if (const auto* dense = layer.dense()) return llm::linear(*dense * factor, layer.bias());
    if (const auto* factors = layer.factors()) {
        auto d = *factors;
        d.left *= factor;
        return llm::linear(d, layer.bias());
    }
    auto d = *layer.pivoted();
    if (d.kept == nsvd::lines::rows)
        d.right *= factor;
    else
        d.left *= factor;
    return llm::linear(d, layer.bias());
}

/// Random layers of rank k in place of a model's own; those that can be one are, or not.
void fill(llm::model& m, form f, Index k, bool fused) {
    for (std::size_t i = 0; i < m.layers(); ++i) {
        auto [rows, cols] = m.layer_shape(i);
        const auto parts = m.fusible(i);
        if (fused && parts == 0) {
            m.layer(i) = llm::linear();
            continue;
        }
        for (std::size_t j = i + 1; fused && j < i + parts; ++j)
            rows += m.layer_shape(j).first;
        const auto made = llm_test::random_layer(f, rows, cols, std::min({k, rows, cols}),
                                                 m.layer(i).bias().size() != 0, static_cast<unsigned>(i + 1));
        const auto terms = static_cast<float>(f == form::dense ? cols : cols * k);
        m.layer(i) = scaled(made.layer, 1.5F / std::sqrt(terms));
    }
}

/// `check(model)` for every architecture, with layers in every form and of ranks that give fewer latents
/// than k and v have features.
void for_all(const std::function<void(const llm::model&, form, Index k, bool fused)>& check) {
    std::vector<std::function<void(const std::filesystem::path&)>> writers;
    random_model llama;
    writers.emplace_back([=](const auto& path) { llama.write_to(path); });
    random_model biased = llama;
    biased.biased = true;
    biased.changes = {{"attention_bias", true}, {"mlp_bias", true}};
    writers.emplace_back([=](const auto& path) { biased.write_to(path); });
    random_model mistral = llama;
    mistral.model_type = "mistral";
    mistral.kv_heads = 4;
    mistral.changes = {{"sliding_window", 6}};
    writers.emplace_back([=](const auto& path) { mistral.write_to(path); });
    random_model qwen = llama;
    qwen.model_type = "qwen2";
    qwen.biased_inputs = true;
    qwen.changes = {{"sliding_window", 5}, {"max_window_layers", 1}, {"use_sliding_window", true}};
    writers.emplace_back([=](const auto& path) { qwen.write_to(path); });
    random_opt before, after;
    after.before = false;
    after.embedding = 10;
    writers.emplace_back([=](const auto& path) { before.write_to(path); });
    writers.emplace_back([=](const auto& path) { after.write_to(path); });
    for (std::size_t i = 0; i < writers.size(); ++i)
        for (const auto f : llm_test::forms)
            for (const auto& [k, fused] :
                 std::vector<std::pair<Index, bool>>{{5, false}, {10, false}, {5, true}, {10, true}}) {
                CAPTURE(i, f, k, fused);
                const llm_test::scratch folder;
                writers[i](folder.path());
                llm::model m(folder.path());
                fill(m, f, k, fused);
                check(m, f, k, fused);
            }
}

std::vector<llm::token> some_tokens(std::size_t count) {
    return random_model{}.tokens(count);
}

}  // namespace

TEST_CASE("generate: without temperature the likeliest token of a whole pass follows", "[llm][generate]") {
    for_all([](const llm::model& m, form, Index, bool) {
        const auto prompt = some_tokens(9);
        for (const bool latents : {false, true}) {
            llm::progress silent;
            std::vector<llm::token> heard;
            const auto result = llm::generate(
                m, prompt, {.tokens = 12, .latent_memory = latents},
                [&](llm::token id) { heard.push_back(id); }, silent, silent);
            REQUIRE(result.ids.size() == 12);
            CHECK(heard == result.ids);
            auto text = prompt;
            text.insert(text.end(), result.ids.begin(), result.ids.end());
            const Eigen::MatrixXf logits = m.forward(text);
            for (std::size_t t = 0; t < result.ids.size(); ++t) {
                const auto column = logits.col(static_cast<Index>(prompt.size() + t) - 1);
                CHECK(column.maxCoeff() - column(static_cast<Index>(result.ids[t])) <=
                      1e-4F * column.cwiseAbs().maxCoeff());
            }
        }
    });
}

TEST_CASE("a memory of latents is one of features, but for rounding", "[llm][generate]") {
    for_all([](const llm::model& m, form f, Index k, bool fused) {
        const auto tokens = some_tokens(40);
        const Eigen::MatrixXf whole = m.hidden(tokens);
        // A token at a time, more than head_dim, and whichever it is in the middle of a text.
        for (const std::size_t step : {1UL, 2UL, 10UL, 40UL}) {
            CAPTURE(step);
            llm::attention_memory memory(m, 2, tokens.size(), true);
            Eigen::MatrixXf second(whole.rows(), whole.cols());
            for (std::size_t t = 0; t < tokens.size(); t += step) {
                const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(t);
                const auto end = begin + static_cast<std::ptrdiff_t>(step);
                std::vector<llm::token> next(step, 3);  // another sequence beside it
                next.insert(next.end(), begin, end);
                second.middleCols(static_cast<Index>(t), static_cast<Index>(step)) =
                    m.hidden(next, memory).rightCols(static_cast<Index>(step));
            }
            CHECK((second - whole).norm() <= 1e-4F * whole.norm());
        }
        const auto& c = m.shape();
        const auto features = static_cast<Index>(c.key_value_heads * c.head_dim);
        const auto all = llm::feature_bytes(c, 40);
        CHECK(all == static_cast<std::int64_t>(4 * 2 * c.blocks * 40) * features);
        CHECK(llm::attention_memory(m, 1, 40, false).bytes() == all);
        CHECK(llm::attention_memory(c, 1, 40).bytes() == all);
        Index kept = 2 * features;  // numbers of a token and block
        if (f != form::dense) kept = std::min(kept, fused ? k : 2 * k);
        CHECK(llm::attention_memory(m, 3, 40, true).bytes() ==
              static_cast<std::int64_t>(4 * c.blocks * 3 * 40) * kept);
    });
}

TEST_CASE("generate: draws repeat with the seed and pieces of a prompt are one text", "[llm][generate]") {
    random_model source;
    source.changes = {{"max_position_embeddings", 1000}};
    const llm_test::small_model where(source);
    const llm::model m(where.path());
    llm::progress silent;
    const auto made = [&](double temperature, std::uint64_t seed) {
        return llm::generate(
                   m, some_tokens(20), {.tokens = 30, .temperature = temperature, .seed = seed},
                   [](llm::token) {}, silent, silent)
            .ids;
    };
    CHECK(made(1, 5) == made(1, 5));
    CHECK(made(1, 5) != made(1, 6));
    CHECK(made(0, 5) == made(0, 6));
    CHECK(made(1e-9, 5) == made(0, 0));

    const auto text = some_tokens(600);
    CHECK(llm::pieces_of(600) == 3);
    llm::attention_memory memory(m.shape(), 1, 600);
    const Eigen::VectorXf logits = llm::read_text(m, text, memory, silent);
    CHECK((logits - m.forward(text).rightCols<1>()).norm() <= 1e-4F * logits.norm());
}

TEST_CASE("generate: what it refuses", "[llm][generate]") {
    const llm_test::small_model where;  // of 64 positions
    const llm::model m(where.path());
    llm::progress silent;
    const auto message = [&](std::size_t prompt, const llm::generation_options& options) {
        return error_of([&] {
            (void)llm::generate(
                m, some_tokens(prompt), options, [](llm::token) {}, silent, silent);
        });
    };
    CHECK(message(54, {.tokens = 10}).empty());
    CHECK(message(55, {.tokens = 10}).find("config.json: a prompt of 55 tokens and 10 more") !=
          std::string::npos);
    CHECK(message(65, {.tokens = 1}).find("65 tokens") != std::string::npos);
    CHECK(message(0, {.tokens = 1}).find("no tokens") != std::string::npos);
    CHECK(message(1, {.tokens = 1, .temperature = -1}).find("--temperature is -1") != std::string::npos);
    CHECK(message(1, {.tokens = 1, .temperature = NAN}).find("--temperature is nan") != std::string::npos);
}

TEST_CASE("draw: the likeliest, the first of equals, without a temperature", "[llm][generate]") {
    std::mt19937_64 random(1);
    CHECK(llm::draw(Eigen::Vector4f(1, 3, 3, 2), 0, random) == 1);
    CHECK(random == std::mt19937_64(1));
}

TEST_CASE("detokenizer: whole characters", "[llm][generate]") {
    const llm_test::scratch folder;
    const auto said = [](llm::detokenizer words, const std::vector<llm::token>& ids) {
        std::vector<std::string> parts;
        for (const auto id : ids)
            parts.push_back(words.add(id));
        parts.push_back(words.rest());
        return parts;
    };
    using texts = std::vector<std::string>;
    const llm::byte_tokenizer bytes;
    CHECK(said(llm::detokenizer(&bytes), {'a', 0xC3, 0xA4, 'b', 0xF0, 0x9F, 0x98}) ==
          texts{"a", "", "ä", "b", "", "", "", "\xF0\x9F\x98"});
    CHECK(said(llm::detokenizer(&bytes), {0xA4, 300, 0xC3, 'x'}) == texts{"\xA4", "<300>", "", "\xC3x", ""});
    CHECK(said(llm::detokenizer(nullptr), {'a'}) == texts{"<97>", ""});
    llm_test::write(
        folder / "vocabulary.json",
        R"({"pieces": [["<unk>", 0], [" a b", -1], ["<0xC3>", 0], ["<0xA4>", 0], ["<0xZZ>", 0]]})");
    const auto pieces = llm::find_tokenizer(folder.path());
    CHECK(said(llm::detokenizer(pieces.get(), std::vector<llm::token>{4}), {1, 2, 3, 4, 5}) ==
          texts{" a b", "", "ä", "<0xZZ>", "<5>", ""});
}

TEST_CASE("random models have the shape, the rank and the size asked for", "[llm][generate]") {
    const llm_test::small_model where;
    const llm::model stored(where.path());
    llm::progress silent;
    const auto dense = llm::random_model(stored.shape(), std::nullopt, silent);
    CHECK(llm::weight_bytes(dense) == llm::weight_bytes(stored));
    // Per block 2·16·16 + 2·8·16 + 3·24·16 numbers; the head 50·16.
    CHECK(llm::weight_bytes_per_token(dense) == 4 * (2 * 1920 + 800));
    CHECK(llm::weight_bytes(dense) == 4 * (2 * 1920 + 1600));
    for (const auto storage : {nsvd::storage::plain, nsvd::storage::pivoted}) {
        const nsvd::compression compression{0.3, storage};
        const auto m = llm::random_model(stored.shape(), compression, silent);
        for (std::size_t i = 0; i < m.layers(); ++i) {
            const auto [rows, cols] = m.layer_shape(i);
            CHECK(m.layer(i).rows() == rows);
            CHECK(m.layer(i).cols() == cols);
            CHECK(m.layer(i).parameters() ==
                  nsvd::stored_numbers(storage, {rows, cols}, compression({rows, cols})));
        }
        CHECK(m.forward(some_tokens(5)).allFinite());
    }
    CHECK(error_of([&] {
              (void)llm::random_model(stored.shape(), nsvd::compression{0.99}, silent);
          }).starts_with("layer 0: "));
}
