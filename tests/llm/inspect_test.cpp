// SPDX-License-Identifier: MIT
// What inspect says of a folder.
#include "llm/inspect.hpp"

#include "llm/compress.hpp"
#include "llm/save.hpp"
#include "llm/terminal.hpp"
#include "page_support.hpp"
#include "small_model.hpp"
#include "support/catch.hpp"

#include <Eigen/SVD>

#include <sstream>

using llm_test::contains;
using llm_test::count;

namespace {

llm::inspection look(const std::filesystem::path& folder, llm::spectra wanted = llm::spectra::as_reported) {
    const llm::model m(folder);
    llm::progress bar;
    return llm::inspect(m, wanted, 2, bar);
}

/// Writes a compressed copy of the model.
void compress(const std::filesystem::path& from, const std::filesystem::path& to, const std::string& recipe,
              std::vector<std::string> keep_dense = {}) {
    llm::model m(from);
    llm::progress bar;
    std::vector<llm::token> tokens(400);
    for (std::size_t i = 0; i < tokens.size(); ++i)
        tokens[i] = static_cast<llm::token>(i * i % 50);
    llm::compressor c(m,
                      {.calibration = tokens,
                       .calibration_name = "c",
                       .sample = {20, 20, 0},
                       .keep_dense = std::move(keep_dense)},
                      bar);
    (void)c.run(llm_test::recipe_at(recipe, 0.3));
    llm::save_model(m, to, {{"method", recipe}, {"rank", {{"x", 1}}}}, false);
}

std::size_t widest(const std::string& text) {
    std::istringstream in(text);
    std::size_t most = 0;
    for (std::string line; std::getline(in, line);)
        most = std::max(most, llm::text_width(line));
    return most;
}

}  // namespace

TEST_CASE("inspect: layers, ranks, bytes", "[llm][inspect]") {
    const llm_test::small_model source;
    const llm_test::scratch folder;
    SECTION("a dense model") {
        const auto found = look(source.path());
        REQUIRE(found.layers.size() == 14);
        const auto& down = found.layers[6];
        CHECK(down.name == "model.layers.0.mlp.down_proj");
        CHECK(down.kind == "mlp.down_proj");
        CHECK(down.m == 16);
        CHECK(down.n == 24);
        CHECK(down.form == "dense");
        CHECK(down.rank == 16);
        CHECK(down.bytes == 4 * 16 * 24);
        CHECK(down.dense_bytes == down.bytes);
        CHECK(found.layers[13].block == 1);
        CHECK(found.embedding_bytes == 4 * 50 * 16);
        CHECK(found.head_bytes == 4 * 50 * 16);
        CHECK(found.other_bytes == 4 * 5 * 16);
        CHECK(found.layer_bytes == found.dense_layer_bytes);
        CHECK(found.about.is_null());
        CHECK(found.spectra_from.empty());
    }
    SECTION("a compressed one: pivots, a layer left dense") {
        compress(source.path(), folder / "small", "nsvd-1+pivoted", {"layers.1.mlp.up"});
        const auto found = look(folder / "small");
        REQUIRE(found.layers.size() == 14);
        std::int64_t bytes = 0;
        const llm::model m(folder / "small");
        for (std::size_t i = 0; i < found.layers.size(); ++i) {
            const auto& layer = found.layers[i];
            CAPTURE(layer.name);
            CHECK((layer.form == "dense") == (i == 12));
            CHECK((i == 12 || layer.form == "rows" || layer.form == "columns"));
            CHECK(layer.bytes == llm_test::bytes_in(m.weights(), layer.name));
            CHECK(layer.dense_bytes == 4 * layer.m * layer.n);
            bytes += layer.bytes;
        }
        CHECK(found.layer_bytes == bytes);
        CHECK(found.other_bytes == 4 * 5 * 16);
        CHECK(found.about["method"] == "nsvd-1+pivoted");
        const auto text = llm::print_inspection(found, 80, false);
        CHECK(contains(text, "nsvd: method nsvd-1+pivoted\n"));
        CHECK(count(text, " rows ") + count(text, " columns ") == 13);
    }
    SECTION("fused layers are one") {
        compress(source.path(), folder / "joint", "asvd-1+joint");
        const auto found = look(folder / "joint");
        REQUIRE(found.layers.size() == 8);
        CHECK(found.layers[0].kind == "self_attn.qkv_proj");
        CHECK(found.layers[0].m == 32);
        CHECK(found.layers[4].name == "model.layers.1.self_attn.qkv_proj");
        CHECK(found.layers[4].form == "factors");
    }
}

