// SPDX-License-Identifier: MIT
// System calls that fail, one after the other: full disks, errors of reading and writing, short counts and
// interruptions. Every run ends with the bytes of an undisturbed one, or with one line that says why it
// couldn't; then the same command ends with those bytes.
//
// The tests take the first, the last and some calls between. Up to 20 of each kind, or all (NSVD_FAULTS=0,
// hours), of more commands, on tinylm as well:
//   NSVD_FAULTS=20 nsvd_llm_fault_tests "[.faults]"
#include "faulty_run.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <system_error>
#include <utility>

namespace fs = std::filesystem;
using llm_test::disturbed_workplace;
using llm_test::fault;
using llm_test::fault_log;
using llm_test::task;
using llm_test::workplace;

namespace {

struct failure {
    const char* call;
    int error;
    long times = 1;
};

/// A run may end with these for an error, or get along without the call.
const std::vector<failure> errors{
    {"create", ENOSPC, 0}, {"create", EACCES},   {"create", EMFILE}, {"write", ENOSPC, 0}, {"write", EIO},
    {"write", EDQUOT, 0},  {"sync", EIO},        {"sync", ENOSPC},   {"rename", ENOSPC},   {"rename", EIO},
    {"remove", EIO},       {"mkdir", ENOSPC, 0}, {"mkdir", EACCES},  {"copy", ENOSPC, 0},  {"copy", EIO},
    {"mode", EIO},         {"open", EMFILE},     {"open", EIO},      {"read", EIO},        {"map", ENOMEM},
    {"map", EACCES},       {"lock", ENOLCK},     {"stat", EIO},      {"stat", EACCES},     {"list", EMFILE},
};

/// These, it doesn't notice.
const std::vector<failure> nuisances{
    {"write", 0},    {"write", 0, 0},  {"read", 0},         {"read", 0, 0},
    {"copy", 0},     {"write", EINTR}, {"write", EINTR, 3}, {"read", EINTR, 3},
    {"sync", EINTR}, {"open", EINTR},  {"create", EINTR},
};

/// The file that is meant: the one that is written, where it is under a temporary name.
std::string file_of(const std::string& path) {
    auto name = fs::path(path).filename().string();
    if (name.ends_with(".partial") || name.ends_with(".new")) name = fs::path(name).stem().string();
    static const std::regex number(R"(\.[0-9]+-[0-9]+$)");
    return std::regex_replace(name, number, "");
}

class trial {
public:
    trial(const workplace& w, task t) : w_(w), task_(std::move(t)) {
        const auto undisturbed = w_.run(task_.command, environment(w_));
        CAPTURE(task_.command, undisturbed.err);
        REQUIRE(undisturbed.code == 0);
        expected_ = written(w_, task_.output);
        REQUIRE_FALSE(expected_.empty());
        counts_ = fault_log(w_).counts;
        remove_result(w_, task_.output);
    }

    [[nodiscard]] long calls(const std::string& call) const { return counts_.at(call); }

    /// Whether the run was right, and whether it ended with an error.
    void run(const failure& f, long at, bool may_fail) const {
        const auto result = w_.run(task_.command, environment(w_, {f.call, at, f.error, f.times}));
        const auto struck = fault_log(w_).trace;
        const auto where = struck.empty() ? std::string("nothing") : struck.front().second;
        CAPTURE(task_.command, f.call, at, f.error, f.times, where, result.code, result.err);
        const auto there = written(w_, task_.output);
        if (result.code == 0 || !may_fail) {
            CHECK(result.code == 0);
            CHECK(there == expected_);
        } else {
            CHECK(is_refusal(result));
            CHECK(result.err.find(std::generic_category().message(f.error)) != std::string::npos);
            CHECK((result.err.find(file_of(where)) != std::string::npos ||
                   result.err.find(task_.output) != std::string::npos));
            CHECK((there.empty() || there == expected_));
        }
        if (result.code != 0 || !leftovers(w_).empty()) {
            const auto again = w_.run(task_.command);
            CAPTURE(again.err);
            CHECK(again.code == 0);
            CHECK(written(w_, task_.output) == expected_);
            CHECK(leftovers(w_).empty());
        }
        remove_result(w_, task_.output);
    }

