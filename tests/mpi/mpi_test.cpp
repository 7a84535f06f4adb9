// SPDX-License-Identifier: MIT
// Every process of mpirun runs these, and makes the tokens of all others to compare with. No REQUIRE between
// two collective calls: a process that left would be waited for.
#include <nsvd/ext/mpi.hpp>

#include <Eigen/Core>

#include <cstddef>
#include <limits>
#include <numeric>
#include <set>
#include <span>
#include <support/catch.hpp>
#include <support/expect_error.hpp>
#include <support/generate.hpp>
#include <vector>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::MatrixXf;
using nsvd::calibration;
using nsvd::moments;
using nsvd::summation;

const struct mpi_session {
    mpi_session() { MPI_Init(nullptr, nullptr); }
    ~mpi_session() { MPI_Finalize(); }
} session;

int own_rank() {
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
}

int processes() {
    int size = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    return size;
}

struct scenario {
    Index n;
    moments about;
    bool pairs;
    Index tokens_of_last;  ///< of the last process; 0: it has none
};

/// Tokens of one process: channel 0 is constant, channel 1 large.
MatrixXf tokens_of(const scenario& s, int rank, int kind) {
    support::generator random(100 * static_cast<std::uint64_t>(rank) + static_cast<std::uint64_t>(kind));
    const Index count = rank == processes() - 1 ? s.tokens_of_last : 7 + 3 * rank;
    MatrixXf x = random.gaussian(s.n, count).cast<float>();
    if (count == 0) return x;
    x.array() += 3.0F;
    x.row(0).setConstant(0.1F);
    if (s.n > 1) x.row(1) *= 1000.0F;
    return x;
}

calibration<float> of_process(const scenario& s, int rank) {
    calibration<float> c(s.n, s.about);
    const MatrixXf b = tokens_of(s, rank, 0);
    if (b.cols() == 0) return c;
    const Eigen::VectorXd weights = Eigen::VectorXd::LinSpaced(b.cols(), 0.5, 2.0);
    if (s.pairs)
        c.update(tokens_of(s, rank, 1), b, weights);
    else
        c.update(b, weights);
    return c;
}

/// What one process that had seen all tokens would have, merged in the order of the fixed summation.
calibration<float> of_all(const scenario& s, int first = 0, int step = 0) {
    if (step == 0)
        for (step = 1; step < processes();)
            step *= 2;
    // As what was sent is read again: central means are kept as sums.
    if (step == 1) return calibration<float>(of_process(s, first).state());
    auto sum = of_all(s, first, step / 2);
    if (first + step / 2 < processes())
        sum.merge(calibration<float>(of_all(s, first + step / 2, step / 2).state()));
    return sum;
}

void check_same(const calibration<float>& found, const calibration<float>& expected, double eps) {
    CHECK(found.tokens() == expected.tokens());
    CHECK(found.about() == expected.about());
    CHECK(std::abs(found.weight() - expected.weight()) <= eps * expected.weight());
    CHECK(found.max_abs() == expected.max_abs());
    const auto near = [&](const auto& a, const auto& b) { return (a - b).norm() <= eps * b.norm(); };
    CHECK(near(found.gram(), expected.gram()));
    CHECK(found.gram() == found.gram().transpose());
    CHECK(near(found.mean(), expected.mean()));
    CHECK(near(found.mean_abs(), expected.mean_abs()));
    CHECK(found.has_cross() == expected.has_cross());
    if (expected.has_cross()) {
        CHECK(near(found.cross(), expected.cross()));
        CHECK(near(found.mean_original(), expected.mean_original()));
    }
    if (expected.about() == moments::central) {
        CHECK(near(found.central_gram(), expected.central_gram()));
        CHECK(found.central_gram()(0, 0) == 0.0);  // of the constant channel
        if (expected.has_cross()) CHECK(near(found.central_cross(), expected.central_cross()));
    }
}

// c·eps with c = tokens: fewer than 64 in all.
constexpr double rounding = 64 * std::numeric_limits<double>::epsilon();

