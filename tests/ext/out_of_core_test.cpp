// SPDX-License-Identifier: MIT
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/random.hpp"
#include "support/sanitizers.hpp"
#include "support/scratch_folder.hpp"

#include <nsvd/ext/gram_file.hpp>
#include <nsvd/ext/out_of_core.hpp>
#include <nsvd/extern_templates.hpp>
#include <nsvd/nsvd.hpp>

#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <new>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace ooc = nsvd::out_of_core;
using support::expect_error;
using support::gaussian;
using support::scratch_folder;

namespace {

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
                          Eigen::Index grams, std::size_t more = 0, int line = __builtin_LINE()) {
    INFO("called at line " << line);
    CAPTURE(w.rows(), w.cols(), k);
    const auto expected = nsvd::decompose(w, std::span<const nsvd::stage>(inner), nsvd::rank{k},
                                          {.accuracy = nsvd::accuracy::exact});
    ooc::options how = least(w.rows(), w.cols(), grams);
    how.memory += more;
    const auto actual = ooc::decompose(w, std::span<const ooc::stage>(outer), nsvd::rank{k}, how);
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
    // Squares of what is near the ends of the range of double are in other units: their ratios count.
    const auto part = [](const nsvd::stage_info& stage) {
        return stage.total == 0.0 ? 0.0 : stage.loss / stage.total;
    };
    CHECK(part(actual.info.stages[0]) ==
          Approx(part(expected.info.stages[0])).epsilon(1e-4).margin(1e3 * eps));
    CHECK(actual.info.stages[0].metric == expected.info.stages[0].metric);
}

}  // namespace

TEST_CASE("out of core: every metric, as in memory", "[out_of_core]") {
    const scratch_folder f;
    for (const auto& [m, n] : {std::pair<Eigen::Index, Eigen::Index>{40, 700},
                               {700, 40},
                               {300, 300},
                               {1, 500},
                               {500, 1},
                               {1, 1},
                               {65, 64},
                               {64, 65},
                               {128, 1000},
                               {1000, 128}}) {
        const Eigen::MatrixXd w = gaussian(m, n, 1);
        nsvd::calibration<double> calib(n);
        calib.update(support::activations(n, 2 * n + 3, 7, 30.0));
        const auto file = f / "c.safetensors";
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
        check_like_in_memory<double>(
            w, {{blend}}, {{nsvd::stored_gram(file, nsvd::whitening::cholesky, 0.1)}}, blended, k, 1);
        check_like_in_memory<double>(w, {{blend}}, {{blend}}, blended, k, 1);
        const nsvd::metric custom(nsvd::whiten(c, nsvd::whitening::eigen), "own");
        check_like_in_memory<double>(w, {{custom}}, {{custom}}, c, k, 1,
                                     sizeof(double) * static_cast<std::size_t>(m * n));
        check_like_in_memory<double>(w, {{blend, 0.7}, {nsvd::metric(), 0.3}},
                                     {{blend, 0.7}, {nsvd::metric(), 0.3}}, blended, k, 1);
    }
}

TEST_CASE("out of core: matrices that are hard", "[out_of_core]") {
    for (const auto& [m, n] : {std::pair<Eigen::Index, Eigen::Index>{50, 400}, {400, 50}, {60, 60}}) {
        const Eigen::Index s = std::min(m, n);
        const Eigen::MatrixXd identity = Eigen::MatrixXd::Identity(n, n);
        const auto check = [&](const Eigen::MatrixXd& w, Eigen::Index k) {
            check_like_in_memory<double>(w, {{nsvd::metric()}}, {{nsvd::metric()}}, identity, k, 0);
        };
        const Eigen::MatrixXd w = gaussian(m, n, 2);
        for (const double scale : {1e-300, 1e-100, 1e100, 1e300})
            check(scale * w, s / 4);
        check(w, s);  // no direction left out
        check(Eigen::MatrixXd::Zero(m, n), 3);
        // Singular values down to 1e-12: a Gram matrix of W would not know those below 1e-8.
        const Eigen::VectorXd steep = support::geometric(s, 1.0, std::pow(1e-12, 1.0 / double(s - 1)));
        const Eigen::MatrixXd ill = support::with_spectrum(m, n, steep, 3);
        const auto exact =
            ooc::decompose(ill, std::vector<ooc::stage>{{nsvd::metric()}}, nsvd::rank{s - 2}, least(m, n, 0));
        CHECK(exact.info.loss == Approx(steep.tail(2).squaredNorm()).epsilon(1e-3).margin(1e-30));
        // Of rank 5, with rows and columns of zeros, and of the first rows and columns zero.
        Eigen::MatrixXd low = gaussian(m, 5, 4) * gaussian(5, n, 5);
        low.topRows(s / 2).setZero();
        low.leftCols(s / 2).setZero();
        check(low, 9);
        CHECK(ooc::decompose(low, std::vector<ooc::stage>{{nsvd::metric()}}, nsvd::rank{9}, least(m, n, 0))
                  .info.status == nsvd::status::rank_deficient);
        // Fewer tokens than the smaller side, one of a thousand times the rest in a channel.
        nsvd::calibration<double> calib(n);
        calib.update(support::activations(n, s / 3, 8, 1000.0));
        const nsvd::metric gram = nsvd::gram_metric(calib);
        check_like_in_memory<double>(w, {{gram, 0.8}, {nsvd::metric(), 0.2}},
                                     {{gram, 0.8}, {nsvd::metric(), 0.2}}, calib.gram(), s / 2, 1);
        CHECK(ooc::decompose(w, std::vector<ooc::stage>{{gram}}, nsvd::rank{3}, least(m, n, 1)).info.status ==
              nsvd::status::singular_metric);
    }
}

