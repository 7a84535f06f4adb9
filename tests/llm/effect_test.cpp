// SPDX-License-Identifier: MIT
// What compression does to predictions, against sums in double and models with one layer replaced.
#include "effect.hpp"

#include "calibrate.hpp"
#include "perplexity.hpp"
#include "small_model.hpp"
#include "support/catch.hpp"

#include <nsvd/nsvd.hpp>

#include <cmath>

namespace {

const llm::journal none;

/// Divergence and nll from logits (vocabulary × N), in double.
llm::prediction_change naive_change(const Eigen::MatrixXd& before, const Eigen::MatrixXd& after,
                                    const std::vector<llm::token>& window) {
    const auto log_softmax = [](const Eigen::VectorXd& x) -> Eigen::ArrayXd {
        return x.array() - std::log(x.array().exp().sum());
    };
    llm::prediction_change sum;
    for (Eigen::Index t = 0; t + 1 < after.cols(); ++t) {
        const Eigen::ArrayXd p = log_softmax(before.col(t)), q = log_softmax(after.col(t));
        for (Eigen::Index i = 0; i < p.size(); ++i)
            sum.divergence += std::exp(p(i)) * (p(i) - q(i));
        sum.nll -= q(static_cast<Eigen::Index>(window[static_cast<std::size_t>(t) + 1]));
    }
    const auto n = static_cast<double>(after.cols() - 1);
    return {sum.divergence / n, sum.nll / n};
}

}  // namespace

TEST_CASE("predictions of two hidden states, against sums in double", "[llm]") {
    for (const bool tied : {false, true}) {
        llm_test::random_model source;
        source.tied = tied;
        const llm_test::small_model where(source);
        const llm::model model(where.path());
        const auto head = nsvd::safetensors::to_matrix<double>(
            model.weights().at(tied ? "model.embed_tokens.weight" : "lm_head.weight"));
        for (const std::size_t length : {2UL, 20UL, 257UL, 300UL}) {
            const auto window = source.tokens(length);
            const Eigen::MatrixXf before = model.hidden(window);
            CHECK(llm::compare_predictions(model, window, before, before).divergence == 0);
            CHECK(llm::compare_predictions(model, window, before, before).nll ==
                  Approx(llm::window_nll(model, window)).epsilon(1e-12));
            Eigen::MatrixXf direction(before.rows(), before.cols());
            for (Eigen::Index i = 0; i < direction.size(); ++i)
                direction.data()[i] = std::sin(static_cast<float>(7 * i));
            for (const float size : {1e-3F, 0.1F, 2.0F}) {
                CAPTURE(tied, length, size);
                const Eigen::MatrixXf after = before + size * direction;
                const auto found = llm::compare_predictions(model, window, before, after);
                const auto expected =
                    naive_change(head * before.cast<double>(), head * after.cast<double>(), window);
                CHECK(expected.divergence > 0);
                CHECK(found.divergence >= 0);
                // Logits of about 10 are rounded to 1e-6, which divergence, a square, feels by its root;
                // the sums of exponentials are rounded to 1e-7.
                CHECK(std::abs(found.divergence - expected.divergence) <=
                      1e-5 * expected.divergence + 1e-6 * std::sqrt(expected.divergence) + 1e-7);
                CHECK(found.nll == Approx(expected.nll).epsilon(1e-5));
            }
        }
    }
}

TEST_CASE("effects of units compressed alone, against models with that layer replaced", "[llm]") {
    llm_test::random_model source;
    source.biased = true;
    source.blocks = 3;
    const llm_test::small_model where(source);
    const llm::model model(where.path());
    const auto layers = llm_test::layers_of(model);
    const auto windows = where.windows(5, 24);
    llm::progress silent;
    const auto sites = llm::gather(model, source.tokens(400), {.context = 20}, "text", 1, silent);
    for (const bool joint : {false, true}) {
        const auto units = llm::units_of(model, joint);
        const auto site_of = [&](const llm::unit& u) -> const auto& {
            return sites[model.site_index(u.layers.front())];
        };
        const auto metric_of = [&](const llm::unit& u) {
            return nsvd::gram_metric(site_of(u), nsvd::whitening::cholesky);
        };
        const auto ranks = [](const llm::unit& u) {
            return u.layers.front() % 7 == 3 ? std::vector<Eigen::Index>{5} : std::vector<Eigen::Index>{2, 7};
        };
        const auto found =
            llm::measure_effects(model, layers, units, metric_of, ranks, windows, none, 1, silent);
        const auto threads =
            llm::measure_effects(model, layers, units, metric_of, ranks, windows, none, 3, silent);
        REQUIRE(found.size() == units.size());
        double dense_nll = 0;
        for (const auto& window : windows)
            dense_nll += llm::window_nll(model, window) / 5;
        for (std::size_t i = 0; i < units.size(); ++i) {
            CAPTURE(joint, units[i].name);
            CHECK(found[i].dense_nll == Approx(dense_nll).epsilon(1e-12));
            const auto wanted = ranks(units[i]);
            REQUIRE(found[i].effects.size() == wanted.size());
            for (std::size_t e = 0; e < wanted.size(); ++e) {
                const auto& effect = found[i].effects[e];
                CHECK(effect.rank == wanted[e]);
                CHECK(effect.divergence == threads[i].effects[e].divergence);
                CHECK(effect.nll == threads[i].effects[e].nll);
                llm::model replaced(where.path());
                const Eigen::MatrixXf w =
                    nsvd::asvd(llm::weight_of(units[i], layers), site_of(units[i]), nsvd::rank{wanted[e]},
                               {.whitening = nsvd::whitening::cholesky})
                        .dense();
                Eigen::Index row = 0;
                for (const auto layer : units[i].layers) {
                    const auto rows = layers[layer].rows();
                    replaced.layer(layer) =
                        llm::linear(Eigen::MatrixXf(w.middleRows(row, rows)), layers[layer].bias());
                    row += rows;
                }
                double divergence = 0, nll = 0;
                for (const auto& window : windows) {
                    const auto change = naive_change(model.forward(window).cast<double>(),
                                                     replaced.forward(window).cast<double>(), window);
                    divergence += change.divergence / 5;
                    nll += change.nll / 5;
                }
                CHECK(effect.divergence == Approx(divergence).epsilon(1e-3));
                CHECK(effect.nll == Approx(nll).epsilon(1e-4));
            }
        }
    }
}

