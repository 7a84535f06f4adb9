// SPDX-License-Identifier: MIT
// The program killed at random moments (SIGKILL), started again each time until it gets through, and its
// result compared byte for byte with that of an undisturbed run. Half of the kills come after a random time,
// half at a random system call on a file, which makes saving, renaming and removing as likely as anything.
//
// The tests kill a few dozen times. By the hundred, with every moment printed (an hour on two cores):
//   NSVD_KILLS=300 NSVD_SEED=1 nsvd_llm_fault_tests "[.kill]"
#include "faulty_run.hpp"
#include "support/catch.hpp"

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace fs = std::filesystem;
using llm_test::disturbed_workplace;
using llm_test::environment;
using llm_test::fault_log;
using llm_test::task;
using llm_test::workplace;

namespace {

enum moment { before_anything, at_work, saving, named };
constexpr std::array<const char*, 4> moments{"before anything was kept", "at work", "saving",
                                             "after it had its name"};

/// How far a run was, by what it has left.
moment moment_of(const workplace& w, const std::string& output) {
    const auto partial = w / (output + ".partial");
    if (w.exists(output)) return named;
    bool any = false;
    if (!fs::exists(partial)) return before_anything;
    for (const auto& entry : fs::directory_iterator(partial)) {
        const auto name = entry.path().filename().string();
        if (name == "files" || name.starts_with("calibrations.safetensors")) return saving;
        any = any || (name != "lock" && !name.starts_with("job.json"));
    }
    return any ? at_work : before_anything;
}

/// A command and what it costs when nothing disturbs it.
struct target {
    task what;
    std::map<std::string, std::string> expected;
    double seconds = 0;
    long calls = 0;
};

target undisturbed(const workplace& w, const task& t) {
    target result{t, {}, 0, 0};
    const auto first = w.run(t.command, environment(w));
    CAPTURE(t.command, first.err);
    REQUIRE(first.code == 0);
    result.calls = fault_log(w).counts.at("any");
    result.expected = written(w, t.output);
    remove_result(w, t.output);
    const auto start = std::chrono::steady_clock::now();
    REQUIRE(w.run(t.command).code == 0);
    result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    CHECK(written(w, t.output) == result.expected);
    remove_result(w, t.output);
    return result;
}

class killer {
public:
    killer(const workplace& w, unsigned seed, bool print) : w_(w), random_(seed), print_(print) {}

    /// Runs the commands in turns, each until it gets through, until there were that many kills.
    void kill(const std::vector<target>& targets, int kills) {
        for (std::size_t i = 0; kills_ < kills; ++i)
            run_until_done(targets[i % targets.size()]);
    }

    /// Checks the summary, and prints it where moments are printed.
    void report(const char* what) const {
        if (print_) {
            std::printf("%s: kills %d, restarts %d, results %d, different %d\n", what, kills_, restarts_,
                        results_, different_);
            for (std::size_t i = 0; i < moments.size(); ++i)
                std::printf("    %4d %s\n", at_[i], moments[i]);
            std::fflush(stdout);
        }
        CHECK(different_ == 0);
        CHECK(restarts_ == kills_);
    }

private:
    void run_until_done(const target& t) {
        for (;;) {
            const bool by_call = random_() % 2 == 0;
            const long call = 1 + static_cast<long>(random_() % static_cast<unsigned long>(t.calls));
            const double delay = t.seconds * static_cast<double>(1 + random_() % 1000) / 1000;
            const auto before = by_call ? environment(w_, {"any", call, -SIGKILL})
                                        : fmt::format("timeout -s KILL {:.3f}", delay);
            const auto result = w_.run(t.what.command, before);
            if (restart_) ++restarts_;
            restart_ = result.code != 0;
            if (result.code == 0) return check_result(t);
            CAPTURE(t.what.command, result.code, result.err, call, delay);
            REQUIRE(result.code == 128 + SIGKILL);
            ++kills_;
            const auto at = moment_of(w_, t.what.output);
            ++at_[at];
            if (print_)
                std::printf("%4d: %s, %s: %s\n", kills_,
                            by_call ? fmt::format("at call {} of {}", call, t.calls).c_str()
                                    : fmt::format("after {:.3f} s of {:.3f}", delay, t.seconds).c_str(),
                            moments[at], t.what.command.c_str());
        }
    }

