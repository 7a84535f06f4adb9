// SPDX-License-Identifier: MIT
// Whole models by every kind of recipe: no state between them, biases, layers in order, bytes, layers that
// stay dense, tuning.
#include "compress.hpp"
#include "perplexity.hpp"
#include "ranks.hpp"
#include "save.hpp"
#include "small_model.hpp"
#include "stored_layer.hpp"
#include "support/catch.hpp"

#include <nsvd/nsvd.hpp>

#include <Eigen/Cholesky>

#include <algorithm>
#include <array>
#include <cmath>

using llm_test::error_of;
using llm_test::recipe_at;
namespace st = nsvd::safetensors;

namespace {

const llm::journal none;

constexpr std::size_t context = 20;

llm::compression_input text_of(std::vector<llm::token> tokens, unsigned threads = 1) {
    return {.calibration = std::move(tokens),
            .calibration_name = "text",
            .sample = {.context = context},
            .threads = threads};
}

llm_test::random_model larger(unsigned seed = 1) {
    llm_test::random_model source;
    source.hidden = 32;
    source.head_dim = 8;
    source.inter = 48;
    source.blocks = 3;
    source.seed = seed;
    return source;
}

struct outcome {
    Eigen::MatrixXf logits;
    std::vector<std::int64_t> ranks, bytes;
    std::vector<double> errors;
    bool operator==(const outcome&) const = default;
};

outcome outcome_of(const llm::model& m, const std::vector<llm::layer_result>& records,
                   const std::vector<llm::token>& window) {
    outcome result{m.forward(window), {}, {}, {}};
    for (const auto& record : records) {
        result.ranks.push_back(record.rank);
        result.bytes.push_back(record.bytes);
        result.errors.push_back(record.weighted_error);
        result.errors.push_back(record.plain_error);
    }
    return result;
}

/// A window in a model, after the layers of each site have written to the residual stream.
struct residuals {
    std::vector<Eigen::MatrixXd> inputs, after;  // by site
};

residuals run_through(const llm::model& m, const std::vector<llm::token>& window) {
    residuals result;
    auto pass = m.start(window);
    for (std::size_t block = 0; block < m.shape().blocks; ++block)
        for (const auto& where : m.block_sites()) {
            m.reach(block, where, m.block(block), pass);
            result.inputs.push_back(pass.input.cast<double>());
            m.leave(block, where, m.block(block), pass);
            result.after.push_back(pass.residual.cast<double>());
        }
    return result;
}

std::vector<std::vector<llm::token>> windows_of(const std::vector<llm::token>& tokens) {
    std::vector<std::vector<llm::token>> list;
    for (const auto& window : llm::windows(tokens, context, "text"))
        list.emplace_back(window.begin(), window.end());
    return list;
}

}  // namespace

TEST_CASE("recipes leave nothing behind: each gives what it gives alone, for any number of threads",
          "[llm]") {
    const std::vector<const char*> names{"nsvd-1",
                                         "asvd-2+joint+pivoted+greedy",
                                         "best",
                                         "asvd-0+bias+loss-group",
                                         "asvd-1+anchored+bias+joint",
                                         "svd+sensitivity",
                                         "nid-1+own-text+effective-rank",
                                         "nsvd-2+tuned+measured+pivoted",
                                         "asvd-1+measured"};
    auto source = larger();
    source.blocks = 2;
    const llm_test::small_model where(source);
    const auto tokens = source.tokens(300);
    auto held_out = source;
    held_out.seed = 77;
    const auto window = source.tokens(40);
    llm::progress silent;
    const auto input = [&](unsigned threads) {
        auto result = text_of(tokens, threads);
        result.held_out = held_out.tokens(200);
        result.held_out_name = "held out";
        return result;
    };
    std::vector<outcome> alone;
    for (const auto* name : names) {
        llm::model model(where.path());
        alone.push_back(
            outcome_of(model, llm::compressor(model, input(1), silent).run(recipe_at(name, 0.3)), window));
        CHECK(alone.back().logits.allFinite());
    }
    for (std::size_t i = 1; i < names.size(); ++i)
        CHECK(alone[i].logits != alone[i - 1].logits);
    llm::model model(where.path());
    llm::compressor compress(model, input(3), silent);
    CHECK(compress.calibration_tokens() == 300);
    const auto check = [&](std::size_t i) {
        CAPTURE(names[i]);
        const auto records = compress.run(recipe_at(names[i], 0.3));
        CHECK(outcome_of(model, records, window) == alone[i]);
    };
    for (std::size_t i = 0; i < names.size(); ++i)
        check(i);
    (void)compress.run(recipe_at("asvd-1+greedy", 0.6));
    for (std::size_t i = names.size(); i-- > 0;)
        check(i);
}

