// SPDX-License-Identifier: MIT
// The page of a compression, and the report it is drawn from.
#include "llm/compression_report.hpp"

#include "llm/heat_map.hpp"
#include "llm/layer_map.hpp"
#include "llm/spectrum_chart.hpp"
#include "llm_support.hpp"
#include "page_support.hpp"
#include "support/catch.hpp"

#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <limits>

using llm_test::contains;
using llm_test::count;
using llm_test::error_of;
using llm_test::well_formed;
using json = nlohmann::ordered_json;

namespace {

json layer(const std::string& name, std::int64_t block, const std::string& kind, std::int64_t rank) {
    return {{"name", name},
            {"block", block},
            {"kind", kind},
            {"m", 8},
            {"n", 16},
            {"rank", rank},
            {"full_rank", 8},
            {"parameters", 24 * rank},
            {"bytes", 48 * rank},
            {"dense_bytes", 256},
            {"weighted_error", 0.1 * static_cast<double>(block + 1)},
            {"plain_error", 0.3},
            {"seconds", 0.25},
            {"status", rank == 8 ? "dense" : "ok"},
            {"spectrum", {{"index", {1, 2, 3, 5, 8}}, {"value", {10., 4., 1., 0.1, 0.01}}}}};
}

/// Two blocks of two kinds; one layer was left dense.
json sample() {
    return {{"format", "nsvd.report"},
            {"version", 1},
            {"nsvd", "0.1.0"},
            {"command", "nsvd-llm compress --model tiny"},
            {"date", "2026-11-23"},
            {"machine", "a machine"},
            {"model", "tiny"},
            {"output", "tiny-30"},
            {"method", "nsvd-1+pivoted"},
            {"label", "NSVD-I + pivoted"},
            {"compression", 0.3},
            {"options", {{"share", 0.95}, {"storage", "pivoted"}}},
            {"calibration", {{{"file", "calibration.txt"}, {"tokens", 1024}, {"windows", 4}}}},
            {"bytes", {{"dense", 1024}, {"compressed", 700}}},
            {"parameters", {{"dense", 512}, {"compressed", 350}}},
            {"seconds", 1.5},
            {"layers",
             {layer("h.0.attn.q_proj", 0, "attn.q_proj", 3), layer("h.0.mlp.up_proj", 0, "mlp.up_proj", 5),
              layer("h.1.attn.q_proj", 1, "attn.q_proj", 2), layer("h.1.mlp.up_proj", 1, "mlp.up_proj", 8)}},
            {"texts",
             {{{"name", "news"},
               {"dense", {{"nll", 1.0}, {"perplexity", 2.718}}},
               {"compressed", {{"nll", 1.5}, {"perplexity", 4.482}}}}}}};
}

/// What is between two strings, the first time.
std::string between(const std::string& text, const std::string& before, const std::string& after) {
    const auto begin = text.find(before);
    if (begin == std::string::npos) return {};
    const auto from = begin + before.size();
    return text.substr(from, text.find(after, from) - from);
}

}  // namespace