    void check_result(const target& t) {
        const auto there = written(w_, t.what.output);
        ++results_;
        if (there != t.expected || !leftovers(w_).empty()) ++different_;
        CAPTURE(t.what.command);
        CHECK(there == t.expected);
        CHECK(leftovers(w_).empty());
        remove_result(w_, t.what.output);
    }

    const workplace& w_;
    std::mt19937 random_;
    bool print_, restart_ = false;
    int kills_ = 0, restarts_ = 0, results_ = 0, different_ = 0;
    std::array<int, moments.size()> at_{};
};

task calibrate(const std::string& options) {
    return {"calibrate --context 20 --windows 8 --output s.safetensors " + options, "s.safetensors"};
}

task compress(const std::string& options) {
    return {"compress --context 20 --windows 8 --compression 0.3 --output out " + options, "out"};
}

const std::string small = "--model model --calibration text.txt ",
                  shards = "--model shards --calibration text.txt ",
                  tinylm = "--model tinylm --calibration calibration.txt ";

std::vector<target> prepared(const workplace& w, const std::vector<task>& tasks) {
    std::vector<target> targets;
    for (const auto& t : tasks)
        targets.push_back(undisturbed(w, t));
    return targets;
}

std::vector<target> calibrations(const workplace& w) {
    return prepared(w, {calibrate(shards), calibrate(tinylm), calibrate(small + "--own-text --central")});
}

std::vector<target> compressions(const workplace& w) {
    REQUIRE(w.run("calibrate --context 20 --output u.safetensors " + shards).code == 0);
    return prepared(w, {compress(small + "--method best"), compress(shards + "--method best --low-memory"),
                        compress(tinylm + "--method asvd-1"),
                        compress("--model shards --statistics u.safetensors --method nsvd-1+pivoted+greedy"),
                        compress(small + "--method nid-1+anchored+bias+joint --low-memory --text t=text.txt"),
                        compress(tinylm + "--method nsvd-2 --low-memory --dtype bf16")});
}

int number_in(const char* variable, int otherwise) {
    const char* text = std::getenv(variable);
    return text != nullptr ? std::atoi(text) : otherwise;
}

}  // namespace

TEST_CASE("kill: a calibration ends with the same bytes", "[llm][kill]") {
    const disturbed_workplace w;
    killer k(w, 1, false);
    k.kill(prepared(w, {calibrate(shards)}), 12);
    k.report("calibrate");
}

TEST_CASE("kill: a compression ends with the same bytes", "[llm][kill]") {
    const disturbed_workplace w;
    killer k(w, 2, false);
    k.kill(prepared(w, {compress(shards + "--method nsvd-1+anchored"),
                        compress(small + "--method asvd-1 --low-memory")}),
           16);
    k.report("compress");
}

TEST_CASE("kill: a folder that has another model gets all of the new one", "[llm][kill]") {
    const disturbed_workplace w;
    const auto t = undisturbed(w, compress(shards + "--method asvd-1 --force"));
    const auto another = [&] {
        REQUIRE(w.run("compress --context 20 --compression 0.5 --method svd --output out " + small).code ==
                0);
        llm_test::write(w / "out/notes.txt", "mine");
    };
    const auto check = [&] {
        auto there = written(w, "out");
        CHECK(there["notes.txt"] == "mine");
        there.erase("notes.txt");
        CHECK(there == t.expected);
        CHECK(leftovers(w).empty());
        remove_result(w, "out");
    };
    another();
    REQUIRE(w.run(t.what.command, environment(w)).code == 0);
    const auto calls = fault_log(w).counts.at("any");
    check();
    // The last calls give the files their names and clean up.
    for (long call = calls - 120; call <= calls; call += 6) {
        another();
        CAPTURE(call, calls);
        CHECK(w.run(t.what.command, environment(w, {"any", call, -SIGKILL})).code == 128 + SIGKILL);
        CHECK(w.run(t.what.command).code == 0);
        check();
    }
}

TEST_CASE("kill: calibrations and compressions by the hundred", "[.kill]") {
    const int kills = number_in("NSVD_KILLS", 300);
    const auto seed = static_cast<unsigned>(number_in("NSVD_SEED", 1));
    const disturbed_workplace w;
    std::printf("seed %u\n", seed);
    killer calibrating(w, seed, true);
    calibrating.kill(calibrations(w), kills);
    killer compressing(w, seed + 1, true);
    compressing.kill(compressions(w), kills);
    calibrating.report("calibrate");
    compressing.report("compress");
}