    /// `most` calls of each kind, the first and the last among them; 0: all.
    int run_all(long most) const {
        int runs = 0;
        const auto each = [&](const failure& f, bool may_fail) {
            const long count = calls(f.call), tried = most == 0 ? count : std::min(count, most);
            for (long i = 0; i < tried; ++i, ++runs)
                run(f, tried == 1 ? count : 1 + (count - 1) * i / (tried - 1), may_fail);
        };
        for (const auto& f : errors)
            each(f, true);
        for (const auto& f : nuisances)
            each(f, false);
        return runs;
    }

private:
    const workplace& w_;
    task task_;
    std::map<std::string, std::string> expected_;
    std::map<std::string, long> counts_;
};

const task calibrate{
    "calibrate --model model --calibration text.txt --context 20 --windows 4 --threads 1 "
    "--output s.safetensors",
    "s.safetensors"};

task compress(const std::string& options) {
    return {
        "compress --model shards --calibration text.txt --context 20 --windows 4 --threads 1 "
        "--compression 0.3 --output out --method " +
            options,
        "out"};
}

}  // namespace

TEST_CASE("faults: a calibration that meets them", "[llm][faults]") {
    const disturbed_workplace w;
    CHECK(trial(w, calibrate).run_all(3) > 60);
}

TEST_CASE("faults: compressions that meet them", "[llm][faults]") {
    const disturbed_workplace w;
    CHECK(trial(w, compress("asvd-1")).run_all(3) > 60);
    CHECK(trial(w, compress("nsvd-1+anchored --low-memory --text t=text.txt")).run_all(2) > 40);
}

TEST_CASE("faults: a disk that is really full, and then is not", "[llm][faults]") {
    const disturbed_workplace w;
    // In a file system of its own, which only this run sees; it grows before the second run.
    const std::string two_runs =
        "unshare -m sh -c 'mount -t tmpfs -o size=$SIZE none disk 2>/dev/null || exit 77; "
        "\"$@\" >first.out 2>first.err; echo $? >code; "
        "mount -o remount,size=64m disk && \"$@\" && cp -r disk result' sh";
    fs::create_directory(w / "disk");
    for (const auto& [command, output] :
         {std::pair("calibrate --model model --calibration text.txt --context 20 --windows 4 --output disk/s",
                    "s"),
          std::pair(
              "compress --model shards --calibration text.txt --context 20 --windows 4 --compression 0.3 "
              "--method asvd-1+anchored --output disk/s",
              "s")}) {
        const auto undisturbed = w.run(command);
        REQUIRE(undisturbed.code == 0);
        auto expected = written(w, "disk/s");
        expected.erase("report.html");  // which says where its folder is
        remove_result(w, "disk/s");
        int full = 0;
        for (long size = 4096; size < (1 << 20); size += size / 4096 * 1024 + 4096) {
            fs::remove_all(w / "result");
            const auto result = w.run(command, fmt::format("export SIZE={}; {}", size, two_runs));
            if (result.code == 77 || result.code == 127) {
                WARN("no file systems may be mounted here");
                return;
            }
            const auto error = llm_test::read(w / "first.err");
            CAPTURE(command, size, error, result.err);
            CHECK(result.code == 0);
            auto there = written(w, fmt::format("result/{}", output));
            there.erase("report.html");
            CHECK(there == expected);
            if (llm_test::read(w / "code") == "0\n") break;
            ++full;
            CHECK(llm_test::read(w / "code") == "1\n");
            CHECK(error.find("No space left on device") != std::string::npos);
            CHECK(error.find("disk/s") != std::string::npos);
            CHECK(error.find('\n') == error.size() - 1);
        }
        CHECK(full > 2);
    }
}

