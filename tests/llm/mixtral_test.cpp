// SPDX-License-Identifier: MIT
// Mixture of experts: the forward pass against a naive one, which tokens an expert sees, statistics of those
// that see few or none, and everything that is done to models.
#include "calibration_set.hpp"
#include "compress.hpp"
#include "model_size.hpp"
#include "perplexity.hpp"
#include "random_model.hpp"
#include "save.hpp"
#include "shrinkage.hpp"
#include "similarity.hpp"
#include "small_model.hpp"
#include "support/catch.hpp"

#include <nsvd/nsvd.hpp>

#include <array>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

using llm_test::error_of;
using llm_test::recipe_at;

namespace {

constexpr std::size_t context = 20;
const llm::journal none;

/// Eight experts, two of which no token passes; few tokens for the others.
llm_test::random_model mixtral() {
    llm_test::random_model m;
    m.model_type = "mixtral";
    m.hidden = 24;
    m.heads = 3;
    m.kv_heads = 1;
    m.head_dim = 8;
    m.inter = 40;
    m.experts = 8;
    m.idle = 2;
    return m;
}

llm::compression_input text_of(std::vector<llm::token> tokens, unsigned threads = 1) {
    return {.calibration = std::move(tokens),
            .calibration_name = "text",
            .sample = {.context = context},
            .threads = threads};
}

double distance(const Eigen::MatrixXf& logits, const std::vector<std::vector<double>>& expected) {
    double worst = 0;
    for (std::size_t t = 0; t < expected.size(); ++t)
        for (std::size_t i = 0; i < expected[t].size(); ++i)
            worst = std::max(worst, std::abs(expected[t][i] - logits(static_cast<Eigen::Index>(i),
                                                                     static_cast<Eigen::Index>(t))));
    return worst;
}

bool is_idle(const llm_test::random_model& m, std::size_t expert) {
    return expert >= m.experts - m.idle;
}

bool same_tensors(const llm::checkpoint& a, const llm::checkpoint& b) {
    if (a.tensors() != b.tensors()) return false;
    return std::ranges::all_of(a.tensors(), [&](const auto& name) {
        return std::ranges::equal(a.at(name).bytes, b.at(name).bytes);
    });
}

Eigen::MatrixXd columns(Eigen::Index n, Eigen::Index t, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal(0.5);
    Eigen::MatrixXd x(n, t);
    for (auto& v : x.reshaped())
        v = normal(random);
    return x;
}

}  // namespace

TEST_CASE("Mixtral agrees with a naive forward pass", "[llm][mixtral]") {
    auto m = mixtral();
    llm_test::naive_variant how;
    SECTION("two of eight") {}
    SECTION("all of three") {
        m.experts = m.chosen = 3, m.idle = 0;
    }
    SECTION("one of one") {
        m.experts = m.chosen = 1, m.idle = 0;
    }
    SECTION("a window that is null") {
        m.changes["sliding_window"] = nullptr;
    }
    SECTION("a window") {
        m.changes["sliding_window"] = 7;
        how.windows.assign(m.blocks, 7);
    }
    SECTION("theta is a million where the key is absent") {
        m.changes["rope_theta"] = nullptr;
        how.frequencies = llm_test::naive_frequencies(1e6, m.head_dim);
    }
    const llm_test::scratch folder;
    m.write_to(folder.path());
    for (const auto where : {llm::residence::in_memory, llm::residence::in_file}) {
        const llm::model model(folder.path(), where);
        for (const std::size_t length : {1UL, 30UL}) {
            const auto tokens = m.tokens(length);
            const auto expected = llm_test::naive_forward(m, folder.path(), tokens, how);
            CHECK(distance(model.forward(tokens), expected) < 1e-4);
        }
    }
    // Token by token, twice side by side.
    const llm::model model(folder.path());
    const auto tokens = m.tokens(30);
    const Eigen::MatrixXf whole = model.hidden(tokens);
    llm::attention_memory memory(model.shape(), 2, tokens.size());
    for (std::size_t t = 0; t < tokens.size(); ++t) {
        const std::vector<llm::token> next{tokens[t], tokens[t]};
        const Eigen::MatrixXf both = model.hidden(next, memory);
        const auto at = static_cast<Eigen::Index>(t);
        CHECK((both.colwise() - whole.col(at)).cwiseAbs().maxCoeff() < 1e-4F);
    }
}