TEST_CASE("recipes of one metric share no more than it: methods in either order on a singular Gram matrix",
          "[llm]") {
    for (unsigned seed = 1; seed <= 4; ++seed) {
        const auto source = larger(seed);
        const llm_test::small_model where(source);
        const auto tokens = source.tokens(20);
        const auto window = source.tokens(40);
        llm::progress silent;
        const auto run = [&](const std::vector<const char*>& names) {
            llm::model model(where.path());
            llm::compressor compress(model, text_of(tokens), silent);
            outcome last;
            for (const auto* name : names)
                last = outcome_of(model, compress.run(recipe_at(name, 0.3)), window);
            return last;
        };
        for (const auto* rule : {"+measured", "+greedy", "+loss-group", "+effective-rank+pivoted"}) {
            CAPTURE(seed, rule);
            const auto first = std::string("asvd-1") + rule, second = std::string("asvd-2") + rule;
            CHECK(run({first.c_str(), second.c_str()}) == run({second.c_str()}));
            CHECK(run({second.c_str(), first.c_str()}) == run({first.c_str()}));
        }
    }
}

TEST_CASE("text of the model's own is part of what a recipe is calibrated on, not of its errors", "[llm]") {
    const auto source = larger();
    const llm_test::small_model where(source);
    const auto tokens = source.tokens(300);
    llm::model model(where.path());
    const auto dense = llm_test::layers_of(model);
    llm::progress silent;
    auto input = text_of(tokens);
    input.sample.seed = 5;
    auto all = llm::draw_text(tokens, input.sample, "text");
    const auto text = llm::gather(model, all, nsvd::moments::raw, 1, silent);
    llm::add_own_text(all, model, 5, 1, none, silent);
    const auto sites = llm::gather(model, all, nsvd::moments::raw, 1, silent);
    llm::compressor compress(model, input, silent);
    const auto records = compress.run(recipe_at("asvd-1+own-text", 0.3));
    for (std::size_t i = 0; i < records.size(); ++i) {
        CAPTURE(i);
        const auto& w = *dense[i].dense();
        const auto at = model.site_index(i);
        const auto expected =
            nsvd::asvd(w, sites[at], nsvd::rank{records[i].rank}, {.whitening = nsvd::whitening::cholesky});
        CHECK((model.layer(i).product() - expected.dense()).norm() <= 1e-4F * w.norm());
        CHECK(records[i].weighted_error ==
              Approx(nsvd::weighted_error(w, *model.layer(i).factors(), text[at])).epsilon(1e-9));
    }
}

TEST_CASE("a corrected bias leaves no mean error of a layer's output", "[llm]") {
    for (const bool biased : {false, true})
        for (const auto* name : {"asvd-1+bias", "svd+bias+joint", "nsvd-2+bias+pivoted", "asvd-0+bias"}) {
            CAPTURE(biased, name);
            auto source = larger();
            source.biased = biased;
            const llm_test::small_model where(source);
            const auto tokens = source.tokens(300);
            const llm::model dense(where.path());
            llm::model model(where.path());
            llm::progress silent;
            const auto records = llm::compressor(model, text_of(tokens), silent).run(recipe_at(name, 0.4));
            std::vector<Eigen::VectorXd> sum(dense.sites());
            for (const auto& window : windows_of(tokens)) {
                const auto pass = run_through(dense, window);
                for (std::size_t i = 0; i < sum.size(); ++i) {
                    if (sum[i].size() == 0) sum[i].setZero(pass.inputs[i].rows());
                    sum[i] += pass.inputs[i].rowwise().sum();
                }
            }
            std::size_t unit = 0;
            for (std::size_t i = 0; i < model.layers(); ++i) {
                if (model.is_within_fused(i)) continue;
                CAPTURE(i);
                const Eigen::VectorXd mean = sum[model.site_index(i)] / 300;
                REQUIRE(model.layer(i).bias().size() == model.layer(i).rows());
                Eigen::VectorXd expected(model.layer(i).rows()), uncorrected = expected;
                Eigen::Index row = 0;
                for (auto part = i; row < expected.size(); ++part) {
                    const auto& own = dense.layer(part);
                    expected.segment(row, own.rows()) = own.product().cast<double>() * mean;
                    if (biased) expected.segment(row, own.rows()) += own.bias().cast<double>();
                    row += own.rows();
                }
                const Eigen::VectorXd product = model.layer(i).product().cast<double>() * mean;
                const Eigen::VectorXd found = product + model.layer(i).bias().cast<double>();
                const double size = expected.norm() + product.norm();
                CHECK((found - expected).norm() <= 1e-6 * size);
                CHECK((product - expected).norm() > 1e-3 * size);
                CHECK(records[unit++].parameters == model.layer(i).parameters());
            }
        }
}