TEST_CASE("faults: a limit on the size of files is an error like any other", "[llm][faults]") {
    const disturbed_workplace w;
    for (const auto& t : {calibrate, compress("asvd-1")}) {
        REQUIRE(w.run(t.command).code == 0);
        const auto expected = written(w, t.output);
        remove_result(w, t.output);
        const auto result = w.run(t.command, "ulimit -f 2 &&");
        CAPTURE(t.command, result.code, result.err);
        CHECK(is_refusal(result));
        CHECK(result.err.find("File too large") != std::string::npos);
        CHECK(w.run(t.command).code == 0);
        CHECK(written(w, t.output) == expected);
    }
}

TEST_CASE("faults: what has its name is on the disk, and only then its journal goes", "[llm][faults]") {
    // No power is cut here: the order of the calls is what counts.
    const disturbed_workplace w;
    for (const auto& t : {calibrate, compress("asvd-1+anchored")}) {
        CAPTURE(t.command);
        REQUIRE(w.run(t.command, environment(w, {"any", 1, -SIGCONT, 0})).code == 0);
        const auto target = (fs::canonical(w / ".") / t.output).string();
        const auto calls = fault_log(w).trace;
        int renamed = 0;
        bool named = false, flushed = false;
        for (std::size_t i = 0; i < calls.size(); ++i) {
            const auto& [call, path] = calls[i];
            if (named && call == "sync" && path == fs::path(target).parent_path()) flushed = true;
            if (call == "remove" && path.starts_with(target + ".partial/calibration-0")) CHECK(flushed);
            if (call == "remove" && path.starts_with(target + ".partial/layer-")) CHECK(flushed);
            if (call != "rename") continue;
            ++renamed;
            named = named || path == target;
            // The last that was done to what gets the name is to flush it.
            std::string last;
            for (std::size_t j = 0; j < i; ++j)
                if (calls[j].second.starts_with(path + ".") &&
                    (calls[j].first == "write" || calls[j].first == "copy" || calls[j].first == "sync" ||
                     calls[j].first == "create"))
                    last = calls[j].first;
            CAPTURE(path);
            CHECK(last == "sync");
        }
        CHECK(renamed > 10);
        CHECK(flushed);
        // So it is with every file of a folder.
        for (const auto& [name, bytes] : written(w, t.output)) {
            if (name.empty()) continue;
            std::string last;
            for (const auto& [call, path] : calls)
                if (path.starts_with(target + ".partial/files/" + name) &&
                    (call == "write" || call == "copy" || call == "sync"))
                    last = call;
            CAPTURE(name);
            CHECK(last == "sync");
        }
    }
}

TEST_CASE("faults: calls of every kind, of every command", "[.faults]") {
    const disturbed_workplace w;
    const char* most = std::getenv("NSVD_FAULTS");
    const auto report = [&](const task& t) {
        const int runs = trial(w, t).run_all(most != nullptr ? std::atol(most) : 20);
        std::printf("%6d runs with a fault: %s\n", runs, t.command.c_str());
        std::fflush(stdout);
        CHECK(runs > 100);
    };
    const std::string tinylm = " --model tinylm --calibration calibration.txt --context 64 --windows 4 ";
    report(calibrate);
    report(compress("asvd-1"));
    report(compress("nsvd-1+anchored --low-memory --text t=text.txt"));
    report({"calibrate" + tinylm + "--output s.safetensors", "s.safetensors"});
    report({"compress" + tinylm + "--method asvd-1 --compression 0.3 --output out", "out"});
    REQUIRE(
        w.run("calibrate --model shards --calibration text.txt --context 20 --output u.safetensors").code ==
        0);
    report(compress("nsvd-1 --statistics u.safetensors"));
    report(compress("best --low-memory"));
    report(compress("best"));
}
