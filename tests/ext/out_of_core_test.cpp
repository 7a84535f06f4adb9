// SPDX-License-Identifier: MIT
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/random.hpp"

#include <nsvd/ext/gram_file.hpp>
#include <nsvd/ext/out_of_core.hpp>
#include <nsvd/nsvd.hpp>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

namespace ooc = nsvd::out_of_core;
using support::expect_error;
using support::gaussian;

namespace {

struct folder {
    std::filesystem::path path =
        std::filesystem::temp_directory_path() / ("nsvd-out-of-core-" + std::to_string(::getpid()));
    folder() { std::filesystem::create_directories(path); }
    ~folder() { std::filesystem::remove_all(path); }
};

/// As little memory as will do: many panels.
ooc::options least(Eigen::Index m, Eigen::Index n, Eigen::Index grams) {
    return {.memory = ooc::memory_needed(m, n, grams), .accuracy = nsvd::accuracy::exact};
}

/// Squared error in a metric, by definition.
double loss(const Eigen::MatrixXd& w, const Eigen::MatrixXd& approximation, const Eigen::MatrixXd& m) {
    const Eigen::MatrixXd e = w - approximation;
    return (e * m).cwiseProduct(e).sum();
}

/// Out of core and in memory must come to the same squared error in the metric of the first stage, but for
/// 1e-5 of it and rounding of 1e3 eps of ‖W S‖², and left must be orthonormal.
template <class Scalar>
void check_like_in_memory(const Eigen::Matrix<Scalar, -1, -1>& w, const std::vector<nsvd::stage>& inner,
                          const std::vector<ooc::stage>& outer, const Eigen::MatrixXd& m, Eigen::Index k,
                          Eigen::Index grams, int line = __builtin_LINE()) {
    INFO("called at line " << line);
    CAPTURE(w.rows(), w.cols(), k);
    const auto expected = nsvd::decompose(w, std::span<const nsvd::stage>(inner), nsvd::rank{k},
                                          {.accuracy = nsvd::accuracy::exact});
    const auto actual = ooc::decompose(w, std::span<const ooc::stage>(outer), nsvd::rank{k},
                                       least(w.rows(), w.cols(), grams));
    REQUIRE(actual.rank() == k);
    REQUIRE(actual.left.rows() == w.rows());
    REQUIRE(actual.right.cols() == w.cols());
    const double eps = static_cast<double>(std::numeric_limits<Scalar>::epsilon());
    const Eigen::MatrixXd wide = w.template cast<double>();
    const double scale = wide.cwiseAbs().maxCoeff() == 0.0 ? 1.0 : wide.cwiseAbs().maxCoeff();
    const auto scaled = [&](const auto& d) -> Eigen::MatrixXd {
        return (d.left.template cast<double>() * (d.right.template cast<double>() / scale));
    };
    const Eigen::MatrixXd unit = wide / scale;
    const double whole = loss(unit, Eigen::MatrixXd::Zero(w.rows(), w.cols()), m);
    const double a = loss(unit, scaled(actual), m);
    const double b = loss(unit, scaled(expected), m);
    CHECK(std::abs(a - b) <= 1e-5 * b + 1e3 * eps * whole);
    const Eigen::MatrixXd q = actual.left.template cast<double>();
    CHECK((q.transpose() * q - Eigen::MatrixXd::Identity(k, k)).norm() <= 100 * eps * double(k));
    CHECK(actual.info.loss == Approx(expected.info.loss).epsilon(1e-4).margin(1e3 * eps * expected.info.stages[0].total));
    CHECK(actual.info.stages[0].metric == expected.info.stages[0].metric);
}

}  // namespace

TEST_CASE("out of core: every metric, as in memory", "[out_of_core]") {
    const folder f;
    for (const auto& [m, n] : {std::pair<Eigen::Index, Eigen::Index>{40, 700}, {700, 40}, {300, 300}, {1, 500},
                               {500, 1}, {1, 1}, {65, 64}, {64, 65}, {128, 1000}, {1000, 128}}) {
        const Eigen::MatrixXd w = gaussian(m, n, 1);
        nsvd::calibration<double> calib(n);
        calib.update(support::activations(n, 2 * n + 3, 7, 30.0));
        const auto file = f.path / "c.safetensors";
        nsvd::save_calibration(file, calib);
        const Eigen::Index k = std::max<Eigen::Index>(1, std::min(m, n) / 3);
        const Eigen::MatrixXd identity = Eigen::MatrixXd::Identity(n, n);
        const Eigen::MatrixXd c = calib.gram();
        check_like_in_memory<double>(w, {{nsvd::metric()}}, {{nsvd::metric()}}, identity, k, 0);
        check_like_in_memory<float>(w.cast<float>(), {{nsvd::metric()}}, {{nsvd::metric()}}, identity, k, 0);
        const nsvd::metric diagonal = nsvd::diagonal_metric(calib);
        check_like_in_memory<double>(w, {{diagonal}}, {{diagonal}}, diagonal.diagonal(n).asDiagonal(), k, 1);
        for (const auto kind : {nsvd::whitening::cholesky, nsvd::whitening::eigen}) {
            const nsvd::metric gram = nsvd::gram_metric(calib, kind);
            check_like_in_memory<double>(w, {{gram}}, {{nsvd::stored_gram(file, kind)}}, c, k, 1);
            check_like_in_memory<float>(w.cast<float>(), {{gram}}, {{gram}}, c, k, 1);
        }
        const nsvd::metric blend = nsvd::gram_metric(calib, nsvd::whitening::cholesky, 0.1);
        const Eigen::MatrixXd blended = c + 0.1 * c.trace() / double(n) * identity;
        check_like_in_memory<double>(w, {{blend}},
                                     {{nsvd::stored_gram(file, nsvd::whitening::cholesky, 0.1)}}, blended, k, 1);
        check_like_in_memory<double>(w, {{blend}}, {{blend}}, blended, k, 1);
        const nsvd::metric custom(nsvd::whiten(c, nsvd::whitening::eigen), "own");
        check_like_in_memory<double>(w, {{custom}}, {{custom}}, c, k, 1);
        check_like_in_memory<double>(w, {{blend, 0.7}, {nsvd::metric(), 0.3}},
                                     {{blend, 0.7}, {nsvd::metric(), 0.3}}, blended, k, 1);
    }
}
