// SPDX-License-Identifier: MIT
// Every architecture and every kind of rotary positions against naive ones; tokens one by one; layers by the
// six of OPT; what a configuration may not be.
#include "compress.hpp"
#include "llm_support.hpp"
#include "model.hpp"
#include "naive_llama.hpp"
#include "naive_opt.hpp"
#include "naive_rope.hpp"
#include "perplexity.hpp"
#include "save.hpp"
#include "support/catch.hpp"
#include "unit.hpp"

#include <nlohmann/json.hpp>

#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

using llm_test::error_of;
using llm_test::naive_variant;
using llm_test::random_model;
using llm_test::random_opt;
using nlohmann::json;

namespace {

using logits_of_tokens = std::vector<std::vector<double>>;

double distance(const Eigen::MatrixXf& logits, const logits_of_tokens& expected) {
    REQUIRE(logits.cols() == static_cast<Eigen::Index>(expected.size()));
    double worst = 0;
    for (std::size_t t = 0; t < expected.size(); ++t)
        for (std::size_t i = 0; i < expected[t].size(); ++i)
            worst = std::max(worst, std::abs(expected[t][i] - logits(static_cast<Eigen::Index>(i),
                                                                     static_cast<Eigen::Index>(t))));
    return worst;
}

/// A text passed whole, and in steps of a few tokens, twice side by side.
void check_steps(const llm::model& model, const std::vector<std::uint32_t>& tokens) {
    const Eigen::MatrixXf whole = model.hidden(tokens);
    for (const std::size_t step : {1UL, 10UL}) {
        CAPTURE(step);
        llm::attention_memory memory(model.shape(), 2, tokens.size());
        Eigen::MatrixXf first(whole.rows(), whole.cols()), second = first;
        for (std::size_t t = 0; t < tokens.size(); t += step) {
            std::vector<std::uint32_t> next;
            const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(t);
            for (int copy = 0; copy < 2; ++copy)
                next.insert(next.end(), begin, begin + static_cast<std::ptrdiff_t>(step));
            const Eigen::MatrixXf both = model.hidden(next, memory);
            const auto at = static_cast<Eigen::Index>(t), count = static_cast<Eigen::Index>(step);
            first.middleCols(at, count) = both.leftCols(count);
            second.middleCols(at, count) = both.rightCols(count);
        }
        CHECK((first - whole).cwiseAbs().maxCoeff() < 1e-4F);
        CHECK((second - whole).cwiseAbs().maxCoeff() < 1e-4F);
    }
}

template <class Random, class... Variant>
void check_against_naive(const Random& m, const std::vector<std::size_t>& lengths, Variant... variant) {
    const llm_test::scratch folder;
    m.write_to(folder.path());
    const llm::model model(folder.path());
    for (const auto length : lengths) {
        CAPTURE(length);
        const auto tokens = m.tokens(length);
        const auto expected = llm_test::naive_forward(m, folder.path(), tokens, variant...);
        CHECK(distance(model.forward(tokens), expected) < 1e-4);
        CHECK(llm::window_nll(model, tokens) == Approx(llm_test::naive_nll(expected, tokens)).epsilon(1e-5));
        if (length % 10 == 0) check_steps(model, tokens);
    }
}

constexpr std::size_t head_dim = 16;
constexpr double theta = 10000, trained = 64;  // max_position_embeddings of random models

random_model stretched(json changes) {
    random_model m;
    m.hidden = 32;
    m.heads = 2;
    m.kv_heads = 1;
    m.head_dim = head_dim;
    m.changes = std::move(changes);
    return m;
}

}  // namespace

