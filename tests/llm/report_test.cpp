#include "llm/report.hpp"

#include "llm/axis.hpp"
#include "llm/cells.hpp"
#include "llm/markup.hpp"
#include "llm/statistics.hpp"
#include "page_support.hpp"
#include "support/catch.hpp"

#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using llm_test::contains;
using llm_test::well_formed;

constexpr double infinity = std::numeric_limits<double>::infinity();

llm::text_result result_of(std::vector<double> windows) {
    llm::text_result result;
    result.nll = std::accumulate(windows.begin(), windows.end(), 0.) / static_cast<double>(windows.size());
    result.perplexity = std::exp(result.nll);
    result.window_nll = std::move(windows);
    return result;
}

llm::comparison_row row_of(std::string method, std::string label, double compression,
                           std::vector<llm::text_result> texts) {
    llm::comparison_row row;
    row.method = std::move(method);
    row.label = std::move(label);
    row.compression = compression;
    row.parameters = 700;
    row.bytes = 1400;
    row.weighted_error = 0.25;
    row.plain_error = 0.5;
    row.seconds = 1.5;
    row.texts = std::move(texts);
    return row;
}

/// Three texts, the first of the calibration's kind; two compressions with three methods each.
llm::comparison sample() {
    llm::comparison c;
    c.model = "tiny";
    c.calibration = "calibration.txt";
    c.text_names = {"home", "news", "tales"};
    c.in_domain = "home";
    c.context = 256;
    c.calibration_windows = 128;
    c.calibration_tokens = 32768;
    c.seed = 18446744073709551615U;
    c.share = 0.95;
    c.dense_parameters = 1000;
    c.dense_bytes = 2000;
    c.dense = {result_of({1, 1.2}), result_of({1.5, 1.7}), result_of({2, 2.2})};
    for (const double compression : {0.1, 0.25}) {
        const double rise = 2 * compression;
        c.rows.push_back(row_of("svd", "SVD", compression,
                                {result_of({3 + rise, 3.1}), result_of({4, 4.2}), result_of({5, 5.3})}));
        c.rows.push_back(row_of("asvd-1", "ASVD-I", compression,
                                {result_of({1 + rise, 1.2}), result_of({2, 2.2}), result_of({3, 3.4})}));
        c.rows.push_back(
            row_of("nsvd-1", "NSVD-I", compression,
                   {result_of({1.1 + rise, 1.3}), result_of({1.8, 2.1}), result_of({2.9, 3.1})}));
    }
    c.machine = "a machine";
    c.date = "2025-01-01";
    c.version = "0.1.0";
    c.command = "nsvd-llm compare --model tiny";
    return c;
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);)
        lines.push_back(line);
    return lines;
}

/// A table without the breaks in its notes.
std::string unwrapped(const std::string& text) {
    std::string result;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);)
        result += line.starts_with("  ") ? line.substr(1) : '\n' + line;
    return result;
}

std::vector<std::string> words_of(const std::string& line) {
    std::istringstream stream(line);
    std::vector<std::string> words;
    for (std::string word; stream >> word;)
        words.push_back(word);
    return words;
}

}  // namespace

