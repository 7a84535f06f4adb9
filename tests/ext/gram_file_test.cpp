// SPDX-License-Identifier: MIT
// Gram files against the statistics of a calibration in memory.
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/random.hpp"
#include "support/scratch_folder.hpp"

#include <nsvd/ext/gram_file.hpp>
#include <nsvd/ext/stored_gram.hpp>

#include <Eigen/Core>

#include <cmath>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sys/resource.h>
#include <vector>

using support::expect_error;
using support::gaussian;
using support::scratch_folder;

TEST_CASE("gram_file: the numbers of a calibration", "[gram_file]") {
    const scratch_folder f;
    for (const Eigen::Index n : {1, 2, 37, 300})
        // So little memory that a token and a column fit, and a little more.
        for (const std::size_t columns : {2u, 5u, 64u}) {
            CAPTURE(n, columns);
            const std::size_t memory = columns * sizeof(double) * static_cast<std::size_t>(n);
            const Eigen::MatrixXf x = gaussian(n, 90, 3).cast<float>();
            nsvd::calibration<float> expected(n);
            nsvd::gram_file actual(f / "gram.safetensors", n, memory);
            std::vector<double> weights(90, 1.0);
            weights[3] = 0.0;
            weights[5] = 0.25;
            for (const int half : {0, 1}) {
                expected.update(x.middleCols(half * 45, 45));
                actual.update(x.middleCols(half * 45, 45));
            }
            expected.update(x, weights);
            actual.update(x, weights);
            CHECK_FALSE(std::filesystem::exists(f / "gram.safetensors"));
            actual.commit();
            const auto read = nsvd::load_calibration<float>(f / "gram.safetensors");
            CHECK((read.gram() - expected.gram()).norm() <= 1e-14 * expected.gram().norm());
            CHECK(read.state().sum == expected.state().sum);
            CHECK(read.state().sum_abs == expected.state().sum_abs);
            CHECK(read.max_abs() == expected.max_abs());
            CHECK(read.tokens() == expected.tokens());
            CHECK(read.weight() == expected.weight());
            expect_error([&] { actual.update(x); }, {"committed"});
            {
                nsvd::gram_file sum(f / "sum.safetensors", n, memory);
                sum.update(x);
                const nsvd::safetensors::file before(f / "gram.safetensors");
                sum.merge(before);
                sum.merge(before);
                sum.commit();
            }
            nsvd::calibration<float> both(n);
            both.update(x);
            both.merge(expected);
            both.merge(expected);
            const auto merged = nsvd::load_calibration<float>(f / "sum.safetensors");
            CHECK((merged.gram() - both.gram()).norm() <= 1e-14 * both.gram().norm());
            CHECK((merged.mean_abs() - both.mean_abs()).norm() <= 1e-14 * both.mean_abs().norm());
            CHECK(merged.tokens() == both.tokens());
            CHECK(f.entries() == 2);  // no temporaries
            std::filesystem::remove(f / "gram.safetensors");
        }
    nsvd::gram_file(f / "never.safetensors", 5).update(Eigen::VectorXd::Ones(5));
    CHECK(f.entries() == 1);
}

TEST_CASE("gram_file: a damaged file is refused", "[gram_file]") {
    const scratch_folder f;
    const auto path = f / "gram.safetensors";
    nsvd::gram_file gram(path, 5, 5 * 3 * sizeof(double));
    gram.update(gaussian(5, 20, 4));
    gram.commit();
    (void)nsvd::stored_gram(path);
    const auto size = static_cast<std::streamoff>(std::filesystem::file_size(path));
    const std::streamoff data = 8 * (25 + 3 * 5 + 3);
    for (std::streamoff place = size - data; place < size; ++place) {
        CAPTURE(place);
        const auto flip = [&] {
            std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
            file.seekg(place);
            const int byte = file.get();
            file.seekp(place);
            file.put(static_cast<char>(byte ^ 1));
        };
        flip();
        expect_error([&] { nsvd::stored_gram{path}; }, {"gram.safetensors", "xxh3", "damaged"});
        if (place % 8 == 0) {
            nsvd::gram_file other(f / "other.safetensors", 5);
            expect_error([&] { other.merge(nsvd::safetensors::file(path)); },
                         {"gram.safetensors", "damaged"});
            CHECK(other.tokens() == 0);
        }
        flip();
    }
    (void)nsvd::stored_gram(path);
}

TEST_CASE("gram_file: after an error of the file there is nothing to go on with", "[gram_file]") {
    const scratch_folder f;
    const auto path = f / "gram.safetensors";
    const Eigen::MatrixXd x = gaussian(300, 40, 5);
    const auto refused = [&](nsvd::gram_file& gram) {
        expect_error([&] { gram.update(x); }, {"gram.safetensors", "begin again"});
        expect_error([&] { gram.commit(); }, {"gram.safetensors", "begin again"});
    };
    struct limited {  // this process may write no further than half of the matrix
        limited() {
            ::getrlimit(RLIMIT_FSIZE, &before);
            std::signal(SIGXFSZ, SIG_IGN);
            const rlimit half{300 * 150 * sizeof(double), before.rlim_max};
            ::setrlimit(RLIMIT_FSIZE, &half);
        }
        ~limited() {
            ::setrlimit(RLIMIT_FSIZE, &before);
            std::signal(SIGXFSZ, SIG_DFL);
        }
        rlimit before{};
    };
    constexpr std::size_t little = 300 * 12 * sizeof(double);
    SECTION("writing fails in the middle of an update") {
        nsvd::gram_file gram(path, 300, little);
        {
            const limited now;
            expect_error([&] { gram.update(x); }, {"gram.safetensors"});
        }
        refused(gram);
    }
    SECTION("writing fails in the middle of a merge") {
        nsvd::calibration<double> other(300);
        other.update(x);
        nsvd::save_calibration(f / "other.safetensors", other);
        nsvd::gram_file gram(path, 300, little);
        {
            const limited now;
            expect_error([&] { gram.merge(nsvd::safetensors::file(f / "other.safetensors")); },
                         {"gram.safetensors"});
        }
        refused(gram);
    }
    SECTION("the name is taken by a folder") {
        nsvd::gram_file gram(path, 300);
        gram.update(x);
        std::filesystem::create_directories(path / "full");
        expect_error([&] { gram.commit(); }, {"gram.safetensors"});
        refused(gram);
        nsvd::gram_file other(f / "other.safetensors", 300);
        other.update(x);
        other.commit();
        expect_error([&] { gram.merge(nsvd::safetensors::file(f / "other.safetensors")); }, {"begin again"});
    }
    CHECK_FALSE(std::filesystem::is_regular_file(path));
}