TEST_CASE("Mixtral: what a configuration and a file may not be", "[llm][mixtral]") {
    auto m = mixtral();
    const auto refusal = [&](const nlohmann::json& changes) {
        m.changes = changes;
        const llm_test::scratch folder;
        m.write_to(folder.path());
        return error_of([&] { (void)llm::model(folder.path()); });
    };
    CHECK(refusal(nlohmann::json::object()).empty());
    CHECK(refusal({{"num_experts_per_tok", 9}}).find("'num_experts_per_tok' is 9: num_local_experts is 8") !=
          std::string::npos);
    CHECK(refusal({{"num_local_experts", 0}}).find("num_local_experts") != std::string::npos);
    CHECK_FALSE(refusal({{"num_local_experts", 7}}).empty());
    CHECK_FALSE(refusal({{"num_local_experts", 9}}).empty());
    CHECK(refusal({{"model_type", "mistral"}}).find("mlp.gate_proj") != std::string::npos);
}

TEST_CASE("Mixtral: an expert's statistics are of its own tokens", "[llm][mixtral]") {
    const auto m = mixtral();
    const llm_test::small_model where(m);
    const llm::model model(where.path());
    const auto tokens = m.tokens(context * 5);
    llm::progress silent;
    const auto one = llm::gather(model, tokens, {.context = context}, "text", 1, silent);
    const auto two = llm::gather(model, tokens, {.context = context}, "text", 2, silent);
    REQUIRE(one.size() == model.sites());
    REQUIRE(model.sites() == m.blocks * (2 + 2 * m.experts));
    CHECK(model.layers() == m.blocks * (4 + 3 * m.experts));
    for (std::size_t block = 0; block < m.blocks; ++block) {
        std::int64_t passed = 0;
        for (std::size_t e = 0; e < m.experts; ++e) {
            const auto& in = one[model.site_index(block, {llm::site_kind::feed_forward, e})];
            const auto& out = one[model.site_index(block, {llm::site_kind::feed_forward_output, e})];
            CHECK(in.features() == 24);
            CHECK(out.features() == 40);
            CHECK(in.tokens() == out.tokens());
            CHECK(in.weight() == out.weight());
            if (is_idle(m, e)) CHECK(in.tokens() == 0);
            passed += in.tokens();
        }
        CHECK(passed == static_cast<std::int64_t>(2 * tokens.size()));
    }
    for (std::size_t i = 0; i < one.size(); ++i)
        CHECK(one[i].gram() == two[i].gram());
    CHECK(one.front().tokens() == static_cast<std::int64_t>(tokens.size()));

    // By hand: the error of an expert's output is what it adds to the residual stream.
    std::map<std::size_t, Eigen::MatrixXd> gram;
    for (std::size_t begin = 0; begin < tokens.size(); begin += context) {
        auto pass = model.start(std::span(tokens).subspan(begin, context));
        for (std::size_t block = 0; block < m.blocks; ++block)
            for (const auto& at : model.block_sites()) {
                model.reach(block, at, model.block(block), pass);
                const auto i = model.site_index(block, at);
                auto& sum = gram[i];
                if (sum.size() == 0) sum.setZero(pass.input.rows(), pass.input.rows());
                Eigen::MatrixXd x = pass.input.cast<double>();
                if (llm::is_of_experts(at.kind)) {
                    const auto& share = pass.routes->experts[at.expert];
                    REQUIRE(share.weights.size() == x.cols());
                    for (Eigen::Index t = 0; t < x.cols(); ++t)
                        x.col(t) *= static_cast<double>(share.weights(t));
                }
                sum += x * x.transpose();
                model.leave(block, at, model.block(block), pass);
            }
    }
    for (const auto& [i, sum] : gram)
        CHECK((sum - one[i].gram()).norm() <= 1e-10 * sum.norm());

    // Two texts, some experts of which see but one.
    const auto more = m.tokens(3 * context);
    const auto likeness = llm::measure_similarity(
        model,
        {{"a", llm::draw_text(tokens, {.context = context}, "a")},
         {"b", llm::draw_text(std::span(more).first(context), {.context = context}, "b")}},
        1, silent);
    CHECK(likeness.values[0][1] > 0);
    CHECK(likeness.values[0][1] <= 1 + 1e-12);
}