TEST_CASE("layers in order: at the first site nothing has changed yet", "[llm]") {
    const auto source = larger();
    const llm_test::small_model where(source);
    const auto tokens = source.tokens(400);
    llm::model model(where.path());
    const auto dense = llm_test::layers_of(model);
    llm::progress silent;
    const auto sites = llm::gather(model, tokens, {.context = context}, "text", 1, silent);
    llm::compressor compress(model, text_of(tokens), silent);
    for (const double epsilon : {0.0, 0.05, 1.0})
        for (const auto* name : {"asvd-1+anchored", "nsvd-1+anchored", "asvd-1+anchored+pivoted"}) {
            CAPTURE(epsilon, name);
            auto recipe = recipe_at(name, 0.4);
            recipe.epsilon = epsilon;
            const auto records = compress.run(recipe);
            for (std::size_t i = 0; i < 3; ++i) {
                CAPTURE(i);
                const nsvd::rank k{records[i].rank};
                const auto& w = *dense[i].dense();
                const auto whitening = nsvd::whitening::cholesky;
                const auto expected =
                    recipe.how->residual
                        ? nsvd::nested(w, sites[0], k,
                                       {.whitening = whitening, .share = 0.95, .blend = epsilon})
                        : nsvd::asvd(w, sites[0], k, {.whitening = whitening, .blend = epsilon});
                CHECK((model.layer(i).product() - expected.dense()).norm() <= 1e-4F * w.norm());
            }
        }
}

TEST_CASE("layers in order: what a layer gives is what it sees, anchored by hand", "[llm]") {
    // The o layer of the first block: its inputs come from compressed q, k and v, its output is added to a
    // residual that is still the original one; then down, whose residual has gone wrong by what o left.
    const auto source = larger();
    const llm_test::small_model where(source);
    const auto tokens = source.tokens(400);
    const llm::model dense(where.path());
    llm::model model(where.path());
    llm::progress silent;
    const auto recipe = recipe_at("asvd-1+anchored", 0.4);
    const auto records = llm::compressor(model, text_of(tokens), silent).run(recipe);
    for (const std::size_t layer : {3UL, 5UL, 6UL, 7UL, 10UL, 13UL}) {
        CAPTURE(layer);
        const auto site = model.site_index(layer);
        const bool writes = layer % 7 == 3 || layer % 7 == 6;
        const auto& w = *dense.layer(layer).dense();
        const Eigen::MatrixXd wd = w.cast<double>();
        const auto n = w.cols(), m = w.rows();
        Eigen::MatrixXd target = Eigen::MatrixXd::Zero(m, n), gram = Eigen::MatrixXd::Zero(n, n);
        nsvd::calibration<float> compressed(n);
        for (const auto& window : windows_of(tokens)) {
            const auto a = run_through(dense, window), b = run_through(model, window);
            Eigen::MatrixXd wanted = wd * a.inputs[site];
            // Residuals before this site's layers: after those of the site that wrote last.
            if (writes && site > 1) wanted += a.after[site - 1] - b.after[site - 1];
            target += wanted * b.inputs[site].transpose();
            gram += b.inputs[site] * b.inputs[site].transpose();
            compressed.update(b.inputs[site]);
        }
        const double epsilon = 0.05 * gram.trace() / static_cast<double>(n);
        const Eigen::MatrixXd metric = gram + epsilon * Eigen::MatrixXd::Identity(n, n);
        target += epsilon * wd;
        const Eigen::MatrixXd best = metric.llt().solve(target.transpose()).transpose();
        const auto d = nsvd::asvd(best, compressed, nsvd::rank{records[layer].rank},
                                  {.whitening = nsvd::whitening::cholesky, .blend = 0.05});
        const Eigen::MatrixXd expected = d.dense();
        CHECK((model.layer(layer).product().cast<double>() - expected).norm() <= 1e-3 * w.norm());
    }
}