TEST_CASE("out of core: policies see W and its spectrum", "[out_of_core]") {
    for (const auto& [m, n] : {std::pair<Eigen::Index, Eigen::Index>{50, 400}, {400, 50}}) {
        const Eigen::MatrixXd w = 1e3 * support::with_spectrum(m, n, support::geometric(50, 1.0, 0.9), 11);
        const std::vector<nsvd::stage> inner{{nsvd::metric()}};
        const std::vector<ooc::stage> outer{{nsvd::metric()}};
        const auto compare = [&](const auto& policy) {
            const auto a = nsvd::decompose(w, std::span<const nsvd::stage>(inner), policy);
            const auto b = ooc::decompose(w, outer, policy, least(w.rows(), w.cols(), 0));
            CHECK(a.rank() == b.rank());
            REQUIRE(a.info.spectrum.size() == b.info.spectrum.size());
            CHECK((a.info.spectrum - b.info.spectrum).norm() <= 1e-12 * a.info.spectrum.norm());
        };
        compare(nsvd::compression{0.5});
        compare(nsvd::energy{0.95});
        compare(nsvd::tolerance{0.1});
        compare([](const nsvd::spectrum& values, const nsvd::shape& s) {
            return values.total() > 1e6 && s.rows + s.cols == 450 ? 7 : 8;
        });
    }
}

TEST_CASE("out of core: columns are selected where all of them are in memory", "[out_of_core]") {
    const Eigen::MatrixXd w = support::with_spectrum(300, 30, support::geometric(30, 1.0, 0.8), 12);
    const std::vector<nsvd::stage> inner{{nsvd::metric(), 0.5}, {nsvd::column_selection{}, 0.5}};
    const std::vector<ooc::stage> outer{{nsvd::metric(), 0.5}, {nsvd::column_selection{}, 0.5}};
    const auto a = nsvd::decompose(w, std::span<const nsvd::stage>(inner), nsvd::rank{10});
    const auto b = ooc::decompose(w, outer, nsvd::rank{10}, least(300, 30, 1));
    CHECK((a.dense() - b.dense()).norm() <= 1e-10 * w.norm());
    CHECK(a.parameters() == b.parameters());
    const Eigen::MatrixXd wide = w.transpose();
    expect_error([&] { (void)ooc::decompose(wide, outer, nsvd::rank{10}, least(30, 300, 1)); },
                 {"stage 2", "selects columns", "30×300"});
}

TEST_CASE("out of core: from file to file, in every scalar", "[out_of_core]") {
    const scratch_folder f;
    using nsvd::safetensors::dtype;
    for (const dtype type : {dtype::F64, dtype::F32, dtype::F16, dtype::BF16})
        for (const auto& [m, n] : {std::pair<Eigen::Index, Eigen::Index>{30, 300}, {300, 30}, {40, 40}}) {
            const auto path = f / "w.safetensors";
            nsvd::safetensors::write(
                path, std::vector{nsvd::safetensors::from_matrix("w", type, gaussian(m, n, 5))});
            const nsvd::safetensors::file file(path);
            const std::vector<ooc::stage> stages{{nsvd::metric()}};
            const auto how = least(m, n, 0);
            nsvd::safetensors::visit_matrix(file.at("w"), [&](const auto& w) {
                const auto expected = ooc::decompose(w, stages, nsvd::rank{7}, how);
                const auto to = f / "factors.safetensors";
                const auto info = ooc::decompose_into(to, w, stages, nsvd::rank{7}, how);
                CHECK(info.loss == expected.info.loss);
                const nsvd::safetensors::file factors(to);
                using scalar = typename decltype(expected)::scalar;
                CHECK(nsvd::safetensors::to_matrix<scalar>(factors.at("left")) == expected.left);
                CHECK(nsvd::safetensors::to_matrix<scalar>(factors.at("right")) == expected.right);
                CHECK(factors.at("left").dtype == (type == dtype::F64 ? dtype::F64 : dtype::F32));
                const Eigen::MatrixXd dense = nsvd::safetensors::to_matrix<double>(file.at("w"));
                const auto in_memory = nsvd::svd(dense, nsvd::rank{7});
                CHECK((expected.dense().template cast<double>() - in_memory.dense()).norm() <=
                      1e-5 * dense.norm());
            });
        }
}