template <class Check>
void for_scenarios(const Check& check) {
    for (const Index n : {1, 2, 17, 40})
        for (const auto about : {moments::raw, moments::central})
            for (const bool pairs : {false, true})
                for (const Index last : {0, 1, 11})
                    check(scenario{n, about, pairs, last});
}

}  // namespace

TEST_CASE("all_reduce gives every process what one that saw all tokens has", "[mpi]") {
    for_scenarios([&](const scenario& s) {
        CAPTURE(own_rank(), s.n, s.about == moments::central, s.pairs, s.tokens_of_last);
        const auto expected = of_all(s);
        for (const std::int64_t buffer : {1, 5, 1 << 20}) {
            CAPTURE(buffer);
            auto own = of_process(s, own_rank());
            CHECK(&nsvd::all_reduce(own, MPI_COMM_WORLD, {.buffer = buffer}) == &own);
            check_same(own, expected, rounding);
        }
    });
}

TEST_CASE("in a fixed order it is a merge of neighbours, to the bit, whatever the buffer", "[mpi]") {
    for_scenarios([&](const scenario& s) {
        CAPTURE(own_rank(), s.n, s.about == moments::central, s.pairs, s.tokens_of_last);
        const auto expected = of_all(s);
        for (const std::int64_t buffer : {3, 1 << 20}) {
            auto own = of_process(s, own_rank());
            nsvd::all_reduce(own, MPI_COMM_WORLD, {.order = summation::fixed, .buffer = buffer});
            const auto same = [](const MatrixXd& a, const MatrixXd& b) { return a == b; };
            CHECK(same(own.gram(), expected.gram()));
            CHECK(same(own.mean_abs(), expected.mean_abs()));
            CHECK(own.weight() == expected.weight());
            if (s.pairs && expected.has_cross()) CHECK(same(own.cross(), expected.cross()));
            check_same(own, expected, rounding);
        }
    });
}

TEST_CASE("reduce gives the sum to its owners and leaves nothing with the others", "[mpi]") {
    const scenario s{23, moments::central, true, 0};
    const auto expected = of_all(s);
    for (const auto order : {summation::any, summation::fixed})
        for (int owner = 0; owner < processes(); ++owner) {
            CAPTURE(own_rank(), owner, order == summation::fixed);
            auto own = of_process(s, own_rank());
            nsvd::reduce(own, owner, MPI_COMM_WORLD, {.order = order, .buffer = 100});
            if (own_rank() == owner) {
                check_same(own, expected, rounding);
            } else {
                CHECK(own.tokens() == 0);
                CHECK(own.features() == s.n);
                CHECK(own.about() == s.about);
            }
            const std::vector<int> owners = owner == 0 ? std::vector{0} : std::vector{owner, owner - 1};
            auto shared = of_process(s, own_rank());
            nsvd::reduce(shared, std::span(owners), MPI_COMM_WORLD, {.order = order, .buffer = 100});
            const bool is_owner = own_rank() == owner || (owner > 0 && own_rank() == owner - 1);
            if (is_owner)
                check_same(shared, expected, rounding);
            else
                CHECK(shared.tokens() == 0);
        }
}

TEST_CASE("statistics without any tokens, and huge and tiny scales", "[mpi]") {
    calibration<float> none(5);
    nsvd::all_reduce(none, MPI_COMM_WORLD);
    CHECK(none.tokens() == 0);
    CHECK(none.gram() == MatrixXd::Zero(5, 5));
    for (const double scale : {1e100, 1e-100}) {
        for (const auto about : {moments::raw, moments::central}) {
            calibration<double> own(3, about), all(3, about);
            for (int rank = 0; rank < processes(); ++rank) {
                support::generator random(static_cast<std::uint64_t>(rank));
                const MatrixXd x = scale * random.gaussian(3, 5);
                all.update(x);
                if (rank == own_rank()) own.update(x);
            }
            nsvd::all_reduce(own, MPI_COMM_WORLD);
            CHECK((own.gram() - all.gram()).norm() <= rounding * all.gram().norm());
        }
    }
}

