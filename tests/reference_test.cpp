// SPDX-License-Identifier: MIT
// The errors that independent double-precision code and the published PyTorch codes reach on given matrices.
#include "support/catch.hpp"
#include "support/npy.hpp"
#include "support/shared.hpp"

#include <nsvd/nsvd.hpp>

#include <fstream>
#include <map>
#include <string>

namespace {

struct layer {
    Eigen::MatrixXf w;
    Eigen::MatrixXf x;
    nsvd::calibration<float> calib;
};

layer load(const std::filesystem::path& folder, const std::string& name) {
    const Eigen::MatrixXf w = support::read_npy(folder / (name + "_W.npy"));
    const Eigen::MatrixXf x = support::read_npy(folder / (name + "_X.npy"));
    nsvd::calibration<float> calib(w.cols());
    calib.update(x);
    return {w, x, calib};
}

nsvd::low_rank<float> run(const std::string& method, const layer& l, nsvd::index k) {
    const nsvd::rank rank{k};
    using nsvd::whitening;
    if (method == "plain_svd") return nsvd::svd(l.w, rank);
    if (method == "asvd_abs_mean") return nsvd::asvd(l.w, l.calib, rank, {.whitening = whitening::diagonal});
    if (method == "asvd_abs_max")
        return nsvd::asvd(l.w, l.calib, rank,
                          {.whitening = whitening::diagonal, .statistic = nsvd::statistic::max});
    if (method == "optimum") return nsvd::asvd(l.w, l.calib, rank);
    if (method == "nsvd") return nsvd::nested(l.w, l.calib, rank);
    throw std::runtime_error("unknown method " + method);
}

/// ‖(W−W′)X‖/‖WX‖ and ‖W−W′‖/‖W‖ from the matrices themselves.
std::pair<double, double> errors(const layer& l, const nsvd::low_rank<float>& d) {
    const Eigen::MatrixXd w = l.w.cast<double>();
    const Eigen::MatrixXd x = l.x.cast<double>();
    const Eigen::MatrixXd rest = w - d.left.cast<double>() * d.right.cast<double>();
    return {(rest * x).norm() / (w * x).norm(), rest.norm() / w.norm()};
}

}  // namespace

TEST_CASE("reference errors are reproduced within 2e-5", "[reference]") {
    const auto folder = support::shared_folder("reference");
    if (folder.empty()) return;
    std::map<std::string, layer> layers;
    std::ifstream rows(folder / "expected.txt");
    std::string name, method;
    nsvd::index k = 0;
    double weighted = 0.0, plain = 0.0;
    int count = 0;
    while (rows >> name >> method >> k >> weighted >> plain) {
        if (!layers.contains(name)) layers.emplace(name, load(folder, name));
        const layer& l = layers.at(name);
        const auto d = run(method, l, k);
        const auto [weighted_here, plain_here] = errors(l, d);
        CAPTURE(name, method, k);
        CHECK(weighted_here == Approx(weighted).epsilon(2e-5));
        CHECK(plain_here == Approx(plain).epsilon(2e-5));
        CHECK(nsvd::weighted_error(l.w, d, l.calib) == Approx(weighted).epsilon(2e-5));
        CHECK(nsvd::plain_error(l.w, d) == Approx(plain).epsilon(2e-5));
        ++count;
    }
    CHECK(count > 80);
}