TEST_CASE("sliding windows and biases agree with a naive forward pass", "[llm]") {
    const std::vector<std::size_t> lengths{7, 80, 150};
    random_model mistral;
    mistral.model_type = "mistral";
    mistral.blocks = 3;
    SECTION("Mistral") {
        for (const std::size_t window : {1UL, 16UL, 70UL, 1000UL}) {
            CAPTURE(window);
            mistral.changes = {{"sliding_window", window}};
            check_against_naive(mistral, lengths, naive_variant{{}, 1, {window, window, window}});
        }
    }
    SECTION("Mistral without a window") {
        mistral.changes = {{"sliding_window", nullptr}};
        check_against_naive(mistral, lengths);
    }
    random_model qwen = mistral;
    qwen.model_type = "qwen2";
    qwen.biased_inputs = true;
    qwen.changes = {{"sliding_window", 5}, {"max_window_layers", 2}};
    SECTION("Qwen2 does not use its window unless it is told so") {
        check_against_naive(qwen, lengths);
        qwen.changes["use_sliding_window"] = false;
        check_against_naive(qwen, lengths);
    }
    SECTION("Qwen2 with a window in the later blocks") {
        qwen.changes["use_sliding_window"] = true;
        check_against_naive(qwen, lengths, naive_variant{{}, 1, {1000, 1000, 5}});
        qwen.changes["max_window_layers"] = 0;
        check_against_naive(qwen, lengths, naive_variant{{}, 1, {5, 5, 5}});
        qwen.changes["layer_types"] = {"full_attention", "sliding_attention", "full_attention"};
        check_against_naive(qwen, lengths, naive_variant{{}, 1, {1000, 5, 1000}});
    }
    SECTION("LLaMA with biases") {
        random_model llama;
        llama.biased = true;
        llama.changes = {{"attention_bias", true}, {"mlp_bias", true}};
        check_against_naive(llama, lengths);
    }
}

