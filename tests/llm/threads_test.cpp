// SPDX-License-Identifier: MIT
// Threads: as many as were asked for and no more, those of the BLAS included.
#include "threads.hpp"

#include "support/catch.hpp"
#include "support/random.hpp"
#include "turnstile.hpp"

#include <nsvd/rank/fixed_rank.hpp>
#include <nsvd/svd.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace fs = std::filesystem;
using llm::parallel_for;

namespace {

/// What OpenBLAS was told last; nothing to be seen with another BLAS or none, and then 1 as in a loop.
int blas_has() {
    return openblas_get_num_threads != nullptr ? openblas_get_num_threads() : 1;
}

/// The same for as long as a test runs.
constexpr unsigned many = 3;
int told() {
    return openblas_get_num_threads != nullptr ? int{many} : 1;
}

/// Counts who is inside at the same time.
class crowd {
public:
    void enter() {
        const int now = ++inside_;
        int most = most_;
        while (now > most && !most_.compare_exchange_weak(most, now)) {
        }
    }
    void leave() { --inside_; }
    [[nodiscard]] int most() const { return most_; }

private:
    std::atomic<int> inside_ = 0;
    std::atomic<int> most_ = 0;
};

void rest(int milliseconds) {
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

/// The processor time of each thread of this process in seconds; empty where the system doesn't tell.
std::map<std::string, double> seconds_of_threads() {
    std::map<std::string, double> found;
    if (!fs::exists("/proc/self/task")) return found;
    for (const auto& task : fs::directory_iterator("/proc/self/task")) {
        std::ifstream in(task.path() / "stat");
        const std::string line{std::istreambuf_iterator<char>(in), {}};
        const auto name_ends = line.rfind(')');
        if (name_ends == std::string::npos) continue;  // it has just ended
        std::istringstream fields(line.substr(name_ends + 1));
        std::string skipped;
        for (int i = 3; i < 14; ++i)
            fields >> skipped;
        double user = 0.0;
        double system = 0.0;
        fields >> user >> system;
        found[task.path().filename()] = (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
    }
    return found;
}

/// Processor time of threads that were there before, but for this one, while `work` runs.
template <class Work>
double seconds_of_others(const Work& work) {
    rest(300);  // threads of a BLAS look for more work for a while before they sleep
    const auto before = seconds_of_threads();
    work();
    const auto after = seconds_of_threads();
    double sum = 0.0;
    for (const auto& [thread, seconds] : before)
        if (const auto now = after.find(thread); now != after.end() && thread != std::to_string(::getpid()))
            sum += now->second - seconds;
    return sum;
}

}  // namespace

TEST_CASE("threads: BLAS has one inside, and what it had afterwards", "[llm][threads]") {
    const llm::blas_threads outside(many);
    REQUIRE(blas_has() == told());
    for (const std::size_t count : {0U, 1U, 2U, 9U})
        for (const unsigned threads : {0U, 1U, 2U, 4U}) {
            CAPTURE(count, threads);
            std::atomic<int> calls = 0;
            std::atomic<int> most = 0;
            parallel_for(count, threads, [&](std::size_t) {
                ++calls;
                if (blas_has() > 1) most = blas_has();
            });
            CHECK(calls == static_cast<int>(count));
            CHECK(most == 0);
            CHECK(blas_has() == told());
        }
}

TEST_CASE("threads: BLAS has what it had after an exception, too", "[llm][threads]") {
    const llm::blas_threads outside(many);
    for (const unsigned threads : {1U, 3U}) {
        std::atomic<int> calls = 0;
        const auto run = [&] {
            parallel_for(100, threads, [&](std::size_t i) {
                ++calls;
                if (i == 2) throw std::runtime_error("two");
                rest(1);
            });
        };
        CHECK_THROWS_WITH(run(), "two");
        CHECK(calls < 100);
        CHECK(blas_has() == told());
    }
}

TEST_CASE("threads: loops within loops, and loops at the same time", "[llm][threads]") {
    const llm::blas_threads outside(many);
    std::atomic<int> most = 0;
    const auto look = [&] {
        if (blas_has() > 1) most = blas_has();
    };
    SECTION("within") {
        crowd workers;
        parallel_for(4, 2, [&](std::size_t) {
            parallel_for(3, 2, [&](std::size_t) {
                workers.enter();
                look();
                rest(2);
                workers.leave();
            });
            look();
        });
        CHECK(workers.most() <= 2);
        // Not so within a loop that has ended, nor after one that has thrown.
        CHECK_THROWS(parallel_for(2, 1, [](std::size_t) { throw std::runtime_error("at once"); }));
        crowd later;
        std::atomic<int> met = 0;
        parallel_for(2, 2, [&](std::size_t) {
            later.enter();
            ++met;
            for (int i = 0; i < 500 && met < 2; ++i)
                rest(10);
            later.leave();
        });
        CHECK(later.most() == 2);
    }
    SECTION("at the same time") {
        // The first to begin ends first.
        std::promise<void> second_runs;
        std::promise<void> first_is_done;
        std::thread first([&] {
            parallel_for(1, 1, [&](std::size_t) { second_runs.get_future().wait(); });
            first_is_done.set_value();
        });
        std::thread second([&] {
            while (blas_has() != 1)
                rest(1);
            parallel_for(1, 1, [&](std::size_t) {
                second_runs.set_value();
                first_is_done.get_future().wait();
                look();
            });
        });
        first.join();
        second.join();
    }
    CHECK(most == 0);
    CHECK(blas_has() == told());
}

TEST_CASE("threads: as many as were asked for, all of them, each piece of work once", "[llm][threads]") {
    for (const unsigned threads : {1U, 2U, 5U}) {
        CAPTURE(threads);
        const auto before = seconds_of_threads().size();
        crowd workers;
        std::atomic<std::size_t> tasks = 0;
        std::vector<std::atomic<int>> done(40);
        parallel_for(done.size(), threads, [&](std::size_t i) {
            workers.enter();
            ++done[i];
            tasks = std::max<std::size_t>(tasks, seconds_of_threads().size());
            // The first of them wait for each other, however late a busy machine starts them.
            for (int wait = 0; wait < 5000 && workers.most() < static_cast<int>(threads); ++wait)
                rest(1);
            rest(2);
            workers.leave();
        });
        for (const auto& count : done)
            CHECK(count == 1);
        CHECK(workers.most() == static_cast<int>(threads));
        // The one that calls works, too.
        CHECK(tasks <= before + threads - 1);
        CHECK(seconds_of_threads().size() <= before);
    }
}

TEST_CASE("threads: a decomposition in a loop has no threads but its own", "[llm][threads]") {
    if (openblas_get_num_threads == nullptr || seconds_of_threads().empty() ||
        std::thread::hardware_concurrency() < 2) {
        WARN("SKIPPED: needs OpenBLAS, two processors and /proc");
        return;
    }
    const llm::blas_threads outside(2);
    const Eigen::MatrixXf w = support::gaussian(900, 800, 5).cast<float>();
    const auto decompose = [&](std::size_t) { (void)nsvd::svd(w, nsvd::rank{200}); };
    const double alone = seconds_of_others([&] {
        decompose(0);
        decompose(1);
    });
    const double in_loop = seconds_of_others([&] { parallel_for(2, 2, decompose); });
    CAPTURE(alone, in_loop);
    // Outside of a loop the threads of the BLAS have work, so that the measure is one.
    CHECK(alone > 0.05);
    CHECK(in_loop <= 0.02);
}

TEST_CASE("threads: windows pass each site in their order", "[llm][threads]") {
    constexpr std::size_t sites = 5;
    constexpr std::size_t windows = 30;
    for (const unsigned threads : {1U, 4U}) {
        llm::turnstile order(sites);
        std::vector<std::vector<std::size_t>> seen(sites);
        parallel_for(windows, threads, [&](std::size_t window) {
            for (std::size_t site = 0; site < sites; ++site)
                order.pass(site, window, [&] { seen[site].push_back(window); });
        });
        std::vector<std::size_t> ascending(windows);
        std::iota(ascending.begin(), ascending.end(), std::size_t{0});
        for (const auto& list : seen)
            CHECK(list == ascending);
    }
    // One that fails lets the others go.
    llm::turnstile order(sites);
    std::atomic<int> calls = 0;
    const auto run = [&] {
        parallel_for(windows, 4, [&](std::size_t window) {
            if (window == 3) {
                order.close();
                throw std::runtime_error("three");
            }
            for (std::size_t site = 0; site < sites; ++site)
                order.pass(site, window, [&] { ++calls; });
        });
    };
    CHECK_THROWS_WITH(run(), "three");
    CHECK(calls <= int{sites} * 3);
}