TEST_CASE("statistics by hand", "[llm][report]") {
    SECTION("mean and standard error") {
        const std::vector<double> values{1, 2, 6};  // squares about 3: 4 + 1 + 9
        const auto m = llm::mean_of(values);
        CHECK(m.mean == Approx(3));
        CHECK(m.standard_error == Approx(std::sqrt(14. / 2 / 3)));
        const std::vector<double> one{5};
        CHECK(llm::mean_of(one).mean == 5);
        CHECK(std::isnan(llm::mean_of(one).standard_error));
        CHECK(std::isnan(llm::mean_of({}).mean));
    }
    const auto c = sample();
    const auto& nested = c.rows[2];
    SECTION("a text") {
        // differences −0.2 and −0.1: mean −0.15, sd √0.005, se 0.05
        const auto gain = llm::text_improvement(c, nested, 1);
        CHECK(gain.value == Approx(1 - std::exp(-0.15)));
        CHECK(gain.standard_error == Approx(std::exp(-0.15) * 0.05));
    }
    SECTION("the average leaves out the calibration's kind") {
        // third text: differences −0.1 and −0.3, mean −0.2, se 0.1
        const double a = std::exp(-0.15);
        const double b = std::exp(-0.2);
        const auto average = llm::average_improvement(c, nested);
        CHECK(average.value == Approx((2 - a - b) / 2));
        CHECK(average.standard_error == Approx(std::hypot(0.05 * a, 0.1 * b) / 2));
    }
    SECTION("which texts count") {
        auto d = c;
        d.counted = {true, true, false};
        CHECK(llm::average_improvement(d, d.rows[2]).value == Approx(1 - std::exp(-0.15)));
        d.in_domain.reset();
        CHECK(llm::average_improvement(d, d.rows[2]).value ==
              Approx((2 - std::exp(0.1) - std::exp(-0.15)) / 2));
        d.counted = {false, false, false};
        CHECK(std::isnan(llm::average_improvement(d, d.rows[2]).value));
    }
    SECTION("inflation is the geometric mean of the ratios to the first row, over all texts that count") {
        CHECK(llm::inflation(c, nested) ==
              Approx(std::cbrt(std::exp(1.3 - 1.1) * std::exp(1.95 - 1.6) * std::exp(3.0 - 2.1))));
        auto d = c;
        d.counted = {true, false, true};
        CHECK(llm::inflation(d, d.rows[2]) == Approx(std::sqrt(std::exp(1.3 - 1.1) * std::exp(3.0 - 2.1))));
        d.counted = {false, false, false};
        CHECK(std::isnan(llm::inflation(d, d.rows[2])));
        d = c;
        for (std::size_t i = 0; i < 3; ++i)
            d.rows[2].texts[i] = d.dense[i];
        CHECK(llm::inflation(d, d.rows[2]) == 1);
    }
    SECTION("another reference") {
        auto d = c;
        d.reference = "nsvd-1";
        CHECK(llm::reference_label(d) == "NSVD-I");
        CHECK(llm::text_improvement(d, d.rows[1], 1).value == Approx(1 - std::exp(0.15)));
        CHECK(llm::average_improvement(d, d.rows[2]).value == 0);
        d.reference = "best";
        CHECK(llm::reference_label(d) == "best");
        CHECK(std::isnan(llm::average_improvement(d, d.rows[2]).value));
    }
    SECTION("within two standard errors of none") {
        CHECK(llm::within_error({0.1, 0.05}));
        CHECK(llm::within_error({-0.1, 0.06}));
        CHECK_FALSE(llm::within_error({0.11, 0.05}));
        CHECK_FALSE(llm::within_error({-0.11, 0.05}));
        CHECK_FALSE(llm::within_error({0.1, std::nan("")}));
        CHECK_FALSE(llm::within_error({std::nan(""), 0.1}));
        CHECK_FALSE(llm::within_error({-infinity, infinity}));
    }
    SECTION("the reference against itself, and none") {
        const auto zero = llm::average_improvement(c, c.rows[1]);
        CHECK(zero.value == 0);
        CHECK(zero.standard_error == 0);
        auto d = c;
        d.rows.erase(d.rows.begin() + 1);
        CHECK(llm::reference_row(d, 0.1) == nullptr);
        CHECK(llm::reference_row(d, 0.25) != nullptr);
        CHECK(std::isnan(llm::average_improvement(d, d.rows[1]).value));
    }
    SECTION("lists that don't fit") {
        auto d = c;
        d.rows[2].texts[1].window_nll.push_back(1);
        CHECK_THROWS_AS(llm::average_improvement(d, d.rows[2]), std::invalid_argument);
        d = c;
        d.rows[0].texts.pop_back();
        CHECK_THROWS_AS(llm::print_table(d), std::invalid_argument);
        d = c;
        d.counted = {true};
        CHECK_THROWS_AS(llm::to_json(d), std::invalid_argument);
        d = c;
        d.dense.clear();
        CHECK_THROWS_AS(llm::html_report(d), std::invalid_argument);
    }
}