TEST_CASE("out of core: misuse", "[out_of_core]") {
    const scratch_folder f;
    const Eigen::MatrixXd w = gaussian(20, 200, 1);
    const std::vector<ooc::stage> plain{{nsvd::metric()}};
    const std::size_t needed = ooc::memory_needed(20, 200, 0);
    const auto call = [&](const Eigen::MatrixXd& matrix, const std::vector<ooc::stage>& stages,
                          const ooc::options& how = {}) {
        (void)ooc::decompose(matrix, stages, nsvd::rank{3}, how);
    };
    expect_error([&] { call(w, plain, {.memory = needed - 1}); },
                 {"memory", std::to_string(needed), "20×200"});
    expect_error([&] { call(w, {}); }, {"no stages"});
    expect_error([&] { call(w, {{nsvd::metric(), 0.5}}); }, {"shares"});
    expect_error([&] { call(Eigen::MatrixXd(0, 5), plain); }, {"empty"});
    expect_error([&] { (void)ooc::decompose(w, plain, nsvd::rank{21}); }, {"rank 21", "20×200"});
    expect_error([&] { call(w, {{nsvd::metric(nsvd::diagonal_factor(Eigen::VectorXd::Ones(20)))}}); },
                 {"20 features", "200 columns"});
    Eigen::MatrixXd bad = w;
    bad(7, 150) = std::numeric_limits<double>::infinity();
    expect_error([&] { call(bad, plain); }, {"W(7, 150)", "not finite"});
    expect_error([&] { call(bad.transpose(), plain); }, {"W(150, 7)", "not finite"});
    nsvd::calibration<double> calib(200);
    calib.update(gaussian(200, 300, 2));
    auto tensors = nsvd::to_tensors(calib);
    std::vector<double> numbers(200 * 200, 1.0);
    numbers[3 * 200 + 1] = numbers[200 + 3] = std::numeric_limits<double>::quiet_NaN();
    tensors[0].bytes = std::as_bytes(std::span(numbers));
    tensors.pop_back();  // the checksum
    nsvd::safetensors::write(f / "nan.safetensors", tensors);
    expect_error([&] { call(w, {{nsvd::stored_gram(f / "nan.safetensors")}}); },
                 {"nan.safetensors", "not finite"});
    expect_error([&] { call(w.transpose(), plain, {.scratch = f / "none"}); }, {"none", "cannot be written"});
    CHECK_THROWS_AS(call(w, plain, {.cancel = [] { return true; }}), nsvd::cancelled);
    expect_error([&] { (void)ooc::decompose_into(f / "none" / "a", w, plain, nsvd::rank{3}); }, {"none/a"});
    CHECK(f.entries() == 1);
}

TEST_CASE("out of core: a full disk", "[out_of_core]") {
    const scratch_folder f;
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
    const auto previous = std::signal(SIGXFSZ, SIG_IGN);
    rlimit small = before;
    small.rlim_cur = 20000;
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
    const Eigen::MatrixXd w = gaussian(300, 20, 1);
    const std::vector<ooc::stage> plain{{nsvd::metric()}};
    expect_error([&] { nsvd::gram_file(f / "gram", 100); }, {"gram", "no room"});
    expect_error([&] { (void)ooc::decompose(w, plain, nsvd::rank{3}, {.scratch = f.path()}); }, {"no room"});
    expect_error(
        [&] {
            (void)ooc::decompose_into(f / "factors", w.topRows(20).replicate(1, 40).eval(), plain,
                                      nsvd::rank{19});
        },
        {"factors", "no room"});
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
    std::signal(SIGXFSZ, previous);
    CHECK(std::filesystem::is_empty(f.path()));
}

#if defined(__linux__) && !defined(NSVD_TEST_SANITIZED)

