// SPDX-License-Identifier: MIT
// Layers of every form through a file and back, what a file may not hold, and whole models with them.
#include "stored_layer.hpp"

#include "compress.hpp"
#include "llm_support.hpp"
#include "naive_llama.hpp"
#include "perplexity.hpp"
#include "random_layer.hpp"
#include "save.hpp"
#include "small_model.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

using Eigen::Index;
using llm_test::bytes_in;
using llm_test::error_of;
using llm_test::form;
using llm_test::random_layer;
namespace st = nsvd::safetensors;

namespace {

constexpr std::array<st::dtype, 3> types{st::dtype::F32, st::dtype::F16, st::dtype::BF16};

bool same(const Eigen::MatrixXf& a, const Eigen::MatrixXf& b) {
    return a.rows() == b.rows() && a.cols() == b.cols() && a == b;
}

/// The same form with the same numbers.
bool same(const llm::linear& a, const llm::linear& b) {
    if (a.bias().size() != b.bias().size() || a.bias() != b.bias()) return false;
    if (a.dense() && b.dense()) return same(*a.dense(), *b.dense());
    if (a.factors() && b.factors())
        return same(a.factors()->left, b.factors()->left) && same(a.factors()->right, b.factors()->right);
    if (!a.pivoted() || !b.pivoted()) return false;
    const auto &p = *a.pivoted(), &q = *b.pivoted();
    return p.kept == q.kept && p.indices == q.indices && same(p.left, q.left) && same(p.right, q.right);
}

bool same_bytes(const st::view& a, const st::view& b) {
    return a.dtype == b.dtype && a.shape == b.shape && std::ranges::equal(a.bytes, b.bytes);
}

/// W by the words of docs/format.md, entry by entry.
Eigen::MatrixXd naive_weight(const llm::checkpoint& file, const std::string& name, Index m, Index n) {
    if (file.contains(name + ".weight")) return st::to_matrix<double>(file.at(name + ".weight"));
    const auto left = st::to_matrix<double>(file.at(name + ".left.weight"));
    const auto right = st::to_matrix<double>(file.at(name + ".right.weight"));
    if (!file.contains(name + ".pivots")) return left * right;
    const auto mask = file.at(name + ".pivots").bytes;
    const bool rows = left.rows() != m;
    Eigen::MatrixXd w(m, n);
    Index kept = 0, other = 0;
    for (Index i = 0; i < (rows ? m : n); ++i) {
        const auto byte = std::to_integer<unsigned>(mask[static_cast<std::size_t>(i / 8)]);
        const bool is_kept = (byte & (1U << (i % 8))) != 0;
        if (rows && is_kept) w.row(i) = right.row(kept++);
        if (rows && !is_kept) w.row(i) = left.row(other++) * right;
        if (!rows && is_kept) w.col(i) = left.col(kept++);
        if (!rows && !is_kept) w.col(i) = left * right.col(other++);
    }
    return w;
}

}  // namespace

TEST_CASE("stored layers: every form through a file, and what it takes there", "[llm]") {
    const llm_test::scratch folder;
    unsigned seed = 0;
    for (const auto type : types)
        for (const auto f : llm_test::forms)
            for (const auto& [m, n, k] : std::vector<std::array<Index, 3>>{
                     {1, 1, 1}, {8, 16, 3}, {9, 15, 9}, {15, 9, 9}, {17, 17, 8}, {24, 40, 1}})
                for (const bool biased : {false, true}) {
                    CAPTURE(type, f, m, n, k, biased);
                    const auto made = random_layer(f, m, n, k, biased, seed += 10);
                    const auto layer = llm::rounded(made.layer, type, "x");
                    const auto path = folder / "layer.safetensors";
                    const auto tensors = llm::layer_tensors(layer, type, "x");
                    for (const auto& t : tensors)
                        CHECK(std::ranges::count(llm::layer_parts, t.name.substr(2)) == 1);
                    st::write(path, tensors);
                    const llm::checkpoint file(path);
                    const auto back = llm::read_layer(file, "x", m, n);
                    CHECK(back.type == type);
                    CHECK(same(back.layer, layer));
                    CHECK(llm::stored_bytes(layer, type) == bytes_in(file, "x"));
                    if (layer.pivoted())
                        CHECK(file.at("x.pivots").shape ==
                              std::vector<std::int64_t>{((f == form::pivot_rows ? m : n) + 7) / 8});
                    // What was stored is what was made, to the rounding of k products of two numbers.
                    const double eps = type == st::dtype::BF16  ? 0x1p-8
                                       : type == st::dtype::F16 ? 0x1p-11
                                                                : 0x1p-24;
                    const double size = 4 * std::sqrt(static_cast<double>(m * n * k));
                    CHECK((naive_weight(file, "x", m, n) - made.weight).norm() <= 4 * eps * size);
                    CHECK((back.layer.bias().cast<double>() - made.bias).norm() <= eps * made.bias.norm());
                }
}

