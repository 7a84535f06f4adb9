// SPDX-License-Identifier: MIT
// A linear layer in each of its forms does what the matrix W does, written out by hand.
#include "linear.hpp"

#include "llm_support.hpp"
#include "random_layer.hpp"
#include "support/catch.hpp"

#include <array>
#include <utility>
#include <vector>

using Eigen::Index;
using llm_test::error_of;

TEST_CASE("linear: y = W x + b in each form", "[llm]") {
    for (const auto form : llm_test::forms)
        for (const auto& [m, n, k] : std::vector<std::array<Index, 3>>{
                 {1, 1, 1}, {9, 13, 1}, {9, 13, 5}, {13, 9, 9}, {40, 24, 12}, {6, 6, 6}})
            for (const bool biased : {false, true}) {
                CAPTURE(form, m, n, k, biased);
                const auto made = llm_test::random_layer(form, m, n, k, biased, 7);
                const auto& layer = made.layer;
                REQUIRE(layer.rows() == m);
                REQUIRE(layer.cols() == n);
                CHECK((layer.dense() != nullptr) == (form == llm_test::form::dense));
                CHECK((layer.factors() != nullptr) == (form == llm_test::form::factors));
                CHECK((layer.pivoted() != nullptr) ==
                      (form == llm_test::form::pivot_rows || form == llm_test::form::pivot_columns));
                // The forms' own sums of at most n + k terms, in single precision.
                const double tolerance = 1e-6 * static_cast<double>(n + k);
                CHECK((layer.product().cast<double>() - made.weight).norm() <=
                      tolerance * made.weight.norm());
                const Eigen::MatrixXf x = llm_test::gaussian(n, 5, 8).cast<float>();
                Eigen::MatrixXd y = made.weight * x.cast<double>();
                const double size = made.weight.norm() * x.cast<double>().norm() + made.bias.norm();
                if (biased) y.colwise() += made.bias;
                CHECK((layer.apply(x).cast<double>() - y).norm() <= tolerance * size);

                const auto weights = form == llm_test::form::dense     ? m * n
                                     : form == llm_test::form::factors ? k * (m + n)
                                                                       : k * (m + n - k);
                CHECK(layer.parameters() == weights + (biased ? m : 0));
                const auto written = layer.multiplied();
                REQUIRE(written.dense());
                CHECK(*written.dense() == layer.product());
                CHECK(written.bias() == layer.bias());
                const llm::linear copy = layer;
                CHECK((written.dense() == layer.dense()) == (layer.dense() != nullptr));
                CHECK(copy.dense() == layer.dense());
                CHECK(copy.factors() == layer.factors());
                CHECK(copy.pivoted() == layer.pivoted());
            }
}

TEST_CASE("linear: a bias has a number for every row", "[llm]") {
    for (const auto form : llm_test::forms) {
        auto layer = llm_test::random_layer(form, 7, 5, 2, false, 1).layer;
        CHECK(error_of([&] { layer.set_bias(Eigen::VectorXf::Ones(5)); }) ==
              "linear: a bias of 5 numbers for a weight of 7 rows");
        CHECK(layer.bias().size() == 0);
        const Eigen::MatrixXf zero = Eigen::MatrixXf::Zero(5, 2);
        layer.set_bias(Eigen::VectorXf::LinSpaced(7, 1, 7));
        CHECK(layer.apply(zero).col(1) == Eigen::VectorXf::LinSpaced(7, 1, 7));
        layer.set_bias({});
        CHECK(layer.apply(zero) == Eigen::MatrixXf::Zero(7, 2));
    }
    CHECK_FALSE(error_of([] { llm::linear(Eigen::MatrixXf::Ones(2, 3), Eigen::VectorXf::Ones(3)); }).empty());
}