TEST_CASE("page of a compression", "[llm][report]") {
    const auto page = llm::compression_page(sample());
    CHECK(page.starts_with("<!DOCTYPE html>"));
    CHECK(well_formed(page));
    CHECK(llm_test::stands_alone(page));
    SECTION("facts, texts and every layer") {
        for (const auto* part :
             {"NSVD-I + pivoted (nsvd-1+pivoted)", "30 % of the parameters", "700 B of 1.024 kB (68.4 %)",
              "4, 1 of them left dense", "calibration.txt: 1024 tokens in 4 windows",
              "share 0.95, storage pivoted", "a machine", "2026-11-23", "nsvd-llm compress --model tiny",
              ">news</th><td>2.72</td><td>4.48</td><td>× 1.649</td>"}) {
            CAPTURE(part);
            CHECK(contains(page, part));
        }
        const auto layers = sample().at("layers");
        for (const auto& l : layers) {
            const auto name = l["name"].get<std::string>();
            CAPTURE(name);
            CHECK(contains(page, "<th scope=\"row\">" + name + "</th>"));  // the table
            CHECK(count(page, "title=\"" + name + " (8 × 16)") == 3);      // the maps
            CHECK(contains(page, "<title>" + name));                       // the spectra
        }
        CHECK(contains(page, "h.0.attn.q_proj (8 × 16): rank 3 of 8, 144 B of 256 B, weighted error 0.100"));
        CHECK(contains(page, ">38 %</td>"));
        CHECK(contains(page, ">dense</td>"));
    }
    SECTION("a chart for each kind") {
        CHECK(count(page, "<svg class=\"spectrum\"") == 2);
        CHECK(contains(page, "ranks 2–3 of 8"));
        CHECK(contains(page, "rank 5 of 8"));
        CHECK(count(page, "<circle class=\"cut") == 3);
    }
    SECTION("texts and spectra may be absent, null figures are shown as such") {
        auto report = sample();
        report.erase("texts");
        for (auto& l : report["layers"])
            l.erase("spectrum");
        report["layers"][0]["weighted_error"] = nullptr;
        const auto less = llm::compression_page(report);
        CHECK(well_formed(less));
        CHECK_FALSE(contains(less, "Perplexity"));
        CHECK_FALSE(contains(less, "<svg"));
        CHECK_FALSE(contains(less, "nan"));
        report["layers"] = json::array();
        CHECK(well_formed(llm::compression_page(report)));
    }
    SECTION("names are escaped") {
        const std::string name = "<b>\"a\" & 'b'\x01";
        auto report = sample();
        for (const auto* key : {"nsvd", "command", "date", "machine", "model", "output", "method", "label"})
            report[key] = name;
        report["options"] = {{name, name}};
        report["calibration"][0]["file"] = name;
        report["texts"][0]["name"] = name;
        for (auto& l : report["layers"])
            l["name"] = l["kind"] = l["status"] = name;
        const auto escaped = llm::compression_page(report);
        CHECK(well_formed(escaped));
        CHECK_FALSE(contains(escaped, "<b>"));
        CHECK_FALSE(contains(llm::printed(llm::read_compression_report(report)), "\x01"));
    }
}

TEST_CASE("a cut is a point of its line", "[llm][report]") {
    llm::spectrum_chart chart{.title = "k", .full_rank = 11, .lowest = -4};
    chart.lines.push_back({.name = "one", .rank = 3, .spectrum = {{1, 3, 11}, {1, 1e-1, 1e-3}}});
    const auto svg = llm::draw(chart);
    const auto x = between(svg, "cx=\"", "\"");
    const auto y = between(svg, "cy=\"", "\"");
    CAPTURE(svg);
    CHECK(contains(svg, "L" + x + " " + y + "L"));  // the vertex of index 3
    // Two tenths of the way from the first index to the last, a quarter of that from 1 to 10⁻⁴.
    const auto start = between(svg, "<path class=\"line t0\" d=\"M", "L");
    const double left = std::stod(start);
    const double top = std::stod(start.substr(start.find(' ')));
    const double right = std::stod(between(svg, "class=\"axis\" d=\"M", "\"")
                                       .substr(between(svg, "class=\"axis\" d=\"M", "\"").find('H') + 1));
    const double bottom = std::stod(between(svg, "class=\"axis\" d=\"M", "\"")
                                        .substr(between(svg, "class=\"axis\" d=\"M", "\"").find('V') + 1));
    CHECK(std::stod(x) == Approx(left + 0.2 * (right - left)).margin(0.1));
    CHECK(std::stod(y) == Approx(top + 0.25 * (bottom - top)).margin(0.1));
    SECTION("between two indices it is on the straight line") {
        chart.lines[0].rank = 7;
        const auto moved = llm::draw(chart);
        CHECK(std::stod(between(moved, "cx=\"", "\"")) == Approx(left + 0.6 * (right - left)).margin(0.1));
        CHECK(std::stod(between(moved, "cy=\"", "\"")) == Approx(top + 0.5 * (bottom - top)).margin(0.1));
    }
    SECTION("a line that leaves through the lower edge ends there") {
        chart.lowest = -2;
        const auto path = between(llm::draw(chart), "<path class=\"line t0\" d=\"", "\"");
        CHECK(path.ends_with(fmt::format("L{:.1f} {:.1f}", left + 0.6 * (right - left), bottom)));
    }
    SECTION("a dense layer has none") {
        chart.lines[0].cut = false;
        CHECK_FALSE(contains(llm::draw(chart), "<circle"));
    }
}

