// SPDX-License-Identifier: MIT
// Results as text, through to_string and streams.
#include "support/calibrated.hpp"
#include "support/catch.hpp"
#include "support/random.hpp"

#include <nsvd/nsvd.hpp>

#include <algorithm>
#include <clocale>
#include <iomanip>
#include <locale>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

using Catch::ContainsSubstring;
using support::calibrated;
using support::gaussian;

namespace {

template <class T>
std::string streamed(const T& x) {
    std::ostringstream out;
    out << x;
    return out.str();
}

std::ptrdiff_t newlines(const std::string& text) {
    return std::count(text.begin(), text.end(), '\n');
}

struct german : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\3"; }
};

}  // namespace

TEST_CASE("describe: a decomposition in one line, its info in a table", "[describe]") {
    const Eigen::MatrixXd w = gaussian(40, 60, 1);
    const auto calib = calibrated(gaussian(60, 200, 2));
    const auto d = nsvd::nested(w, calib, nsvd::rank{12}, {.share = 0.75});
    const std::string line = streamed(d);
    CHECK_THAT(line,
               ContainsSubstring("low_rank 40×60: rank 12, 1200 numbers (50 % of dense), relative loss 0."));
    CHECK_THAT(line, ContainsSubstring("in gram (cholesky), " + d.info.solver + ", status ok"));
    CHECK(newlines(line) == 0);
    CHECK(line == nsvd::to_string(d));

    const std::string info = streamed(d.info);
    CHECK_THAT(info, ContainsSubstring("status ok, numerical rank 40, gap 0, certified, "));
    CHECK_THAT(info, ContainsSubstring("\nmetric           rank  share  relative loss"));
    CHECK_THAT(info, ContainsSubstring("\ngram (cholesky)  9     0.75   0."));
    CHECK_THAT(info, ContainsSubstring("\nidentity         3     0.25   0."));
    CHECK(newlines(info) == 3);
    CHECK_THAT(streamed(d.info.stages[1]),
               ContainsSubstring("identity: rank 3, share 0.25, relative loss 0."));

    const auto pivoted = nsvd::pivot(d);
    CHECK_THAT(streamed(pivoted), ContainsSubstring("pivoted_low_rank by "));
    CHECK_THAT(streamed(pivoted), ContainsSubstring("40×60: rank 12, 1056 numbers (44 % of dense)"));

    // Factors that no decomposition made, and none at all.
    const nsvd::low_rank<float> own{Eigen::MatrixXf::Ones(3, 1), Eigen::MatrixXf::Ones(1, 5)};
    CHECK(streamed(own) == "low_rank 3×5: rank 1, 8 numbers (53.33 % of dense)");
    CHECK(streamed(nsvd::low_rank<double>()) == "low_rank 0×0: rank 0, 0 numbers");
    CHECK_THAT(streamed(nsvd::decomposition_info()), ContainsSubstring("status ok, numerical rank 0"));
    // Trouble is not left out.
    const Eigen::MatrixXd zero = Eigen::MatrixXd::Zero(4, 5);
    CHECK_THAT(streamed(nsvd::svd(zero, nsvd::rank{2})), ContainsSubstring("status rank-deficient"));
    CHECK_THAT(streamed(nsvd::svd(zero, nsvd::rank{2}).info), ContainsSubstring("filler"));
}