TEST_CASE("statistics of few tokens are shrunk as documented", "[llm][mixtral]") {
    constexpr Eigen::Index n = 12;
    for (const auto about : {nsvd::moments::raw, nsvd::moments::central}) {
        nsvd::calibration<float> own(n, about), pool(n, about), nothing(n, about);
        const Eigen::MatrixXd x = columns(n, 5, 1), y = columns(n, 40, 2);
        own.update(x);
        pool.update(y);
        // As if twelve of the forty tokens of the pool, all alike, had been seen as well.
        nsvd::calibration<float> expected(n, about);
        expected.update(x);
        expected.update(y, Eigen::VectorXd::Constant(40, 12.0 / 40));
        const auto pooled = llm::shrunk_to_pool(own, pool);
        CHECK((pooled.gram() - expected.gram()).norm() <= 1e-12 * expected.gram().norm());
        CHECK((pooled.gram() - (x * x.transpose() + 12.0 / 40 * y * y.transpose())).norm() <=
              1e-12 * expected.gram().norm());
        CHECK((pooled.mean() - expected.mean()).norm() <= 1e-12);
        CHECK((pooled.mean_abs() - expected.mean_abs()).norm() <= 1e-12);
        CHECK(pooled.weight() == Approx(5 + 12));
        const auto alone = llm::shrunk_to_pool(nothing, pool);
        CHECK((40.0 / 12 * alone.gram() - pool.gram()).norm() <= 1e-12 * pool.gram().norm());
        CHECK(llm::shrunk_to_pool(own, nothing).gram() == own.gram());

        const double trace = x.squaredNorm();
        const auto diagonal = llm::shrunk_to_diagonal(own, own);
        const Eigen::MatrixXd wanted = x * x.transpose() + trace / 5 * Eigen::MatrixXd::Identity(n, n);
        CHECK((diagonal.gram() - wanted).norm() <= 1e-12 * wanted.norm());
        CHECK((diagonal.mean() - x.rowwise().sum() / 17).norm() <= 1e-12);
        const auto of_pool = llm::shrunk_to_diagonal(nothing, pool);
        const double like = y.squaredNorm() / 40;
        CHECK((of_pool.gram() - like * Eigen::MatrixXd::Identity(n, n)).norm() <= 1e-12 * like);
        CHECK(llm::shrunk_to_diagonal(nothing, nothing).gram() == 12 * Eigen::MatrixXd::Identity(n, n));
        // They are statistics like others: they can be stored and taken over.
        for (const auto& made : {pooled, alone, diagonal, of_pool})
            CHECK(nsvd::calibration<float>(made.state()).gram() == made.gram());

        // Pairs.
        nsvd::calibration<float> pairs(n, about), more(n, about);
        const Eigen::MatrixXd a = columns(n, 5, 3), b = columns(n, 40, 4);
        pairs.update(a, x);
        more.update(b, y);
        const auto both = llm::shrunk_to_pool(pairs, more);
        const Eigen::MatrixXd cross = a * x.transpose() + 12.0 / 40 * b * y.transpose();
        CHECK((both.cross() - cross).norm() <= 1e-12 * cross.norm());
        const Eigen::MatrixXd same = a * x.transpose() + trace / 5 * Eigen::MatrixXd::Identity(n, n);
        CHECK((llm::shrunk_to_diagonal(pairs, pairs).cross() - same).norm() <= 1e-12 * same.norm());
        CHECK(llm::shrunk_to_diagonal(nothing, more).has_cross());
    }
}