TEST_CASE("layers in order, with biases: the mean of the residual stream is the original one", "[llm]") {
    const auto* name = GENERATE("asvd-1+anchored+bias", "nsvd-1+anchored+bias+joint+pivoted");
    // Layers that stay dense pass the error of their inputs on; the next that writes makes up for it.
    for (const bool some_dense : {false, true}) {
        CAPTURE(name, some_dense);
        const auto source = larger();
        const llm_test::small_model where(source);
        const auto tokens = source.tokens(400);
        const llm::model dense(where.path());
        llm::model model(where.path());
        llm::progress silent;
        auto input = text_of(tokens);
        if (some_dense) input.keep_dense = {"layers.0.self_attn.o_proj", "layers.1.mlp.down_proj"};
        llm::compressor(model, std::move(input), silent).run(recipe_at(name, 0.4));
        std::vector<Eigen::VectorXd> error(dense.sites(), Eigen::VectorXd::Zero(32));
        std::vector<double> size(dense.sites(), 0.0);
        for (const auto& window : windows_of(tokens)) {
            const auto a = run_through(dense, window), b = run_through(model, window);
            for (std::size_t i = 0; i < error.size(); ++i) {
                error[i] += (a.after[i] - b.after[i]).rowwise().sum();
                size[i] += (a.after[i] - b.after[i]).norm();
            }
        }
        for (std::size_t i = 1; i < error.size(); ++i) {
            CAPTURE(i);
            const bool behind_dense = some_dense && (i == 1 || i == 2 || i == 7 || i == 8);
            const double part = error[i].norm() / (size[i] * std::sqrt(400.0));
            CHECK(size[i] > 0);
            if (behind_dense)
                CHECK(part > 1e-4);
            else
                CHECK(part <= 1e-5);
        }
    }
}

TEST_CASE("layers in order beat layers apart on the final hidden states", "[llm]") {
    const auto source = larger();
    const llm_test::small_model where(source);
    const auto tokens = source.tokens(2000);
    const llm::model dense(where.path());
    llm::model model(where.path());
    llm::progress silent;
    llm::compressor compress(model, text_of(tokens), silent);
    const auto error = [&](const char* name) {
        compress.run(recipe_at(name, 0.2));
        double sum = 0;
        for (const auto& window : windows_of(tokens))
            sum += (model.hidden(window) - dense.hidden(window)).cast<double>().squaredNorm();
        return sum;
    };
    const double apart = error("asvd-1"), in_order = error("asvd-1+anchored");
    CHECK(in_order < 0.9 * apart);
    CHECK(error("asvd-1+anchored+bias+pivoted") < 0.9 * apart);
}

TEST_CASE("what a recipe stores is within the budget and what its files take", "[llm]") {
    for (const auto dtype : {st::dtype::F32, st::dtype::F16}) {
        auto source = larger();
        source.dtype = dtype;
        source.blocks = 2;
        const llm_test::small_model where(source);
        const llm_test::scratch folder;
        const auto tokens = source.tokens(200);
        llm::model model(where.path());
        llm::progress silent;
        llm::compressor compress(model, text_of(tokens, 2), silent);
        int count = 0;
        for (const auto* name :
             {"svd", "nid-1", "asvd-1+pivoted", "nsvd-1+bias", "asvd-1+pivoted+bias", "asvd-1+joint",
              "asvd-1+joint+bias+pivoted", "asvd-1+greedy", "asvd-1+greedy+bias+pivoted",
              "asvd-1+effective-rank+pivoted", "asvd-1+loss-group+bias", "asvd-1+sensitivity+pivoted",
              "asvd-1+measured+bias", "asvd-1+anchored+bias", "best"}) {
            CAPTURE(dtype, name);
            const auto budget = llm::byte_budget(model, 0.3);
            const auto records = compress.run(recipe_at(name, 0.3));
            std::int64_t bytes = 0, parameters = 0;
            for (const auto& record : records) {
                bytes += record.bytes;
                parameters += record.parameters;
            }
            const auto output = folder / std::to_string(count++);
            llm::save_model(model, output, {}, false);
            const llm::model back(output);
            std::int64_t stored = 0, numbers = 0;
            for (const auto& record : records)
                stored += llm_test::bytes_in(back.weights(), record.name);
            for (std::size_t i = 0; i < back.layers(); ++i)
                numbers += back.layer(i).parameters();
            CHECK(bytes == stored);
            CHECK(bytes <= budget);
            // What an interpolative stage leaves out of its numbers is in its files.
            if (std::string(name) != "nid-1") CHECK(parameters == numbers);
            const auto window = source.tokens(30);
            CHECK(back.forward(window) == model.forward(window));
        }
    }
}