TEST_CASE("figures as text", "[llm][report]") {
    CHECK(llm::perplexity_text(8.349) == "8.35");
    CHECK(llm::perplexity_text(9.996) == "10.0");
    CHECK(llm::perplexity_text(38.46) == "38.5");
    CHECK(llm::perplexity_text(99.96) == "100");
    CHECK(llm::perplexity_text(287.4) == "287");
    CHECK(llm::perplexity_text(7325.1) == "7325");
    CHECK(llm::perplexity_text(9999.7) == "1.0e4");
    CHECK(llm::perplexity_text(1.23e6) == "1.2e6");
    CHECK(llm::perplexity_text(4.56e120) == "4.6e120");
    CHECK(llm::perplexity_text(infinity) == "inf");
    CHECK(llm::perplexity_text(std::nan("")) == "nan");
    CHECK(llm::improvement_text({0.1472, 0.0119}) == "+14.7 % ± 1.2");
    CHECK(llm::improvement_text({-13.2, 0.31}) == "-1320 % ± 31");
    CHECK(llm::improvement_text({-0.0001, 0.00001}) == "0.0 % ± 0.0");
    CHECK(llm::improvement_text({0.05, std::nan("")}) == "+5.0 %");
    CHECK(llm::improvement_text({-infinity, infinity}) == "–");
    CHECK(llm::bytes_text(0) == "0 B");
    CHECK(llm::bytes_text(999) == "999 B");
    CHECK(llm::bytes_text(1000) == "1.000 kB");
    CHECK(llm::bytes_text(9999) == "9.999 kB");
    CHECK(llm::bytes_text(9999600) == "10.00 MB");
    CHECK(llm::bytes_text(99994) == "99.99 kB");
    CHECK(llm::bytes_text(99996) == "100.0 kB");
    CHECK(llm::bytes_text(703800) == "703.8 kB");
    CHECK(llm::bytes_text(999949) == "999.9 kB");
    CHECK(llm::bytes_text(999951) == "1.000 MB");
    CHECK(llm::bytes_text(13476839424) == "13.48 GB");
    CHECK(llm::bytes_text(2'500'000'000'000'000) == "2500.0 TB");
    CHECK(llm::percent_text(0.1) == "10 %");
    CHECK(llm::percent_text(0.125) == "12.5 %");
    CHECK(llm::tick_text(0.5) == "0.5");
    CHECK(llm::tick_text(7000) == "7000");
    CHECK(llm::tick_text(100000) == "10⁵");
    CHECK(llm::tick_text(2e12) == "2·10¹²");
}

TEST_CASE("axes have readable ticks for any range", "[llm][report]") {
    const std::vector<std::pair<double, double>> ranges{
        {3.5, 3.5}, {3.5, 3.6}, {3.5, 8}, {3.5, 7000}, {1, 1e12}, {2, 1e300}, {1e307, 1.7e308}, {1e-3, 1e-2}};
    for (const auto& [low, high] : ranges) {
        for (const bool log : {true, false}) {
            CAPTURE(low, high, log);
            const llm::axis axis(low, high, log);
            CHECK(axis.place(low) > 0);
            CHECK(axis.place(high) < 1);
            CHECK(axis.ticks().size() >= 3);
            CHECK(axis.ticks().size() <= 9);
            for (const double tick : axis.ticks()) {
                CHECK(axis.place(tick) >= 0);
                CHECK(axis.place(tick) <= 1);
            }
        }
    }
}

TEST_CASE("the table marks the best of each group", "[llm][report]") {
    const auto lines = lines_of(llm::print_table(sample()));
    // heading, rule, dense, rule, three methods, rule, three methods, rule
    REQUIRE(lines.size() > 12);
    CHECK(words_of(lines[0])[0] == "method");
    CHECK(words_of(lines[0])[1] == "bytes");
    CHECK(contains(lines[0], "inflation"));
    CHECK(contains(lines[0], "home †"));
    CHECK(contains(lines[0], "average vs ASVD-I"));
    CHECK(words_of(lines[2]) ==
          std::vector<std::string>{"0", "%", "dense", "2.000", "kB", "3.00", "4.95", "8.17"});
    CHECK(words_of(lines[4]) == std::vector<std::string>{"10", "%", "SVD", "1.400", "kB", "23.3", "60.3",
                                                         "172", "12.6", "-621", "%", "±", "18"});
    CHECK(words_of(lines[5]) ==
          std::vector<std::string>{"ASVD-I", "1.400", "kB", "3.32*", "8.17", "24.5", "1.76", "reference"});
    CHECK(words_of(lines[6]) == std::vector<std::string>{"NSVD-I", "1.400", "kB", "3.67", "7.03*", "20.1*",
                                                         "1.62*", "+16.0", "%", "±", "4.6*"});
    CHECK(contains(lines[8], "25 %"));
    const auto all = unwrapped(llm::print_table(sample()));
    CHECK(contains(all, "* best"));
    CHECK(contains(all, "news, tales"));
    CHECK(contains(all, "256 tokens"));
    CHECK(contains(all, "128 windows"));

    SECTION("figures that read the same are all marked") {
        auto c = sample();
        c.rows[1].texts[1] = result_of({1.8, 2.1001});
        const auto row = words_of(lines_of(llm::print_table(c))[5]);
        CHECK(row[4] == "7.03*");
    }
    SECTION("texts that don't count are marked") {
        auto c = sample();
        c.counted = {true, true, false};
        const auto text = llm::print_table(c);
        CHECK(contains(text, "tales ‡"));
        CHECK(contains(text, "‡ the dense model"));
    }
    SECTION("gains within two standard errors are marked, the reference's row never") {
        auto c = sample();
        c.rows[2].texts[1] = result_of({1.9, 2.2});   // −0.1 and 0: 1 − e^−0.05 ± 0.05
        c.rows[2].texts[2] = result_of({2.9, 3.45});  // −0.1 and 0.05: 1 − e^−0.025 ± 0.07
        const auto table = llm::make_cells(c);
        CHECK(table.groups[0].rows[2].average.text.ends_with(" ≈"));
        CHECK_FALSE(table.groups[1].rows[2].average.text.ends_with("≈"));
        CHECK(table.groups[0].rows[1].average.text == "reference");
        CHECK_FALSE(table.groups[0].rows[0].average.text.ends_with("≈"));
        CHECK(contains(unwrapped(llm::print_table(c)), "within two standard errors"));
    }
    SECTION("another reference, a model that was compressed before") {
        auto c = sample();
        c.reference = "svd";
        c.baseline = "as stored";
        const auto printed = lines_of(llm::print_table(c));
        CHECK(contains(printed[0], "average vs SVD"));
        CHECK(contains(printed[2], "as stored"));
        CHECK(words_of(printed[4]).back() == "reference");
        CHECK(words_of(printed[5]).back() != "reference");
        CHECK(contains(unwrapped(llm::print_table(c)), "perplexity over SVD at"));
    }
    SECTION("without the reference") {
        auto c = sample();
        std::erase_if(c.rows, [](const auto& row) { return row.method == "asvd-1"; });
        CHECK(contains(unwrapped(llm::print_table(c)), "needs the method asvd-1"));
    }
}

TEST_CASE("comparison as JSON", "[llm][report]") {
    const auto c = sample();
    const auto json = llm::to_json(c);
    CHECK(json["dense"]["texts"]["news"]["windows"] == 2);
    CHECK(json["rows"].size() == 6);
    const auto& row = json["rows"][2];
    CHECK(row["method"] == "nsvd-1");
    CHECK(row["texts"]["news"]["perplexity"].get<double>() == Approx(std::exp(1.95)));
    CHECK(row["texts"]["news"]["improvement"].get<double>() == Approx(1 - std::exp(-0.15)));
    CHECK(row["improvement"].get<double>() == Approx(llm::average_improvement(c, c.rows[2]).value));
    CHECK(json["seed"] == 18446744073709551615U);
    CHECK(json["reference"] == "asvd-1");
    CHECK(row["inflation"].get<double>() == Approx(llm::inflation(c, c.rows[2])));
    CHECK(row["bytes"] == 1400);

    SECTION("reference and baseline are read back") {
        auto d = c;
        d.reference = "nsvd-1";
        d.baseline = "as stored";
        const auto back = llm::from_json(nlohmann::ordered_json::parse(llm::to_json(d).dump()));
        CHECK(back.reference == "nsvd-1");
        CHECK(back.baseline == "as stored");
        CHECK(llm::inflation(back, back.rows[2]) == Approx(llm::inflation(c, c.rows[2])).epsilon(1e-14));
        CHECK(llm::print_table(back) == llm::print_table(d));
        CHECK(llm::html_report(back) == llm::html_report(d));
    }
    SECTION("read back it draws the same report") {
        const auto back = llm::from_json(nlohmann::ordered_json::parse(json.dump(1)));
        CHECK(llm::to_json(back) == json);
        CHECK(llm::print_table(back) == llm::print_table(c));
        CHECK(llm::html_report(back) == llm::html_report(c));
    }
    SECTION("a key that is missing or of another type") {
        auto broken = json;
        broken["dense"].erase("texts");
        CHECK_THROWS_AS(llm::from_json(broken), std::invalid_argument);
        broken = json;
        broken["rows"][0]["label"] = 3;
        CHECK_THROWS_AS(llm::from_json(broken), std::invalid_argument);
        CHECK_THROWS_AS(llm::from_json(nlohmann::ordered_json::array()), std::invalid_argument);
    }
}

TEST_CASE("figures that aren't finite", "[llm][report]") {
    auto c = sample();
    c.rows[0].texts[1] = result_of({800, 810});  // nll is finite, perplexity overflows
    c.rows[3].texts[1] = result_of({infinity, 1});
    c.rows[3].texts[2] = result_of({std::nan(""), 1});
    c.rows[4].seconds = std::nan("");
    REQUIRE(std::isinf(c.rows[0].texts[1].perplexity));

    const auto json = llm::to_json(c);
    const auto& text = json["rows"][0]["texts"]["news"];
    CHECK(text["perplexity"].is_null());
    CHECK(text["nll"] == 805);
    CHECK(text["improvement"].is_null());
    CHECK(json["rows"][3]["texts"]["tales"]["nll"].is_null());
    CHECK(json["rows"][3]["improvement"].is_null());
    CHECK(json["rows"][4]["seconds"].is_null());
    CHECK(llm::to_json(llm::from_json(json)) == json);

    const auto lines = lines_of(llm::print_table(c));
    CHECK(words_of(lines[4]) ==
          std::vector<std::string>{"10", "%", "SVD", "1.400", "kB", "23.3", "inf", "172", "1.1e117", "–"});
    CHECK(words_of(lines[8])[6] == "inf");
    CHECK(words_of(lines[8])[7] == "nan");

    const auto page = llm::html_report(c);
    CHECK(well_formed(page));
    const auto plots = page.substr(page.find("<svg"));
    CHECK(llm_test::count(plots, "inf") == llm_test::count(plots, "inflation"));
    CHECK_FALSE(contains(plots, "nan"));
}

TEST_CASE("HTML report", "[llm][report]") {
    auto c = sample();
    SECTION("one page without script or anything fetched") {
        const auto page = llm::html_report(c);
        CHECK(page.starts_with("<!DOCTYPE html>"));
        CHECK(well_formed(page));
        CHECK(llm_test::stands_alone(page));
        // The average, the inflation, and each text against compression and against bytes.
        CHECK(llm_test::count(page, "<svg") == 2 + 2 * c.text_names.size());
        CHECK(contains(page, ">inflation</text>"));
        CHECK_FALSE(contains(page, "<details"));
        CHECK_FALSE(contains(page, "Gram"));
        CHECK(contains(page, "<span>7.03</span><i>*</i>"));
        CHECK(contains(page, c.command));
        CHECK(contains(page, c.machine));
        CHECK(contains(page, c.date));
    }
    SECTION("names are escaped") {
        const std::string name = "<b>\"a\" & 'b'\x01";
        const std::string safe = "&lt;b&gt;&quot;a&quot; &amp; &#39;b&#39;\xEF\xBF\xBD";
        CHECK(llm::escaped(name) == safe);
        c.model = c.calibration = c.machine = c.command = c.version = c.date = name;
        c.text_names[1] = name;
        c.rows[0].method = c.rows[0].label = name;
        const auto page = llm::html_report(c);
        CHECK(well_formed(page));
        CHECK(contains(page, safe));
        CHECK_FALSE(contains(page, "<b>"));
    }
    SECTION("the layers of each row, and how alike the texts are") {
        for (auto& row : c.rows) {
            for (const std::int64_t block : {0, 1})
                row.layers.push_back({.name = "h." + std::to_string(block) + ".mlp.<up>_proj",
                                      .block = block,
                                      .kind = "mlp.<up>_proj",
                                      .m = 8,
                                      .n = 4,
                                      .rank = 1 + block,
                                      .full_rank = 4,
                                      .parameters = 12,
                                      .bytes = 24,
                                      .dense_bytes = 64,
                                      .weighted_error = 0.25,
                                      .plain_error = std::nan(""),
                                      .seconds = 0.5,
                                      .status = block == 0 ? "ok" : "dense"});
        }
        c.similarity = llm::text_similarity{{"calibration", "<news>"}, {{1, 0.75}, {0.75, 1}}, 16};
        const auto page = llm::html_report(c);
        CHECK(well_formed(page));
        CHECK(llm_test::count(page, "<details>") == c.rows.size());
        CHECK(contains(page, "<summary>NSVD-I at 25 %: 1.400 kB"));
        CHECK(contains(page,
                       "h.0.mlp.&lt;up&gt;_proj (8 × 4): rank 1 of 4, 24 B of 64 B, weighted error 0.250"));
        CHECK(contains(page, "h.1.mlp.&lt;up&gt;_proj (8 × 4): dense"));
        CHECK(contains(page, ">25 %</td>"));
        CHECK(contains(page, "calibration and &lt;news&gt;: 0.7500\">0.75</td>"));
        const auto json = llm::to_json(c);
        CHECK(json["rows"][0]["layers"][1]["rank"] == 2);
        CHECK(json["rows"][0]["layers"][0]["plain_error"].is_null());
        CHECK(json["similarity"]["values"][1][0] == 0.75);
        const auto back = llm::from_json(nlohmann::ordered_json::parse(json.dump()));
        CHECK(llm::to_json(back) == json);
        CHECK(llm::html_report(back) == page);
        auto broken = json;
        broken["rows"][1]["layers"][0].erase("rank");
        CHECK_THROWS_AS(llm::from_json(broken), std::invalid_argument);
        broken = json;
        broken["similarity"]["values"][0].erase(0);
        CHECK_THROWS_AS(llm::from_json(broken), std::invalid_argument);
    }
    SECTION("methods of one plot have styles of their own") {
        const std::vector<std::string> methods{"asvd-1", "asvd-1+bias", "nsvd-1", "best", "nid-2"};
        const auto styles = llm::styles_of(methods);
        CHECK(std::set<std::size_t>(styles.begin(), styles.end()).size() == methods.size());
        CHECK(styles[0] == llm::styles_of({"svd", "asvd-1"})[1]);
        CHECK(llm::styles_of(std::vector<std::string>(20, "best")).size() == 20);
    }
    SECTION("little to show") {
        c.rows.resize(1);
        CHECK(well_formed(llm::html_report(c)));
        c.rows.clear();
        CHECK(well_formed(llm::html_report(c)));
        CHECK_FALSE(llm::print_table(c).empty());
        c.dense.clear();
        c.text_names.clear();
        CHECK(well_formed(llm::html_report(c)));
        CHECK(llm::to_json(llm::from_json(llm::to_json(c))) == llm::to_json(c));
    }
}