TEST_CASE("gram_file: sums that leave their range", "[gram_file]") {
    const scratch_folder f;
    const auto write = [&](double square, std::int64_t tokens) {
        nsvd::calibration_state state;
        state.gram = square * Eigen::MatrixXd::Identity(2, 2);
        state.sum = state.sum_abs = Eigen::VectorXd::Zero(2);
        state.max_abs = Eigen::VectorXd::Constant(2, std::sqrt(square));
        state.tokens = tokens;
        state.weight = static_cast<double>(tokens);
        nsvd::save_calibration(f / "part.safetensors", nsvd::calibration<double>(state));
        return nsvd::safetensors::file(f / "part.safetensors");
    };
    nsvd::gram_file counts(f / "counts.safetensors", 2);
    const auto most = write(1.0, std::int64_t{1} << 53);
    counts.merge(most);
    expect_error([&] { counts.merge(most); }, {"part.safetensors", "too many"});
    counts.commit();
    CHECK(nsvd::load_calibration<double>(f / "counts.safetensors").tokens() == std::int64_t{1} << 53);
    nsvd::gram_file squares(f / "squares.safetensors", 2);
    const auto large = write(0.7 * std::numeric_limits<double>::max(), 1);
    squares.merge(large);
    squares.merge(large);
    expect_error([&] { squares.commit(); }, {"gram(0, 0)", "not finite"});
    expect_error([&] { squares.commit(); }, {"squares.safetensors", "begin again"});
}

TEST_CASE("gram_file: misuse", "[gram_file]") {
    const scratch_folder f;
    const auto path = f / "a.safetensors";
    expect_error([&] { nsvd::gram_file(path, 0); }, {"features = 0"});
    expect_error([&] { nsvd::gram_file(path, 100, 1599); }, {"memory = 1599", "1600"});
    expect_error([&] { nsvd::gram_file(path, nsvd::index{1} << 61); },
                 {"memory = 1073741824", "two vectors"});
    expect_error([&] { nsvd::gram_file(f / "none" / "a", 3); }, {"none/a", "cannot be written"});
    nsvd::gram_file gram(path, 3);
    expect_error([&] { gram.update(Eigen::MatrixXd::Ones(4, 2)); }, {"4×2", "3 features"});
    expect_error([&] { gram.update(Eigen::MatrixXd(3, 0)); }, {"empty"});
    Eigen::MatrixXd x = Eigen::MatrixXd::Ones(3, 2);
    expect_error([&] { gram.update(x, std::vector<double>{1.0}); }, {"1 weights for 2 tokens"});
    expect_error([&] { gram.update(x, std::vector<double>{1.0, -1.0}); }, {"weight 1 = -1"});
    x(1, 1) = std::numeric_limits<double>::quiet_NaN();
    expect_error([&] { gram.update(x); }, {"x(1, 1)", "not finite"});
    x(1, 1) = 1e200;
    expect_error([&] { gram.update(x); }, {"token 1", "2^450"});
    CHECK(gram.tokens() == 0);
    nsvd::calibration<double> other(4);
    other.update(Eigen::MatrixXd::Ones(4, 1));
    nsvd::save_calibration(f / "4.safetensors", other);
    expect_error([&] { gram.merge(nsvd::safetensors::file(f / "4.safetensors")); }, {"3 features"});
    nsvd::calibration<double> central(3, nsvd::moments::central);
    central.update(Eigen::MatrixXd::Ones(3, 1));
    nsvd::save_calibration(f / "c.safetensors", central);
    expect_error([&] { gram.merge(nsvd::safetensors::file(f / "c.safetensors")); }, {"central_gram"});
    nsvd::calibration<double> empty(3);
    nsvd::save_calibration(f / "0.safetensors", empty);
    expect_error([&] { nsvd::stored_gram(f / "0.safetensors"); }, {"no tokens"});
    expect_error([&] { nsvd::stored_gram(f / "4.safetensors", nsvd::whitening::cholesky, -1.0); },
                 {"blend = -1"});
    expect_error([&] { nsvd::stored_gram(f / "4.safetensors", nsvd::whitening::diagonal); }, {"factor"});
    nsvd::calibration<double> large(4);
    large.update(Eigen::MatrixXd::Constant(4, 3, 1e135));
    nsvd::save_calibration(f / "large.safetensors", large);
    expect_error([&] { nsvd::stored_gram(f / "large.safetensors", nsvd::whitening::cholesky, 1e100); },
                 {"stored_gram", "blend = 1e+100", "finite"});
    expect_error([&] { nsvd::stored_gram(f / "nothing"); }, {"nothing", "cannot be read"});
}