TEST_CASE("Mixtral: compressed, saved, evaluated, block by block", "[llm][mixtral]") {
    const auto m = mixtral();
    const llm_test::scratch folder;
    std::filesystem::create_directory(folder / "dense");
    m.write_to(folder / "dense");
    const auto tokens = m.tokens(400);
    llm::progress silent;
    for (const auto* name :
         {"svd", "asvd-0", "asvd-1", "nsvd-1", "nid-1+pivoted", "nsvd-1+anchored", "nsvd-1+joint+bias",
          "asvd-1+anchored+bias", "asvd-1+greedy", "asvd-1+loss-group", "best"}) {
        CAPTURE(name);
        llm::model model(folder / "dense");
        llm::compressor compress(model, text_of(tokens, 2), silent);
        const auto recipe = recipe_at(name, 0.3);
        const auto layers = compress.run(recipe);
        const auto measured = llm::evaluate(model, tokens, context, "text", 2, silent);
        CHECK(std::isfinite(measured.perplexity));
        for (const auto& layer : layers) {
            CAPTURE(layer.name);
            const auto at = layer.name.find("experts.");
            CHECK(std::isfinite(layer.weighted_error));
            CHECK(layer.plain_error >= 0);
            if (at == std::string::npos) continue;
            const bool idle = is_idle(m, static_cast<std::size_t>(layer.name[at + 8] - '0'));
            if (idle) CHECK(layer.weighted_error == 0);
            CHECK(layer.weighted_error < 1);
            if (recipe.joint) CHECK(layer.name.find("w1.") == std::string::npos);
        }
        const auto output = folder / std::string(name);
        llm::save_model(model, output, {{"method", name}}, false);
        const llm::model back(output);
        const auto evaluated = llm::evaluate(back, tokens, context, "text", 1, silent);
        CHECK(evaluated.window_nll == measured.window_nll);
        for (const auto& tensor : model.weights().tensors())
            if (tensor.find("block_sparse_moe.gate") != std::string::npos)
                CHECK(std::ranges::equal(back.weights().at(tensor).bytes, model.weights().at(tensor).bytes));

        // A block at a time, layers read when they are needed, what is finished in a journal, twice.
        for (const char* step : {"first", "kept"}) {
            CAPTURE(step);
            llm::model sparing(folder / "dense", llm::residence::in_file);
            const llm::journal kept(folder / (std::string(name) + "-low"), {{"test", name}}, false);
            auto input = text_of(tokens, 1);
            input.low_memory = true;
            input.kept = &kept;
            (void)llm::compressor(sparing, input, silent).run(recipe);
            llm::save_model(sparing, folder / (std::string(name) + "-low"), {{"method", name}}, true);
            CHECK(same_tensors(llm::model(folder / (std::string(name) + "-low")).weights(), back.weights()));
        }
    }
    // Joint layers by their names.
    const llm::model joint(folder / "nsvd-1+joint+bias");
    CHECK(joint.weights().contains("model.layers.1.block_sparse_moe.experts.3.w13.left.weight"));
}

TEST_CASE("Mixtral: layers are best for their shrunk statistics", "[llm][mixtral]") {
    const auto m = mixtral();
    const llm_test::small_model where(m);
    const auto tokens = m.tokens(200);
    llm::model model(where.path());
    const auto dense = llm_test::layers_of(model);
    llm::progress silent;
    const auto sites = llm::gather(model, tokens, {.context = context}, "text", 1, silent);
    const auto shrunk = [&](std::size_t layer) {
        const auto block = model.block_of(layer);
        const auto& at = model.input_site(layer);
        if (!llm::is_of_experts(at.kind)) return sites[model.site_index(layer)];
        nsvd::calibration<float> pool(sites[model.site_index(layer)].features());
        for (std::size_t e = 0; e < m.experts; ++e)
            pool.merge(sites[model.site_index(block, {at.kind, e})]);
        const auto& own = sites[model.site_index(layer)];
        if (at.kind == llm::site_kind::feed_forward) return llm::shrunk_to_pool(own, pool);
        return llm::shrunk_to_diagonal(own, own.tokens() > 0 ? own : pool);
    };
    {
        llm::compressor compress(model, text_of(tokens), silent);
        const auto records = compress.run(recipe_at("asvd-1", 0.3));
        for (std::size_t i = 0; i < model.layers(); ++i) {
            CAPTURE(records[i].name);
            const auto& w = *dense[i].dense();
            const auto expected = nsvd::asvd(w, shrunk(i), nsvd::rank{records[i].rank}, {});
            CHECK((model.layer(i).product() - expected.dense()).norm() <= 1e-5F * w.norm());
        }
    }
    // In order: nothing has changed at the first experts while attention stays dense, and tokens are compared
    // with themselves.
    auto input = text_of(tokens);
    input.keep_dense = {"self_attn"};
    llm::model anchored(where.path());
    llm::compressor compress(anchored, input, silent);
    auto recipe = recipe_at("asvd-1+anchored", 0.3);
    const auto records = compress.run(recipe);
    for (std::size_t i = 0; i < model.layers_per_block(); ++i) {
        if (model.input_site(i).kind != llm::site_kind::feed_forward) continue;
        CAPTURE(records[i].name);
        const auto& w = *dense[i].dense();
        const auto expected =
            nsvd::asvd(w, shrunk(i), nsvd::rank{records[i].rank}, {.blend = recipe.epsilon});
        CHECK((anchored.layer(i).product() - expected.dense()).norm() <= 1e-4F * w.norm());
    }
}