TEST_CASE("stretched rotary positions agree with a naive forward pass", "[llm]") {
    struct stretching {
        json parameters;
        std::function<naive_variant(double tokens)> expected;
    };
    const double log4 = std::log(4.0);
    const std::vector<stretching> all{
        {{{"type", "linear"}, {"factor", 4}},
         [](double) { return llm_test::naive_linear(theta, head_dim, 4); }},
        {{{"type", "dynamic"}, {"factor", 2.0}},
         [](double tokens) { return llm_test::naive_dynamic(theta, head_dim, 2, trained, tokens); }},
        {{{"rope_type", "llama3"},
          {"factor", 8.0},
          {"low_freq_factor", 1.0},
          {"high_freq_factor", 4.0},
          {"original_max_position_embeddings", 64}},
         [](double) { return llm_test::naive_llama3(theta, head_dim, 8, 64, 1, 4); }},
        {{{"rope_type", "yarn"}, {"type", "yarn"}, {"factor", 4.0}},
         [&](double) { return llm_test::naive_yarn(theta, head_dim, 4, trained, 0.1 * log4 + 1); }},
        {{{"rope_type", "yarn"}, {"original_max_position_embeddings", 16}, {"attention_factor", 1.5}},
         [](double) { return llm_test::naive_yarn(theta, head_dim, 4, 16, 1.5); }},
        {{{"rope_type", "yarn"},
          {"factor", 4.0},
          {"original_max_position_embeddings", 1000},
          {"beta_fast", 16},
          {"beta_slow", 2},
          {"truncate", false},
          {"mscale", 0.7},
          {"mscale_all_dim", 0.3}},
         [&](double) {
             return llm_test::naive_yarn(theta, head_dim, 4, 1000, (0.07 * log4 + 1) / (0.03 * log4 + 1), 16,
                                         2, false);
         }},
    };
    for (const auto& [parameters, expected] : all) {
        CAPTURE(parameters.dump());
        auto newer = parameters;
        newer["rope_theta"] = theta;
        if (!newer.contains("rope_type")) {
            newer["rope_type"] = newer["type"];
            newer.erase("type");
        }
        for (const json& changes : {json{{"rope_scaling", parameters}}, json{{"rope_parameters", newer}},
                                    json{{"rope_parameters", newer}, {"rope_scaling", parameters}}}) {
            auto m = stretched(changes);
            check_against_naive(m, {40}, expected(40));
            check_against_naive(m, {150}, expected(150));
        }
    }
    auto m = stretched({{"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 500.0}}}});
    m.changes["rope_theta"] = nullptr;
    check_against_naive(m, {40}, naive_variant{llm_test::naive_frequencies(500, head_dim), 1, {}});
}

TEST_CASE("OPT agrees with a naive forward pass", "[llm]") {
    std::vector<random_opt> list(7);
    list[1].before = false;
    list[1].embedding = 10;  // as the one of 350M
    list[2].biased = list[2].affine = false;
    list[2].act = "gelu";  // as Galactica
    list[3].tied = false;
    list[3].act = "gelu_new";
    list[4].last_norm = false;
    list[4].act = "silu";
    list[5].embedding = 40;
    list[6].before = false;
    list[6].heads = 1;
    list[6].blocks = 3;
    for (unsigned i = 0; i < list.size(); ++i) {
        list[i].seed = i;
        CAPTURE(i);
        check_against_naive(list[i], {2, 70, 150});
    }
}

TEST_CASE("OPT has no more tokens than positions", "[llm]") {
    random_opt m;
    m.positions = 8;
    const llm_test::scratch folder;
    m.write_to(folder.path());
    const llm::model model(folder.path());
    (void)model.hidden(m.tokens(8));
    const auto message = [&](const auto& call) {
        const auto what = error_of(call);
        CHECK(what.starts_with((folder / "config.json").string()));
        CHECK(what.ends_with("9 tokens, max_position_embeddings is 8"));
    };
    message([&] { (void)model.hidden(m.tokens(9)); });
    llm::attention_memory memory(model.shape(), 1, 20);
    (void)model.hidden(m.tokens(8), memory);
    message([&] { (void)model.hidden(m.tokens(1), memory); });
}

TEST_CASE("OPT: six layers a block, sites, fused layers, saved and read again", "[llm]") {
    const random_opt m;
    const llm_test::scratch folder, output;
    m.write_to(folder.path());
    llm::model model(folder.path());
    REQUIRE(model.layers() == 12);
    REQUIRE(model.layers_per_block() == 6);
    CHECK(model.layer_name(6) == "model.decoder.layers.1.self_attn.q_proj");
    CHECK(model.layer_name(11) == "model.decoder.layers.1.fc2");
    CHECK(model.fusible(0) == 3);
    CHECK(model.fusible(2) == 0);
    CHECK(model.fusible(4) == 1);
    for (std::size_t i = 0; i < model.layers(); ++i)
        CHECK(model.layer(i).cols() == static_cast<Eigen::Index>(model.site_features(model.site_index(i))));
    (void)model.hidden(m.tokens(9), [&](std::size_t block, llm::site where, const Eigen::MatrixXf& x) {
        CHECK(x.rows() == static_cast<Eigen::Index>(model.site_features(model.site_index(block, where))));
    });

    const auto tokens = m.tokens(30);
    const Eigen::MatrixXf before = model.forward(tokens);
    const auto units = llm::units_of(model, true);
    REQUIRE(units.size() == 8);
    CHECK(units[4].name == "model.decoder.layers.1.self_attn.qkv_proj");
    CHECK(units[4].shape.rows == 48);
    std::vector<llm::linear> layers;
    for (std::size_t i = 0; i < model.layers(); ++i)
        layers.push_back(model.layer(i));
    llm::linear fused(llm::weight_of(units[4], layers), llm::bias_of(units[4], layers));
    llm::replace(units[4], layers, fused);
    for (std::size_t i = 0; i < model.layers(); ++i)
        model.layer(i) = layers[i];
    CHECK((model.forward(tokens) - before).cwiseAbs().maxCoeff() < 1e-4F);
    llm::save_model(model, output / "saved", json::object(), false);
    const llm::model back(output / "saved");
    CHECK(back.is_fused(6));
    CHECK_FALSE(back.is_fused(0));
    CHECK((back.forward(tokens) - before).cwiseAbs().maxCoeff() < 1e-4F);
}

TEST_CASE("config.json: unknown and contradictory variants name file, key and value", "[llm]") {
    const llm_test::scratch folder;
    const auto path = folder / "config.json";
    const auto configured = [&](const auto& m) {
        m.write_to(folder.path());
        return json::parse(llm_test::read(path));
    };
    const auto llama = configured(random_model{});
    const auto opt = configured(random_opt{});
    auto qwen = llama, mistral = llama;
    qwen["model_type"] = "qwen2";
    mistral["model_type"] = "mistral";
    struct wrong {
        json config, changes;
        std::string key, what;
    };
    const auto scaled = [](json how) { return json{{"rope_scaling", std::move(how)}}; };
    const json yarn{{"rope_type", "yarn"}, {"factor", 4.0}};
    const json llama3{{"rope_type", "llama3"},
                      {"factor", 8.0},
                      {"low_freq_factor", 4.0},
                      {"high_freq_factor", 4.0},
                      {"original_max_position_embeddings", 64}};
    const auto with = [](json base, const json& changes) {
        base.update(changes);
        return base;
    };
    const std::vector<wrong> all{
        {llama,
         {{"model_type", "gpt2"}},
         "model_type",
         "is 'gpt2': known are: llama, mistral, mixtral, opt, qwen2"},
        {llama, {{"hidden_act", "tanh"}}, "hidden_act", "is 'tanh': known are: silu"},
        {llama, {{"partial_rotary_factor", 0.5}}, "partial_rotary_factor", "is 0.5"},
        {llama, scaled({{"type", "su"}}), "rope_scaling.type", "is 'su': known are: default, linear"},
        {llama, scaled({{"rope_type", "x"}}), "rope_scaling.rope_type", "is 'x'"},
        {llama, scaled({{"type", "linear"}}), "rope_scaling.factor", "is missing"},
        {llama, scaled({{"type", "linear"}, {"factor", 0.5}}), "rope_scaling.factor", "is 0.5"},
        {llama, scaled({{"type", "dynamic"}, {"factor", "2"}}), "rope_scaling.factor", "is \"2\""},
        {llama, scaled({{"type", "linear"}, {"rope_type", "yarn"}}), "rope_scaling.type",
         "rope_type is 'yarn'"},
        {llama, scaled(llama3), "rope_scaling.high_freq_factor", "is 4: want more than low_freq_factor 4"},
        {llama, scaled(with(yarn, {{"beta_fast", 0.5}})), "rope_scaling.beta_fast", "is 0.5"},
        {llama, scaled({{"type", "yarn"}}), "rope_scaling.factor", "is missing"},
        {llama,
         {{"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 7.0}}}},
         "rope_parameters.rope_theta",
         "is 7, rope_theta itself is 10000"},
        {llama,
         {{"rope_parameters", {{"rope_type", "default"}}}, {"rope_scaling", yarn}},
         "rope_scaling",
         "contradicts rope_parameters"},
        {llama, {{"rope_parameters", 3}}, "rope_parameters", "is 3: want an object"},
        {llama,
         {{"rope_parameters", {{"full_attention", {{"rope_type", "default"}}}}}},
         "rope_parameters.full_attention",
         "is {\"rope_type\":\"default\"}"},
        {qwen,
         {{"rope_parameters", {{"sliding_attention", {{"rope_theta", 1e4}}}}}},
         "rope_parameters.sliding_attention",
         "is {\"rope_theta\":10000.0}"},
        {llama, scaled({{"partial_rotary_factor", 0.5}}), "rope_scaling.partial_rotary_factor", "is 0.5"},
        {llama, {{"num_hidden_layers", 65537}}, "num_hidden_layers", "is 65537"},
        {mistral, {{"sliding_window", 0}}, "sliding_window", "is 0"},
        {qwen, {{"use_sliding_window", 1}}, "use_sliding_window", "is 1"},
        {qwen, {{"layer_types", {"full_attention"}}}, "layer_types", "num_hidden_layers is 2"},
        {qwen, {{"layer_types", {"full_attention", "x"}}}, "layer_types", "has 'x'"},
        {qwen, {{"layer_types", {"full_attention", 1}}}, "layer_types", "want a list of strings"},
        {qwen,
         {{"layer_types", {"full_attention", "sliding_attention"}}},
         "layer_types",
         "use_sliding_window or sliding_window is off"},
        {opt, {{"num_attention_heads", 5}}, "num_attention_heads", "is 5: does not divide hidden_size 16"},
        {opt, {{"ffn_dim", nullptr}}, "ffn_dim", "is missing"},
        {opt, {{"do_layer_norm_before", "yes"}}, "do_layer_norm_before", "is \"yes\""},
        {opt, {{"activation_function", "x"}}, "activation_function", "is 'x'"},
    };
    for (const auto& [config, changes, key, what] : all) {
        CAPTURE(changes.dump());
        llm_test::write(path, with(config, changes).dump());
        const auto message = error_of([&] { (void)llm::read_config(path); });
        CAPTURE(message);
        CHECK(message.starts_with(path.string() + ": key '" + key + "' "));
        CHECK(message.find(what) != std::string::npos);
    }
}

TEST_CASE("biases that config.json promises have to be there", "[llm]") {
    random_model m;
    const llm_test::scratch folder;
    m.changes = {{"attention_bias", true}};
    m.write_to(folder.path());
    CHECK(error_of([&] { llm::model{folder.path()}; }) ==
          (folder / "model.safetensors").string() +
              ": tensor 'model.layers.0.self_attn.q_proj.bias': is missing: attention_bias is true in "
              "config.json");
    m.changes = {{"mlp_bias", true}};
    m.write_to(folder.path());
    CHECK(error_of([&] { llm::model{folder.path()}; }).find("mlp.gate_proj.bias") != std::string::npos);
}