TEST_CASE("inspect: spectra", "[llm][inspect]") {
    const llm_test::small_model source;
    const llm_test::scratch folder;
    const auto check = [](const llm::inspected_layer& layer, const Eigen::MatrixXf& w) {
        CAPTURE(layer.name);
        const Eigen::VectorXd exact =
            Eigen::JacobiSVD<Eigen::MatrixXd>(w.cast<double>()).singularValues().array().square();
        REQUIRE(static_cast<std::int64_t>(layer.spectrum.index.size()) == layer.rank);
        for (std::size_t i = 0; i < layer.spectrum.index.size(); ++i)
            CHECK(layer.spectrum.value[i] ==
                  Approx(exact(layer.spectrum.index[i] - 1)).epsilon(1e-5).margin(1e-5 * exact(0)));
    };
    SECTION("of dense layers, factors and pivots") {
        compress(source.path(), folder / "factors", "asvd-1");
        compress(source.path(), folder / "pivots", "asvd-1+pivoted");
        for (const auto& path : {source.path(), folder / "factors", folder / "pivots"}) {
            const llm::model m(path);
            const auto found = look(path, llm::spectra::computed);
            CHECK(found.spectra_from == "the weights");
            for (std::size_t i = 0; i < m.layers(); ++i)
                check(found.layers[i], m.layer(i).product());
        }
    }
    SECTION("of the report, if there is one") {
        compress(source.path(), folder / "small", "asvd-1");
        const std::string report =
            R"({"format":"nsvd.report","version":1,"model":"m","method":"asvd-1","compression":0.3,
            "bytes":{"dense":1,"compressed":1},"parameters":{"dense":1,"compressed":1},"layers":[
            {"name":"model.layers.0.mlp.up_proj","block":0,"kind":"mlp.up_proj","m":24,"n":16,"rank":5,
            "full_rank":16,"parameters":1,"bytes":1,"dense_bytes":1,"weighted_error":0,"plain_error":0,
            "seconds":0,"status":"ok","spectrum":{"index":[1,16],"value":[1,0.5]}}]})";
        llm_test::write(folder / "small/report.json", report);
        const auto found = look(folder / "small");
        CHECK(found.spectra_from == "report.json");
        CHECK(found.layers[5].spectrum.value == std::vector<double>{1, 0.5});
        CHECK(found.layers[4].spectrum.empty());
        llm_test::write(folder / "small/report.json", R"({"format":"nsvd.report","version":9})");
        CHECK(contains(llm_test::error_of([&] { (void)look(folder / "small"); }), "report.json: version"));
        llm_test::write(folder / "small/report.json", R"({"something":"else"})");
        CHECK(look(folder / "small").spectra_from.empty());
    }
}

TEST_CASE("inspect: sparklines", "[llm][inspect]") {
    const llm::sampled_spectrum falling{{1, 8}, {1, 1e-7}};
    CHECK(llm::sparkline(falling, 8, 8, 8) == "█▇▆▅▄▃▂▁");
    CHECK(llm::sparkline(falling, 4, 8, 9) == "█▇▆▅│▄▃▂▁");
    CHECK(llm::sparkline(falling, 1, 8, 9) == "█│▇▆▅▄▃▂▁");
    // No values after the cut: what is left of a compressed layer.
    CHECK(llm::sparkline({{1, 4}, {1, 1e-3}}, 4, 8, 9) == "█▆▃▁│");
    CHECK(llm::sparkline({{1, 8}, {2, 2}}, 8, 8, 4) == "████");
    CHECK(llm::sparkline({}, 4, 8, 9).empty());
    CHECK_FALSE(llm::sparkline({{1}, {0}}, 1, 1, 4).empty());
}

TEST_CASE("inspect: strings of a model's files move no cursor", "[llm][inspect]") {
    const llm_test::small_model source;
    auto found = look(source.path());
    found.about = {{"method\b",
                    "\x1b[31mred\x07\x7f\xc2\x9b"
                    "2J\nnext"},
                   {"text", "größe"}};
    const auto text = llm::print_inspection(found, 400, false);
    CHECK(contains(text, "[31mred   2J next, text größe"));
    for (const auto* control : {"\x1b", "\x07", "\x7f", "\xc2\x9b", "\b"})
        CHECK_FALSE(contains(text, control));
    CHECK(llm::without_controls("a\xc2") == "a\xc2");
    CHECK(llm::without_controls("\xc2\xa0") == "\xc2\xa0");
    CHECK(llm::without_controls("").empty());
}

TEST_CASE("inspect: the table keeps to the width it is given", "[llm][inspect]") {
    const llm_test::small_model source;
    const auto plain = look(source.path());
    const auto with = look(source.path(), llm::spectra::computed);
    for (const std::size_t width : {80U, 100U, 160U}) {
        CAPTURE(width);
        for (const auto* found : {&plain, &with}) {
            const auto text = llm::print_inspection(*found, width, false);
            CHECK(widest(text) <= width);
            CHECK_FALSE(contains(text, "\033"));
            CHECK(contains(text, "in all"));
            CHECK(text.ends_with("\n"));
        }
    }
    CHECK(contains(llm::print_inspection(plain, 80, true), "\033[1m"));
    CHECK_FALSE(llm::print_inspection(with, 1, false).empty());
    const auto json = llm::to_json(with);
    CHECK(json["layers"].size() == 14);
    CHECK(json["layers"][0]["spectrum"]["index"].size() == 16);
    CHECK(json["nsvd"].is_null());
    CHECK(json["bytes"]["head"] == 4 * 50 * 16);
}