TEST_CASE("stored layers: 16-bit numbers keep their bytes", "[llm]") {
    const llm_test::scratch folder;
    for (const auto type : {st::dtype::F16, st::dtype::BF16}) {
        std::vector<std::uint16_t> bits;
        for (unsigned b = 0; b < 0x10000; ++b) {
            const unsigned exponent = type == st::dtype::F16 ? 0x7c00 : 0x7f80;
            if ((b & exponent) != exponent) bits.push_back(static_cast<std::uint16_t>(b));
        }
        const auto n = static_cast<Index>(bits.size());
        const auto path = folder / "layer.safetensors";
        st::write(path, std::vector<st::tensor>{{"x.weight", type, {1, n}, std::as_bytes(std::span(bits))}});
        const llm::checkpoint file(path);
        const auto again = llm::layer_tensors(llm::read_layer(file, "x", 1, n).layer, type, "x");
        REQUIRE(again.size() == 1);
        CHECK(std::ranges::equal(again[0].bytes, std::as_bytes(std::span(bits))));
    }
}

TEST_CASE("stored layers: numbers beyond the type are an error naming the layer", "[llm]") {
    for (const auto f : llm_test::forms) {
        const auto layer = random_layer(f, 6, 5, 2, true, 3).layer;
        CHECK(error_of([&] { (void)llm::rounded(layer, st::dtype::F16, "some.layer"); }).empty());
        auto large = layer;
        large.set_bias(Eigen::VectorXf::Constant(6, 1e5F));
        CHECK(error_of([&] { (void)llm::rounded(large, st::dtype::F16, "some.layer"); }) ==
              "layer some.layer: weights exceed the range of F16");
        CHECK(llm::rounded(large, st::dtype::BF16, "some.layer").bias()[0] == 99840);
    }
    CHECK_FALSE(
        error_of([] {
            const nsvd::low_rank<float> d{Eigen::MatrixXf::Constant(3, 1, 7e4F), Eigen::MatrixXf::Ones(1, 3)};
            (void)llm::rounded(llm::linear(d), st::dtype::F16, "x");
        }).empty());
}