TEST_CASE("Mixtral: statistics in files", "[llm][mixtral]") {
    const auto m = mixtral();
    const llm_test::small_model where(m);
    const llm_test::scratch folder;
    const auto tokens = m.tokens(300);
    llm::progress silent;
    llm::model model(where.path());
    const auto sites = llm::gather(model, tokens, {.context = context}, "text", 1, silent);
    std::vector<std::string> prefixes;
    for (std::size_t block = 0; block < m.blocks; ++block)
        for (const auto& at : model.block_sites())
            prefixes.push_back(llm::site_prefix(model, block, at));
    CHECK(prefixes[2] == "model.layers.0.feed_forward.0.");
    CHECK(prefixes[17] == "model.layers.0.feed_forward_output.7.");
    CHECK(std::set<std::string>(prefixes.begin(), prefixes.end()).size() == sites.size());
    const auto file = folder / "statistics.safetensors";
    {
        const llm::journal kept(file, {{"test", 1}}, false);
        llm::write_calibration_set(
            file, prefixes, [&](std::size_t i) { return sites[i]; }, {}, kept);
    }
    llm::statistics_in_files source(model, {file, file}, nsvd::moments::raw);
    for (std::size_t block = 0; block < m.blocks; ++block) {
        const auto one = llm::calibration_set(file).block(model, block);
        const auto twice = source.gather(block);
        for (std::size_t i = 0; i < one.size(); ++i) {
            const auto& own = sites[block * one.size() + i];
            CHECK(one[i].gram() == own.gram());
            CHECK(one[i].tokens() == own.tokens());
            CHECK((twice[i].gram() - 2 * own.gram()).norm() <= 1e-12 * own.gram().norm());
        }
    }
    const auto outcome = [&](const llm::compression_input& input, const char* recipe) {
        llm::model fresh(where.path());
        (void)llm::compressor(fresh, input, silent).run(recipe_at(recipe, 0.3));
        return fresh.forward(std::span(tokens).first(context)).eval();
    };
    auto input = text_of({});
    input.statistics = {file};
    for (const auto* recipe : {"asvd-1", "nsvd-1+greedy"})
        CHECK(outcome(input, recipe) == outcome(text_of(tokens), recipe));
    const auto expected = outcome(input, "asvd-1");
    input.use = llm::statistics_use::stages;
    CHECK((outcome(input, "asvd-1") - expected).norm() <= 1e-4F * expected.norm());
}

TEST_CASE("Mixtral: kept dense, tuned, random", "[llm][mixtral]") {
    const auto m = mixtral();
    const llm_test::small_model where(m);
    const auto tokens = m.tokens(300);
    llm::progress silent;
    llm::model model(where.path());
    auto input = text_of(tokens);
    input.keep_dense = {"spiking", "experts.1."};
    input.held_out = m.tokens(60);
    input.held_out_name = "held out";
    llm::compressor compress(model, input, silent);
    for (const auto* name : {"nsvd-1", "nsvd-1+tuned", "asvd-1+sensitivity"}) {
        CAPTURE(name);
        const auto records = compress.run(recipe_at(name, 0.3));
        for (std::size_t i = 0; i < model.layers(); ++i)
            if (model.layer_name(i).find("experts.1.") != std::string::npos)
                CHECK(records[i].status == "dense");
        CHECK(std::isfinite(llm::evaluate(model, tokens, context, "text", 1, silent).perplexity));
    }
    CHECK(error_of([&] {
              auto wrong = text_of(tokens);
              wrong.keep_dense = {"experts.8."};
              llm::compressor(model, wrong, silent);
          }).find("experts.8.") != std::string::npos);

    const auto random = llm::random_model(model.shape(), std::nullopt, silent);
    CHECK(random.forward(std::span(tokens).first(context)).allFinite());
    CHECK(random.layers() == model.layers());
    // A token reads two experts of eight.
    const auto of_experts = static_cast<std::int64_t>(sizeof(float) * m.blocks * 8 * 3 * 24 * 40);
    CHECK(llm::weight_bytes(random) - llm::weight_bytes_per_token(random) ==
          of_experts * 6 / 8 + static_cast<std::int64_t>(sizeof(float) * m.vocab * m.hidden));
}