TEST_CASE("a spectrum of which some values are kept", "[llm][report]") {
    const llm::sampled_spectrum spectrum{{1, 3, 4}, {100, 1, 0}};
    CHECK(spectrum.log_ratio(0) == 0);
    CHECK(spectrum.log_ratio(1) == 0);
    CHECK(spectrum.log_ratio(2) == Approx(-1));
    CHECK(spectrum.log_ratio(3) == Approx(-2));
    CHECK(spectrum.log_ratio(9) == llm::sampled_spectrum::lowest);
    CHECK(llm::sampled_spectrum{{1}, {0}}.log_ratio(1) == llm::sampled_spectrum::lowest);
    const Eigen::VectorXd values = Eigen::VectorXd::LinSpaced(5000, 5000, 1);
    const auto kept = llm::sample_spectrum(values);
    CHECK(kept.index.size() < 200);
    CHECK(kept.index.front() == 1);
    CHECK(kept.index.back() == 5000);
    for (std::size_t i = 0; i < kept.index.size(); ++i) {
        CHECK((i == 0 || kept.index[i] > kept.index[i - 1]));
        CHECK(kept.value[i] == values(kept.index[i] - 1));
    }
    CHECK(llm::sample_spectrum(Eigen::VectorXd::Ones(10)).index.size() == 10);
    CHECK(llm::sample_spectrum(Eigen::VectorXd()).empty());
}

TEST_CASE("heat maps colour by value", "[llm][report]") {
    llm::heat_map map{.title = "t", .low = 1, .high = 2, .rows = {"r"}, .columns = {"a", "b", "c", "d", "e"}};
    map.cells = {{{1.0, "low"}, {2.0, "high"}, {7.0, "over"}, {std::nan(""), "none"}, {std::nullopt, ""}}};
    const auto drawn = llm::draw(map);
    CHECK(contains(drawn, "<td class=\"h0\">low"));
    CHECK(contains(drawn, "<td class=\"h8\">high"));
    CHECK(contains(drawn, "<td class=\"h8\">over"));
    CHECK(contains(drawn, "<td>none"));
    CHECK(contains(drawn, "<td></td>"));
    map.high = 1;
    CHECK(well_formed(std::string("\n").append(llm::draw(map))));
    CHECK(llm::short_kind("self_attn.q_proj", {"self_attn.q_proj", "mlp.fc1"}) == "q");
    CHECK(llm::short_kind("mlp.fc1", {"self_attn.q_proj", "mlp.fc1"}) == "fc1");
    CHECK(llm::short_kind("a.q_proj", {"a.q_proj", "b.q_proj"}) == "a.q_proj");
}

TEST_CASE("what is no report of a compression says where", "[llm][report]") {
    const auto broken = [](const std::function<void(json&)>& change) {
        auto report = sample();
        change(report);
        return error_of([&] { (void)llm::compression_page(report); });
    };
    CHECK(broken([](json&) {}).empty());
    CHECK(broken([](json& r) { r = json::array(); }) == "is not an object");
    CHECK(broken([](json& r) { r = {{"rows", 1}}; }) == "key 'format' is missing");
    CHECK(broken([](json& r) { r["format"] = "other"; }) == "format: is 'other': want 'nsvd.report'");
    CHECK(broken([](json& r) { r["version"] = 2; }) == "version: is 2: known is 1");
    CHECK(broken([](json& r) { r["model"] = 3; }) == "model: is not a string");
    CHECK(broken([](json& r) { r["bytes"].erase("dense"); }) == "bytes: key 'dense' is missing");
    CHECK(broken([](json& r) { r["layers"] = 1; }) == "layers: is not a list");
    CHECK(broken([](json& r) { r["layers"][2].erase("rank"); }) == "layers[2]: key 'rank' is missing");
    CHECK(broken([](json& r) { r["layers"][2]["rank"] = 0; }) == "layers[2].rank: is 0: want 1 or more");
    CHECK(broken([](json& r) { r["layers"][0]["m"] = 1.5; }) == "layers[0].m: is not an integer");
    CHECK(broken([](json& r) { r["layers"][0]["spectrum"]["index"][1] = 1; }) ==
          "layers[0].spectrum.index[1]: is 1: indices count from 1 and ascend");
    CHECK(broken([](json& r) { r["layers"][0]["spectrum"]["value"].erase(0); }) ==
          "layers[0].spectrum: 5 indices for 4 values");
    CHECK(broken([](json& r) { r["texts"][0]["dense"] = "x"; }) == "texts[0].dense: is not an object");
}