TEST_CASE("central means keep their digits where a light process has large inputs", "[mpi]") {
    // The mean of the light one is no place to measure distances from.
    for (const auto order : {summation::any, summation::fixed})
        for (const double weight : {1e-3, 1e-6}) {
            CAPTURE(own_rank(), order == summation::fixed, weight);
            calibration<double> own(1, moments::central), all(1, moments::central);
            for (int rank = 0; rank < processes(); ++rank) {
                const MatrixXd x = MatrixXd::Constant(1, 1, rank == 0 ? 1e10 : 1e-12);
                const std::vector<double> weights{rank == 0 ? weight : 1.0 / weight};
                all.update(x, weights);
                if (rank == own_rank()) own.update(x, weights);
            }
            nsvd::all_reduce(own, MPI_COMM_WORLD, {.order = order});
            CHECK(own.mean()(0) == Approx(all.mean()(0)).epsilon(1e-14));
            CHECK(own.central_gram()(0, 0) == Approx(all.central_gram()(0, 0)).epsilon(1e-14));
        }
}

TEST_CASE("pairs of which none has a weight are no pairs", "[mpi]") {
    for (const auto order : {summation::any, summation::fixed}) {
        CAPTURE(own_rank(), order == summation::fixed);
        support::generator random(5);
        const MatrixXd x = random.gaussian(3, 4);
        calibration<double> own(3), all(3);
        for (int rank = 1; rank < processes(); ++rank)
            all.update(x);
        if (own_rank() == 0)
            own.update(x, x, Eigen::VectorXd::Zero(4));
        else
            own.update(x);
        nsvd::all_reduce(own, MPI_COMM_WORLD, {.order = order});
        CHECK(own.tokens() == all.tokens());
        if (processes() > 1) CHECK_FALSE(own.has_cross());
        CHECK((own.gram() - all.gram()).norm() <= rounding * all.gram().norm());
    }
}

TEST_CASE("what differs between processes is an error on all of them", "[mpi]") {
    const bool odd = own_rank() == processes() - 1 && processes() > 1;
    const auto expect = [&](auto&& call, const char* text) {
        if (processes() > 1) support::expect_error(call, {text});
    };
    calibration<float> features(odd ? 4 : 3);
    expect([&] { nsvd::all_reduce(features, MPI_COMM_WORLD); }, "calibrations of 3 to 4 features");
    calibration<float> about(3, odd ? moments::central : moments::raw);
    expect([&] { nsvd::all_reduce(about, MPI_COMM_WORLD); }, "some processes have raw moments");
    calibration<float> pairs(3);
    const MatrixXf x = MatrixXf::Ones(3, 2);
    if (odd)
        pairs.update(x, x);
    else
        pairs.update(x);
    expect([&] { nsvd::all_reduce(pairs, MPI_COMM_WORLD); }, "some processes have pairs");
    CHECK(pairs.tokens() == 2);  // as they were
    calibration<float> fine(3);
    expect([&] { nsvd::all_reduce(fine, MPI_COMM_WORLD, {.buffer = odd ? 5 : 6}); }, "how differs");
    expect([&] { nsvd::reduce(fine, odd ? 1 : 0, MPI_COMM_WORLD); }, "the same on all of them");
    support::expect_error([&] { nsvd::reduce(fine, processes(), MPI_COMM_WORLD); },
                          {"the owner must be one of the"});
    support::expect_error([&] { nsvd::reduce(fine, -1, MPI_COMM_WORLD); }, {"the owner must be one of the"});
    support::expect_error([&] { nsvd::reduce(fine, std::span<const int>(), MPI_COMM_WORLD); }, {"no owners"});
    support::expect_error([&] { nsvd::all_reduce(fine, MPI_COMM_WORLD, {.buffer = 0}); }, {"buffer = 0"});
}