TEST_CASE("stored layers: what can't be right is an error naming file and tensor", "[llm]") {
    const llm_test::scratch folder;
    const auto path = folder / "layer.safetensors";
    constexpr Index m = 11, n = 13, k = 4;
    const auto message = [&](form f, const std::function<void(std::map<std::string, st::tensor>&)>& change) {
        std::map<std::string, st::tensor> parts;
        for (auto& t : llm::layer_tensors(random_layer(f, m, n, k, true, 5).layer, st::dtype::F16, "x"))
            parts.emplace(t.name.substr(2), t);
        change(parts);
        std::vector<st::tensor> tensors;
        for (auto& [name, t] : parts) {
            t.name = "x." + name;
            tensors.push_back(t);
        }
        st::write(path, tensors);
        const llm::checkpoint file(path);
        const auto text = error_of([&] { (void)llm::read_layer(file, "x", m, n); });
        const auto prefix = path.string() + ": tensor 'x.";
        if (text.empty()) return text;
        REQUIRE(text.starts_with(prefix));
        return text.substr(prefix.size());
    };
    const auto zeros = [](st::dtype type, std::vector<std::int64_t> shape) {
        const auto bytes = std::make_shared<std::vector<std::byte>>(st::count_of(shape) * st::size_of(type));
        return st::tensor{"", type, std::move(shape), *bytes, bytes};
    };
    // The mask changed in place.
    const auto with_mask = [&](form f, const std::function<void(std::vector<std::byte>&)>& edit) {
        return message(f, [&](auto& parts) {
            auto& t = parts.at("pivots");
            auto bytes = std::make_shared<std::vector<std::byte>>(t.bytes.begin(), t.bytes.end());
            edit(*bytes);
            t.bytes = *bytes;
            t.storage = bytes;
        });
    };
    for (const auto f : llm_test::forms) {
        CAPTURE(f);
        CHECK(message(f, [](auto&) {}).empty());
        CHECK(message(f, [&](auto& p) { p.at("bias") = zeros(st::dtype::F16, {m + 1}); }) ==
              "bias': has the shape [12], config.json wants [11]");
        CHECK(message(f, [&](auto& p) {
                  p.at("bias") = zeros(st::dtype::F16, {m, 1});
              }) == "bias': has the shape [11, 1], config.json wants [11]");
        CHECK(message(f, [&](auto& p) { p.at("bias") = zeros(st::dtype::F32, {m}); }) ==
              "bias': dtype F32: the layer's is F16");
        CHECK(message(f, [&](auto& p) {
                  p.at("bias") =
                      st::from_matrix("", st::dtype::F16,
                                      Eigen::VectorXf::Constant(m, std::numeric_limits<float>::infinity()));
                  p.at("bias").shape = {m};
              }) == "bias': has NaN or infinite values");
    }
    for (const auto f : {form::factors, form::pivot_rows, form::pivot_columns}) {
        CAPTURE(f);
        CHECK(message(f, [](auto& p) { p.erase("left.weight"); }) == "left.weight': is missing");
        CHECK(message(f, [](auto& p) { p.erase("right.weight"); }) == "right.weight': is missing");
        CHECK(message(f, [&](auto& p) {
                  p["weight"] = zeros(st::dtype::F16, {m, n});
              }) == "left.weight': the layer is stored dense as well");
        CHECK(message(f, [&](auto& p) {
                  p.at("left.weight") = zeros(st::dtype::F16, {m, 0});
              }) == "left.weight': want a matrix of rank 1 or more");
        CHECK(message(f, [&](auto& p) { p.at("right.weight").dtype = st::dtype::BF16; }) ==
              "right.weight': dtype BF16: the layer's is F16");
        CHECK(message(f, [&](auto& p) {
                  p.at("right.weight") = zeros(st::dtype::F16, {k + 1, n});
              }).starts_with("right.weight': has the shape [5, 13], a layer of 11×13 and rank 4"));
    }
    CHECK(message(form::factors, [&](auto& p) {
              p.at("left.weight") = zeros(st::dtype::F16, {m - k, k});
          }) == "left.weight': has the shape [7, 4], a layer of 11×13 and rank 4 wants [11, 4]");
    CHECK(message(form::dense, [&](auto& p) { p["pivots"] = zeros(st::dtype::U8, {2}); }) ==
          "pivots': the layer is stored dense as well");
    CHECK(message(form::pivot_rows, [&](auto& p) {
              p.at("left.weight") = zeros(st::dtype::F16, {m - k - 1, k});
          }) == "left.weight': has the shape [6, 4], a layer of 11×13 and rank 4 by its rows wants [7, 4]");
    CHECK(message(form::pivot_columns,
                  [&](auto& p) {
                      p.at("right.weight") = zeros(st::dtype::F16, {k, n});
                  }) ==
          "right.weight': has the shape [4, 13], a layer of 11×13 and rank 4 by its columns wants [4, 9]");
    CHECK(message(form::pivot_columns, [&](auto& p) {
              p.at("left.weight") = zeros(st::dtype::F16, {m, n + 1});
          }) == "left.weight': has the rank 14: there are 13 columns to keep");
    CHECK(message(form::pivot_rows, [&](auto& p) {
              p.at("left.weight") = zeros(st::dtype::F16, {0, m + 1});
          }) == "left.weight': has the rank 12: there are 11 rows to keep");
    CHECK(message(form::pivot_rows, [](auto& p) { p.erase("pivots"); }) ==
          "left.weight': has the shape [7, 4], a layer of 11×13 and rank 4 wants [11, 4]");
    for (const auto f : {form::pivot_rows, form::pivot_columns}) {
        const bool rows = f == form::pivot_rows;
        CAPTURE(rows);
        CHECK(message(f, [&](auto& p) { p.at("pivots").dtype = st::dtype::I8; }) ==
              "pivots': dtype I8: want U8");
        CHECK(message(f, [&](auto& p) { p.at("pivots") = zeros(st::dtype::I64, {k}); }) ==
              "pivots': dtype I64: want U8");
        CHECK(message(f, [&](auto& p) { p.at("pivots") = zeros(st::dtype::U8, {3}); }) ==
              (rows ? "pivots': has the shape [3], a bit for each of 11 rows wants [2]"
                    : "pivots': has the shape [3], a bit for each of 13 columns wants [2]"));
        CHECK(message(f, [&](auto& p) { p.at("pivots") = zeros(st::dtype::U8, {2}); }) ==
              "pivots': 0 bits are set: the rank is 4");
        CHECK(with_mask(f, [](auto& mask) {
                  mask[0] = std::byte{0xff};
              }).ends_with("bits are set: the rank is 4"));
        CHECK(with_mask(f, [](auto& mask) { mask[1] |= std::byte{0x80}; }) ==
              (rows ? "pivots': bit 15 is set: there are 11 rows"
                    : "pivots': bit 15 is set: there are 13 columns"));
        CHECK(with_mask(f, [&](auto& mask) { mask[1] |= rows ? std::byte{0x08} : std::byte{0x20}; }) ==
              (rows ? "pivots': bit 11 is set: there are 11 rows"
                    : "pivots': bit 13 is set: there are 13 columns"));
    }
}