TEST_CASE("layers that are to stay dense are the source's, byte for byte", "[llm]") {
    auto source = larger();
    source.dtype = st::dtype::BF16;
    const llm_test::small_model where(source);
    const llm_test::scratch folder;
    const auto tokens = source.tokens(300);
    llm::progress silent;
    int count = 0;
    for (const auto* name : {"asvd-1", "asvd-1+joint+pivoted", "asvd-1+anchored", "nsvd-1+bias"}) {
        CAPTURE(name);
        llm::model model(where.path());
        const auto dense = llm_test::layers_of(model);
        auto input = text_of(tokens);
        input.keep_dense = {"down_proj", "layers.1.self_attn.k_proj"};
        llm::compressor compress(model, std::move(input), silent);
        const auto recipe = recipe_at(name, 0.3);
        std::int64_t bytes = 0;
        for (const auto& record : compress.run(recipe)) {
            CAPTURE(record.name);
            bytes += record.bytes;
            const bool kept = record.name.ends_with("down_proj") ||
                              record.name.starts_with(recipe.joint ? "model.layers.1.self_attn.qkv_proj"
                                                                   : "model.layers.1.self_attn.k_proj");
            CHECK((record.status == "dense") == kept);
            if (kept) CHECK((record.weighted_error == 0 && record.plain_error == 0));
            if (kept) CHECK(record.rank == std::min(record.m, record.n));
            if (kept) CHECK(record.parameters == record.m * record.n);
        }
        CHECK(bytes <= llm::byte_budget(model, 0.3));
        const auto output = folder / std::to_string(count++);
        llm::save_model(model, output, {}, false);
        const st::file file(output / "model.safetensors");
        for (std::size_t i = 0; i < model.layers(); ++i) {
            const bool kept = i % 7 == 6 || i == 8 || (recipe.joint && i >= 7 && i < 10);
            CHECK((model.layer(i).dense() == dense[i].dense()) == kept);
            const auto weight = model.layer_name(i) + ".weight";
            CHECK(file.contains(weight) == kept);
            if (kept) CHECK(std::ranges::equal(file.at(weight).bytes, model.weights().at(weight).bytes));
        }
    }
    llm::model model(where.path());
    auto input = text_of(tokens);
    input.keep_dense = {"spiking"};
    llm::compressor compress(model, input, silent);
    const auto sites = llm::gather(model, tokens, {.context = context}, "text", 1, silent);
    const auto spikes = nsvd::spiking(sites);
    const auto records = compress.run(recipe_at("svd", 0.3));
    for (std::size_t i = 0; i < records.size(); ++i)
        CHECK((records[i].status == "dense") ==
              (std::ranges::find(spikes, model.site_index(i)) != spikes.end()));
    input.keep_dense = {"q_proj", "x_proj"};
    CHECK(error_of([&] { llm::compressor(model, input, silent); }).find("'x_proj'") != std::string::npos);
}

TEST_CASE("layers whose inputs spike stay dense", "[llm]") {
    // A channel before the first block's down layer that is open for one token of the text alone.
    auto source = larger();
    source.biased = true;
    const llm_test::small_model where(source);
    const llm_test::scratch folder;
    const auto tokens = source.tokens(300);
    {
        llm::model model(where.path());
        Eigen::MatrixXf inputs(32, 0);
        for (const auto& window : windows_of(tokens))
            (void)model.hidden(window, [&](std::size_t block, llm::site at, const Eigen::MatrixXf& x) {
                if (block != 0 || at != llm::site::feed_forward) return;
                inputs.conservativeResize(Eigen::NoChange, inputs.cols() + x.cols());
                inputs.rightCols(x.cols()) = x;
            });
        Eigen::Index longest = 0;
        inputs.colwise().norm().maxCoeff(&longest);
        Eigen::VectorXf along = inputs.transpose() * inputs.col(longest);
        const float most = along(longest);
        along(longest) = 0;
        const float threshold = (most + along.maxCoeff()) / 2;
        Eigen::MatrixXf gate = *model.layer(4).dense(), up = *model.layer(5).dense();
        Eigen::VectorXf bias = model.layer(4).bias();
        const float scale = 1000 / (most - threshold);
        gate.row(7) = scale * inputs.col(longest).transpose();
        bias(7) = -scale * threshold;
        up.row(7) = inputs.col(longest).transpose();
        const Eigen::VectorXf up_bias = model.layer(5).bias();
        model.layer(4) = llm::linear(gate, bias);
        model.layer(5) = llm::linear(up, up_bias);
        llm::save_model(model, folder / "spiking", {}, false);
    }
    llm::model model(folder / "spiking");
    auto input = text_of(tokens);
    input.keep_dense = {"spiking"};
    llm::progress silent;
    llm::compressor compress(model, input, silent);
    for (const auto* name : {"asvd-1", "nsvd-1+joint+anchored+bias"}) {
        CAPTURE(name);
        const auto records = compress.run(recipe_at(name, 0.3));
        for (const auto& record : records)
            CHECK((record.status == "dense") == (record.name == "model.layers.0.mlp.down_proj"));
    }
}