TEST_CASE("divergence curves go through what was measured, descend and end at 0", "[llm]") {
    Eigen::VectorXd spectrum(10);
    for (Eigen::Index i = 0; i < 10; ++i)
        spectrum(i) = std::pow(0.5, static_cast<double>(i));
    const auto loss = [&](Eigen::Index k) { return spectrum.tail(10 - k).sum() / spectrum.sum(); };
    const auto descends = [](const std::vector<double>& curve) {
        for (std::size_t k = 1; k < curve.size(); ++k)
            if (!(curve[k] <= curve[k - 1])) return false;
        return curve.back() == 0;
    };
    SECTION("knots, between them and beyond") {
        const std::vector<llm::effect> effects{{2, 3.0, 0}, {5, 0.4, 0}, {8, 0.01, 0}};
        const auto curve = llm::divergence_curve(effects, spectrum);
        REQUIRE(curve.size() == 11);
        CHECK(descends(curve));
        CHECK(curve[2] == Approx(3.0));
        CHECK(curve[5] == Approx(0.4));
        CHECK(curve[8] == Approx(0.01));
        // A power of the loss through two knots.
        const double power = std::log(3.0 / 0.4) / std::log(loss(2) / loss(5));
        for (const Eigen::Index k : {3, 4})
            CHECK(curve[static_cast<std::size_t>(k)] == Approx(0.4 * std::pow(loss(k) / loss(5), power)));
        for (const Eigen::Index k : {0, 1})
            CHECK(curve[static_cast<std::size_t>(k)] == Approx(3.0 * loss(k) / loss(2)));
        CHECK(curve[9] == Approx(0.01 * loss(9) / loss(8)));
        // The unit of the spectrum is of no consequence.
        const auto scaled = llm::divergence_curve(effects, 1e6 * spectrum);
        for (std::size_t k = 0; k < 11; ++k)
            CHECK(scaled[k] == Approx(curve[k]));
    }
    SECTION("divergences that don't descend, or vanish") {
        CHECK(descends(llm::divergence_curve({{2, 0.3, 0}, {5, 0.4, 0}, {8, 0.1, 0}}, spectrum)));
        CHECK(llm::divergence_curve({{2, 0.3, 0}, {5, 0.4, 0}, {8, 0.1, 0}}, spectrum)[2] == Approx(0.4));
        const auto curve = llm::divergence_curve({{2, 1.0, 0}, {5, -1e-9, 0}, {8, 0.0, 0}}, spectrum);
        CHECK(descends(curve));
        CHECK(curve[5] < 1e-11);
        CHECK(curve[5] >= 0);
    }
    SECTION("one knot, or none: in proportion to the loss") {
        const auto one = llm::divergence_curve({{4, 0.5, 0}}, spectrum);
        const auto nothing = llm::divergence_curve({}, spectrum);
        CHECK(descends(one));
        for (Eigen::Index k = 0; k < 10; ++k) {
            CHECK(one[static_cast<std::size_t>(k)] == Approx(0.5 * loss(k) / loss(4)));
            CHECK(nothing[static_cast<std::size_t>(k)] == Approx(loss(k)));
        }
    }
    SECTION("spectra that end, and ones of zeros") {
        Eigen::VectorXd short_one = spectrum;
        short_one.tail(4).setZero();
        const auto curve =
            llm::divergence_curve({{2, 1.0, 0}, {5, 0.1, 0}, {7, 0.0, 0}, {9, 0.0, 0}}, short_one);
        CHECK(descends(curve));
        CHECK(curve[5] == Approx(0.1));
        CHECK(curve[6] < 1e-11);
        CHECK(llm::divergence_curve({{2, 1.0, 0}}, Eigen::VectorXd::Zero(3)) == std::vector<double>(4, 0.0));
    }
}