TEST_CASE("describe: whatever else a user would print", "[describe]") {
    const Eigen::MatrixXd x = gaussian(6, 30, 3);
    auto calib = calibrated(x);
    CHECK(streamed(calib) == "calibration: 6 features, 30 tokens, raw moments");
    calib.update(x, std::vector<double>(30, 0.5));
    CHECK(streamed(calib) == "calibration: 6 features, 60 tokens of weight 45, raw moments");
    nsvd::calibration<float> pairs(6, nsvd::moments::central);
    pairs.update(x, x);
    CHECK(streamed(pairs) == "calibration: 6 features, 30 pairs, central moments");

    CHECK(streamed(nsvd::metric()) == "metric identity");
    CHECK(streamed(nsvd::gram_metric(calib)) == "metric gram (cholesky) of 6×6");
    CHECK_THAT(streamed(nsvd::gram_metric(calib, nsvd::whitening::eigen, 0.1)),
               ContainsSubstring("metric gram (eigen) of 6×6, shift "));
    CHECK(streamed(nsvd::diagonal_metric(calib)) == "metric diagonal of 6×6");
    CHECK_THAT(streamed(nsvd::cholesky_factor(calib.gram())),
               ContainsSubstring("cholesky factor of 6×6: rank 6, rcond 0."));
    CHECK_THAT(streamed(nsvd::cholesky_factor(Eigen::MatrixXd::Ones(3, 3))), ContainsSubstring(", ridge "));
    CHECK(streamed(nsvd::diagonal_factor(Eigen::Vector2d(1.0, 2.0))) ==
          "diagonal factor of 2×2: rank 2, rcond 0.5");

    CHECK(streamed(nsvd::similarity(calib, calib, 2)) ==
          "similarity: means 1, mean_abs 1, grams 1, principal cosines 1, 1");
    CHECK(streamed(nsvd::interpolative(Eigen::MatrixXd::Identity(3, 3), nsvd::rank{3})) ==
          "interpolative: 3 of 3 columns, relative error 0, numerical rank 3, status ok");
    CHECK_THAT(streamed(nsvd::every_rank(gaussian(3, 6, 4), nsvd::gram_metric(calib))),
               ContainsSubstring("every_rank: ranks 1 to 3 in gram (cholesky), "));
    const std::vector<double> squares{4.0, 1.0};
    CHECK(streamed(nsvd::spectrum{.leading = squares}) == "2 values from 4 to 1, total 5");
    CHECK(streamed(nsvd::spectrum{}) == "0 values, total 0");
    CHECK(streamed(nsvd::shape{512, 384}) == "512×384");
    CHECK(streamed(nsvd::progress{"stage 1: columns", 0.375}) == "stage 1: columns: 37.5 %");
    CHECK(streamed(nsvd::allocation{{12, std::nullopt}, 300, 0.25}) ==
          "allocation of 2 layers: cost 300, loss 0.25, ranks 12, dense");
    CHECK(streamed(nsvd::allocation()) == "allocation of 0 layers: cost 0, loss 0");
    CHECK_THAT(streamed(nsvd::allocation{std::vector<std::optional<nsvd::index>>(40, 7), 1, 0.0}),
               ContainsSubstring("7, 7 and 8 more"));

    CHECK(streamed(nsvd::compression{0.3}) == "compression 30 %");
    CHECK(streamed(nsvd::compression{0.3, nsvd::storage::pivoted}) == "compression 30 %, pivoted");
    CHECK(streamed(nsvd::rank{64}) == "rank 64");
    CHECK(streamed(nsvd::energy{0.99}) == "energy 99 %");
    CHECK(streamed(nsvd::tolerance{0.05}) == "tolerance 5 %");
    CHECK(streamed(nsvd::tuning{}) == "cholesky, share 1, blend 0");
    CHECK(streamed(nsvd::tuning{.whitening = nsvd::whitening::diagonal}) == "diagonal, share 1, alpha 0.5");
}

TEST_CASE("describe: names of enumerators", "[describe]") {
    STATIC_REQUIRE(nsvd::to_string(nsvd::accuracy::exact) == "exact");
    STATIC_REQUIRE(nsvd::to_string(nsvd::accuracy::fast) == "fast");
    STATIC_REQUIRE(nsvd::to_string(nsvd::whitening::diagonal) == "diagonal");
    STATIC_REQUIRE(nsvd::to_string(nsvd::moments::central) == "central");
    STATIC_REQUIRE(nsvd::to_string(nsvd::statistic::max) == "max");
    STATIC_REQUIRE(nsvd::to_string(nsvd::residual::interpolative) == "interpolative");
    STATIC_REQUIRE(nsvd::to_string(nsvd::storage::pivoted) == "pivoted");
    STATIC_REQUIRE(nsvd::to_string(nsvd::lines::columns) == "columns");
    STATIC_REQUIRE(nsvd::to_string(nsvd::allocation_rule::loss_group) == "loss_group");
    CHECK(streamed(nsvd::status::singular_metric) == "singular metric");
    CHECK(streamed(nsvd::accuracy::balanced) == "balanced");
    // From a cast of a number that no enumerator has.
    CHECK(nsvd::to_string(static_cast<nsvd::accuracy>(99)) == "unknown");
    CHECK(nsvd::to_string(static_cast<nsvd::whitening>(99)) == "unknown");
    CHECK(nsvd::to_string(static_cast<nsvd::allocation_rule>(99)) == "unknown");
    STATIC_REQUIRE_FALSE(nsvd::describable<int>);
    STATIC_REQUIRE_FALSE(nsvd::describable<std::string>);
    STATIC_REQUIRE_FALSE(nsvd::describable<Eigen::MatrixXd>);
}

TEST_CASE("describe: a stream is left as it was, and its flags and locale don't show", "[describe]") {
    const auto d = nsvd::svd(gaussian(1200, 4, 5), nsvd::rank{2});
    const std::string plain = nsvd::to_string(d);
    std::ostringstream out;
    out.imbue(std::locale(std::locale::classic(), new german));
    out << std::hex << std::showbase << std::scientific << std::setprecision(17) << std::uppercase << d;
    CHECK(out.str() == plain);
    CHECK((out.flags() & std::ios::basefield) == std::ios::hex);
    CHECK((out.flags() & std::ios::floatfield) == std::ios::scientific);
    CHECK(out.precision() == 17);
    // The width is that of the next item, as for strings, and gone after that.
    std::ostringstream aligned;
    aligned << std::setw(10) << std::setfill('.') << std::left << nsvd::rank{64} << '|' << std::right
            << std::setw(10) << nsvd::rank{64} << nsvd::rank{6};
    CHECK(aligned.str() == "rank 64...|...rank 64rank 6");

    // Nor does the locale of the program, in results and in messages.
    const std::string before = std::setlocale(LC_ALL, nullptr);
    for (const char* name : {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"})
        if (std::setlocale(LC_ALL, name) != nullptr) break;
    CHECK(nsvd::to_string(d) == plain);
    CHECK(nsvd::detail::text(0.5) == "0.5");
    std::setlocale(LC_ALL, before.c_str());
}