TEST_CASE("a model with layers of every form is read back as it was", "[llm]") {
    for (const auto type : types)
        for (const bool source_biased : {false, true}) {
            CAPTURE(type, source_biased);
            llm_test::random_model source;
            source.dtype = type;
            source.biased = source_biased;
            const llm_test::scratch folder;
            std::filesystem::create_directory(folder / "dense");
            source.write_to(folder / "dense");
            llm::model model(folder / "dense");
            const auto tokens = source.tokens(40);
            const auto changed = [](std::size_t i) { return llm_test::forms[i % 4] != form::dense; };
            for (std::size_t i = 0; i < model.layers(); ++i) {
                auto& layer = model.layer(i);
                CHECK((layer.bias().size() != 0) == source_biased);
                if (!changed(i)) continue;
                const auto made = random_layer(llm_test::forms[i % 4], layer.rows(), layer.cols(), 3,
                                               i % 3 == 0, static_cast<unsigned>(i));
                layer = llm::rounded(made.layer, type, "x");
            }
            llm::save_model(model, folder / "mixed", {}, false);
            llm::model back(folder / "mixed");
            const auto expected = model.forward(tokens);
            REQUIRE(expected.allFinite());
            CHECK(back.forward(tokens) == expected);
            std::size_t tensors = back.weights().tensors().size();
            for (std::size_t i = 0; i < model.layers(); ++i) {
                CAPTURE(i);
                const auto name = model.layer_name(i);
                CHECK(same(back.layer(i), model.layer(i)));
                CHECK(back.layer_dtype(i) == type);
                CHECK(llm::stored_bytes(model.layer(i), type) == bytes_in(back.weights(), name));
                CHECK(back.weights().contains(name + ".bias") == (changed(i) ? i % 3 == 0 : source_biased));
                for (const auto part : llm::layer_parts)
                    tensors -= back.weights().contains(name + "." + std::string(part)) ? 1 : 0;
            }
            for (const auto& name : model.weights().tensors()) {
                bool of_changed = false;
                for (std::size_t i = 0; i < model.layers(); ++i)
                    of_changed = of_changed || (changed(i) && name.starts_with(model.layer_name(i)));
                if (!of_changed) CHECK(same_bytes(back.weights().at(name), model.weights().at(name)));
                if (name.find("_proj") == std::string::npos) --tensors;
            }
            CHECK(tensors == 0);

            // Once more, from a source in pivots: dense again, other pivots, and a bias that goes.
            REQUIRE(back.layer(3).pivoted());
            back.layer(3) = llm::rounded(llm::linear(back.layer(3).product()), type, "x");
            back.layer(1) = llm::rounded(
                random_layer(form::pivot_columns, back.layer(1).rows(), back.layer(1).cols(), 2, false, 9)
                    .layer,
                type, "x");
            back.layer(0).set_bias({});
            llm::save_model(back, folder / "again", {}, false);
            const llm::model again(folder / "again");
            for (std::size_t i = 0; i < again.layers(); ++i)
                CHECK(same(again.layer(i), back.layer(i)));
            CHECK(again.forward(tokens) == back.forward(tokens));
            for (const std::size_t taken : {0UL, 1UL, 2UL, 3UL, 4UL, 5UL, 6UL}) {
                CAPTURE(taken);
                const auto layer = back.layer(taken);
                back.layer(taken) = llm::linear();
                CHECK(error_of([&] {
                          llm::save_model(back, folder / "taken", {}, false);
                      }).find("model.layers.0.") != std::string::npos);
                CHECK_FALSE(std::filesystem::exists(folder / "taken"));
                back.layer(taken) = layer;
            }
        }
}

TEST_CASE("compression keeps the biases of the source", "[llm]") {
    llm_test::random_model source;
    source.dtype = st::dtype::BF16;
    source.biased = true;
    const llm_test::scratch folder;
    std::filesystem::create_directory(folder / "dense");
    source.write_to(folder / "dense");
    llm::model model(folder / "dense");
    const auto tokens = source.tokens(400);
    llm::progress silent;
    const auto layers =
        llm::compressor(
            model,
            {.calibration = tokens, .calibration_name = "text", .sample = {.context = 20}, .threads = 1},
            silent)
            .run(llm_test::recipe_at("nsvd-1", 0.3));
    llm::save_model(model, folder / "compressed", {}, false);
    const llm::model back(folder / "compressed");
    CHECK(llm::evaluate(back, tokens, 20, "text", 1, silent).window_nll ==
          llm::evaluate(model, tokens, 20, "text", 1, silent).window_nll);
    for (std::size_t i = 0; i < back.layers(); ++i) {
        const auto name = back.layer_name(i);
        CHECK(same_bytes(back.weights().at(name + ".bias"), model.weights().at(name + ".bias")));
        CHECK(layers[i].bytes == bytes_in(back.weights(), name));
        CHECK(layers[i].parameters == layers[i].rank * (layers[i].m + layers[i].n) + layers[i].m);
    }
}