TEST_CASE("tuned layers do best on the held-out text, of all that could be chosen", "[llm]") {
    const auto source = larger();
    auto other = source;
    other.seed = 9;
    const llm_test::small_model where(source);
    const auto tokens = source.tokens(300);
    llm::model model(where.path());
    const auto dense = llm_test::layers_of(model);
    llm::progress silent;
    const auto sites = llm::gather(model, tokens, {.context = context}, "text", 1, silent);
    const auto held_out = llm::gather(model, other.tokens(300), {.context = context}, "text", 1, silent);
    auto input = text_of(tokens);
    input.held_out = other.tokens(300);
    input.held_out_name = "held out";
    llm::compressor compress(model, std::move(input), silent);
    for (const auto* name : {"asvd-1+tuned", "asvd-0+tuned"}) {
        CAPTURE(name);
        const auto records = compress.run(recipe_at(name, 0.4));
        const bool diagonal = std::string(name).starts_with("asvd-0");
        for (const std::size_t i : {0UL, 3UL, 5UL, 6UL, 15UL}) {
            CAPTURE(i);
            const auto& w = *dense[i].dense();
            const auto& site = sites[model.site_index(i)];
            const auto loss = [&](const auto& d) {
                return nsvd::weighted_error(w, d, held_out[model.site_index(i)]);
            };
            const double found = loss(*model.layer(i).factors());
            double best = std::numeric_limits<double>::infinity();
            for (const double mu : {0.0, 1e-4, 1e-3, 1e-2, 0.1})
                if (!diagonal)
                    best = std::min(best,
                                    loss(nsvd::asvd(w, site, nsvd::rank{records[i].rank},
                                                    {.whitening = nsvd::whitening::cholesky, .blend = mu})));
            for (const double alpha : {0.25, 0.5, 0.75, 1.0})
                if (diagonal)
                    best = std::min(
                        best, loss(nsvd::asvd(w, site, nsvd::rank{records[i].rank},
                                              {.whitening = nsvd::whitening::diagonal, .alpha = alpha})));
            CHECK(found == Approx(best).epsilon(1e-4));
        }
    }
}

TEST_CASE("recipes that can't be followed are errors, and those after them go on", "[llm]") {
    const auto source = larger();
    const llm_test::small_model where(source);
    const auto tokens = source.tokens(300);
    llm::model model(where.path());
    llm::progress silent;
    llm::compressor compress(model, text_of(tokens), silent);
    const auto error = [&](const char* name, double compression = 0.3) {
        return error_of([&] { compress.run(recipe_at(name, compression)); });
    };
    CHECK(error("asvd-1+tuned").starts_with("asvd-1+tuned: a tuned recipe wants a second text"));
    CHECK(error("svd+anchored").starts_with("svd+anchored: anchored regression"));
    CHECK(error("asvd-0+anchored").starts_with("asvd-0+anchored: anchored regression"));
    CHECK_FALSE(error("asvd-1", 0.99).empty());
    CHECK_FALSE(error("asvd-1+bias", 0.9).empty());
    const auto window = source.tokens(30);
    const auto after = outcome_of(model, compress.run(recipe_at("nsvd-1", 0.3)), window);
    llm::model fresh(where.path());
    CHECK(after == outcome_of(fresh,
                              llm::compressor(fresh, text_of(tokens), silent).run(recipe_at("nsvd-1", 0.3)),
                              window));
    CHECK(error_of([&] {
              llm::compressor(model,
                              {.calibration = tokens, .calibration_name = "text", .sample = {.context = 301}},
                              silent);
          }).starts_with("text"));
    auto input = text_of(tokens);
    input.held_out = tokens;
    llm::compressor with_text(model, input, silent);
    CHECK(error_of([&] { with_text.run(recipe_at("svd+tuned", 0.3)); }).find("nothing to tune") !=
          std::string::npos);
}