namespace {

/// A number of /proc/…/status, in bytes.
std::size_t status_of(const std::string& process, const std::string& key) {
    std::ifstream file("/proc/" + process + "/status");
    for (std::string word; file >> word;)
        if (word == key + ":") {
            std::size_t kilobytes = 0;
            file >> kilobytes;
            return 1024 * kilobytes;
        }
    return 0;
}

enum outcome : int { done = 0, failed = 1, no_memory = 2 };

/// Runs `work` in a child that may allocate so many bytes (private writable pages, RLIMIT_DATA: what malloc
/// gives, not what is mapped of files). The threads and buffers of the BLAS are there before. `peak` is the
/// largest resident anonymous memory seen beyond that of its beginning.
int within(std::size_t bytes, const std::function<void()>& work, std::size_t* peak = nullptr) {
    int ready[2]{};
    REQUIRE(::pipe(ready) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        int result = failed;
        try {
            (void)nsvd::svd(gaussian(300, 300, 1), nsvd::rank{5});
            (void)nsvd::svd(gaussian(700, 700, 1), nsvd::rank{5});
            const rlim_t limit = status_of("self", "VmData") + bytes;
            const rlimit limits{limit, limit};
            if (::setrlimit(RLIMIT_DATA, &limits) == 0 && ::write(ready[1], "x", 1) == 1) {
                work();
                result = done;
            }
        } catch (const std::bad_alloc&) {
            result = no_memory;
        } catch (const std::exception& e) {
            std::fprintf(stderr, "child: %s\n", e.what());
        }
        ::_exit(result);
    }
    ::close(ready[1]);
    char byte = 0;
    const bool begun = ::read(ready[0], &byte, 1) == 1;
    ::close(ready[0]);
    CHECK(begun);
    const std::string name = std::to_string(child);
    const std::size_t start = status_of(name, "RssAnon");
    int status = 0;
    std::size_t most = start;
    while (::waitpid(child, &status, WNOHANG) == 0) {
        most = std::max(most, status_of(name, "RssAnon"));
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    if (peak != nullptr) *peak = most - start;
    return WIFEXITED(status) ? WEXITSTATUS(status) : failed;
}

/// The tensor `w` of a file that has it as F32, mapped.
nsvd::strided_view<float> floats(const nsvd::safetensors::file& file) {
    const nsvd::safetensors::view& w = file.at("w");
    return {reinterpret_cast<const float*>(w.bytes.data()), w.shape[0], w.shape[1], w.shape[1], 1};
}

/// What malloc holds back of what was freed.
constexpr std::size_t slack = std::size_t{4} << 20;

}  // namespace

TEST_CASE("out of core: within the memory that is stated", "[out_of_core]") {
    const scratch_folder f;
    for (const bool wide : {true, false}) {
        const Eigen::Index m = wide ? 600 : 12000;
        const Eigen::Index n = wide ? 12000 : 600;
        const auto path = f / "w.safetensors";
        {
            // Of low rank and a little noise: single precision can't answer that, so that the solver needs
            // most.
            const Eigen::MatrixXf w =
                (gaussian(m, 150, 1) * gaussian(150, n, 2) + 1e-9 * gaussian(m, n, 3)).cast<float>();
            nsvd::safetensors::write(
                path, std::vector{nsvd::safetensors::from_matrix("w", nsvd::safetensors::dtype::F32, w)});
        }
        const std::size_t memory = ooc::memory_needed(m, n, 1);
        CHECK(memory < sizeof(double) * static_cast<std::size_t>(m * n));
        const auto run = [&](const ooc::options& how) {
            const nsvd::safetensors::file file(path);
            Eigen::VectorXd scale = Eigen::VectorXd::LinSpaced(n, 1.0, 2.0);
            const std::vector<ooc::stage> stages{{nsvd::metric(nsvd::diagonal_factor(scale)), 0.9},
                                                 {nsvd::metric(), 0.1}};
            (void)ooc::decompose_into(f / "factors.safetensors", floats(file), stages, nsvd::rank{200}, how);
        };
        CHECK(within(memory + slack, [&] { run({.memory = memory, .scratch = f.path()}); }) == done);
        // The limit is one: a matrix of that size can't be had, nor the whole in memory.
        CHECK(within(memory + slack, [&] {
                  Eigen::MatrixXd(static_cast<Eigen::Index>(memory / 8), 2).setZero();
              }) == no_memory);
        CHECK(within(memory + slack, [&] {
                  const nsvd::safetensors::file file(path);
                  const Eigen::MatrixXd w = nsvd::safetensors::to_matrix<double>(file.at("w"));
                  (void)nsvd::svd(w, nsvd::rank{200});
              }) != done);
        // With more of it the panels are higher, and it is kept too.
        CHECK(within(2 * memory + slack, [&] { run({.memory = 2 * memory, .scratch = f.path()}); }) == done);
    }
    const std::size_t little = std::size_t{8} << 20;
    CHECK(within(little + slack, [&] {
              nsvd::gram_file gram(f / "gram.safetensors", 3000, little);
              for (int i = 0; i < 3; ++i)
                  gram.update(gaussian(3000, 100, 1).cast<float>().eval());
              gram.commit();
          }) == done);
    CHECK(std::filesystem::file_size(f / "gram.safetensors") > 3000u * 3000u * 8u);
}

// 2048×16384 in single precision, whose Gram matrix has 2.1 GB, within 512 MB.
TEST_CASE("out of core: a large layer", "[.][large]") {
    const scratch_folder f;
    constexpr Eigen::Index m = 2048, n = 16384, tokens = 2560, k = 700;
    constexpr std::size_t memory = std::size_t{512} << 20;
    const auto w_path = f / "w.safetensors";
    const auto gram_path = f / "gram.safetensors";
    Eigen::MatrixXf x = gaussian(n, 600, 1).cast<float>() * gaussian(600, tokens, 2).cast<float>() / 25.0F +
                        0.3F * gaussian(n, tokens, 3).cast<float>();
    for (Eigen::Index i = 0; i < n; i += 1000)
        x.row(i) *= 100.0F;
    Eigen::MatrixXf w = gaussian(m, 500, 4).cast<float>() * gaussian(500, n, 5).cast<float>() / 22.0F +
                        gaussian(m, n, 6).cast<float>();
    nsvd::safetensors::write(
        w_path, std::vector{nsvd::safetensors::from_matrix("w", nsvd::safetensors::dtype::F32, w)});
    const auto timed = [&](const char* what, const std::function<void()>& work) {
        const auto start = std::chrono::steady_clock::now();
        std::size_t peak = 0;
        CHECK(within(memory + slack, work, &peak) == done);
        std::printf("%s: %.0f s, at most %.0f MB of anonymous memory\n", what,
                    std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
                    double(peak) / 1e6);
        std::fflush(stdout);
    };
    timed("Gram matrix", [&] {
        nsvd::gram_file gram(gram_path, n, memory);
        for (Eigen::Index t = 0; t < tokens; t += 512)
            gram.update(x.middleCols(t, 512));
        gram.commit();
    });
    const auto factors = f / "factors.safetensors";
    timed("decomposition", [&] {
        const nsvd::safetensors::file file(w_path);
        const std::vector<ooc::stage> stages{{nsvd::stored_gram(gram_path)}};
        const auto info = ooc::decompose_into(factors, floats(file), stages, nsvd::rank{k},
                                              {.memory = memory, .scratch = f.path()});
        std::printf("loss %.6e of %.6e, %s, %s\n", info.loss, info.stages[0].total, info.solver.c_str(),
                    std::string(to_string(info.status)).c_str());
        std::fflush(stdout);
    });
    const nsvd::safetensors::file file(factors);
    const Eigen::MatrixXf left = nsvd::safetensors::to_matrix<float>(file.at("left"));
    const Eigen::MatrixXf right = nsvd::safetensors::to_matrix<float>(file.at("right"));
    // The errors on the inputs themselves: W X is no larger than the smaller side.
    Eigen::MatrixXd y = Eigen::MatrixXd::Zero(m, tokens);
    Eigen::MatrixXd z = Eigen::MatrixXd::Zero(k, tokens);
    for (Eigen::Index i = 0; i < n; i += 2048) {
        const Eigen::MatrixXd part = x.middleRows(i, 2048).cast<double>();
        y += nsvd::detail::multiply(w.middleCols(i, 2048).cast<double>().eval(), nsvd::detail::op::none, part,
                                    nsvd::detail::op::none);
        z += nsvd::detail::multiply(right.middleCols(i, 2048).cast<double>().eval(), nsvd::detail::op::none,
                                    part, nsvd::detail::op::none);
    }
    const Eigen::MatrixXd e = y - nsvd::detail::multiply(left.cast<double>().eval(), nsvd::detail::op::none,
                                                         z, nsvd::detail::op::none);
    const auto best = nsvd::svd(y, nsvd::rank{k}, {.accuracy = nsvd::accuracy::exact});
    const double optimum = best.info.loss;
    std::printf("squared error over the optimum, less 1: %.2e (relative error %.4f)\n",
                e.squaredNorm() / optimum - 1.0, std::sqrt(e.squaredNorm() / y.squaredNorm()));
    CHECK(e.squaredNorm() <= (1.0 + 1e-3) * optimum);
}

#endif
