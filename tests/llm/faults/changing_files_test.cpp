// SPDX-License-Identifier: MIT
// Files that other programs cut, change, replace or remove, during a run and between two: an error of one
// line that names the file, or a result that is right all the same; never a signal, never anything else.
#include "faulty_run.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <csignal>
#include <functional>
#include <set>
#include <sys/wait.h>
#include <unistd.h>

namespace fs = std::filesystem;
using llm_test::disturbed_workplace;
using llm_test::fault;
using llm_test::outcome;
using llm_test::task;
using llm_test::workplace;

namespace {

const std::string calibrate =
    "calibrate --model model --calibration text.txt --context 20 --windows 8 --threads 2 --output "
    "s.safetensors";

std::string compress(const std::string& options) {
    return "compress --model model --calibration text.txt --context 20 --windows 8 --threads 2 --compression "
           "0.3 "
           "--output out " +
           options;
}

/// Stops the command before the `at`-th file that it opens for writing, lets `change` do its work, and goes
/// on. The code is 128 + the signal where one ends it.
outcome run_with_change(const workplace& w, const std::string& command, long at,
                        const std::function<void()>& change) {
    const auto line = fmt::format(
        "cd '{}' && exec env LD_PRELOAD='{}' FAULTS_UNDER='{}' FAULTS_CALL=create "
        "FAULTS_AT={} FAULTS_ERROR=-{} '{}' {} >stdout.txt 2>stderr.txt </dev/null",
        (w / ".").string(), NSVD_IO_FAULTS, fs::canonical(w / ".").string(), at, SIGSTOP, NSVD_LLM_BINARY,
        command);
    const auto child = ::fork();
    if (child == 0) {
        ::execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
        ::_exit(127);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, WUNTRACED) == child);
    CAPTURE(command, at, status, llm_test::read(w / "stderr.txt"));
    REQUIRE(WIFSTOPPED(status));
    change();
    ::kill(child, SIGCONT);
    REQUIRE(::waitpid(child, &status, 0) == child);
    return {WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status),
            llm_test::read(w / "stdout.txt"), llm_test::read(w / "stderr.txt")};
}

void check_refusal(const outcome& result, const std::vector<std::string>& expected) {
    CAPTURE(result.code, result.out, result.err);
    CHECK(is_refusal(result));
    for (const auto& part : expected)
        CHECK(result.err.find(part) != std::string::npos);
}

void flip(const fs::path& file, std::size_t at) {
    auto bytes = llm_test::read(file);
    bytes.at(at) = static_cast<char>(bytes.at(at) ^ 1);
    llm_test::write(file, bytes);
}

struct change {
    const char* name;
    std::function<void(const fs::path& file)> make;
    std::string expected;
};

const std::vector<change> changes{
    {"cut to nothing", [](const fs::path& file) { fs::resize_file(file, 0); }, "was c"},
    {"cut to a page", [](const fs::path& file) { fs::resize_file(file, 4096); }, "was c"},
    {"cut by a byte", [](const fs::path& file) { fs::resize_file(file, fs::file_size(file) - 1); },
     "was changed"},
    {"changed in place", [](const fs::path& file) { flip(file, fs::file_size(file) - 2); }, "was changed"},
    {"replaced",
     [](const fs::path& file) {
         auto other = file;
         fs::copy_file(file, other += ".new");
         flip(other, fs::file_size(file) - 2);
         fs::rename(other, file);
     },
     "was changed"},
    {"removed", [](const fs::path& file) { fs::remove(file); }, "is gone: No such file"},
};

}  // namespace

TEST_CASE("changing files: the weights, during a run", "[llm][faults]") {
    const disturbed_workplace w;
    const auto weights = w / "model/model.safetensors";
    const auto whole = llm_test::read(weights);
    REQUIRE(whole.size() > 3 * 4096);
    for (const auto& command :
         {calibrate, compress("--method asvd-1"), compress("--method asvd-1+anchored --low-memory")})
        for (const auto& c : changes) {
            CAPTURE(command, c.name);
            const auto result = run_with_change(w, command, 5, [&] { c.make(weights); });
            check_refusal(result, {"model/model.safetensors: ", c.expected});
            CHECK_FALSE(w.exists("s.safetensors"));
            CHECK_FALSE(w.exists("out"));
            // What was made from the file that was there is not gone on with.
            fs::remove(weights);
            llm_test::write(weights, whole);
            check_refusal(w.run(command),
                          {".partial: left by another run (its model/1/changed", "--restart"});
            CHECK(w.run(command + " --restart").code == 0);
            remove_result(w, "s.safetensors");
            remove_result(w, "out");
        }
}

TEST_CASE("changing files: config.json and statistics, during a run", "[llm][faults]") {
    const disturbed_workplace w;
    REQUIRE(
        w.run("calibrate --model model --calibration text.txt --context 20 --output u.safetensors").code ==
        0);
    REQUIRE(
        w.run("calibrate --model model --calibration text.txt --context 20 --output v.safetensors").code ==
        0);
    const auto use =
        "compress --model model --statistics u.safetensors --compression 0.3 --threads 1 --method asvd-1 "
        "--output out";
    const auto merge = "calibrate --merge u.safetensors v.safetensors --output s.safetensors";
    const auto config = llm_test::read(w / "model/config.json"),
               statistics = llm_test::read(w / "u.safetensors");
    for (const auto& command : {calibrate, compress("--method svd")}) {
        check_refusal(
            run_with_change(w, command, 5, [&] { llm_test::write(w / "model/config.json", config + "\n"); }),
            {"model/config.json: was changed"});
        CHECK_FALSE(w.exists("s.safetensors"));
        CHECK_FALSE(w.exists("out"));
    }
    for (const auto& command : {use, merge})
        for (const auto& c : changes) {
            CAPTURE(command, c.name);
            remove_result(w, "s.safetensors");
            remove_result(w, "out");
            const auto result = run_with_change(w, command, 4, [&] { c.make(w / "u.safetensors"); });
            check_refusal(result, {"u.safetensors: "});
            CHECK_FALSE(w.exists("s.safetensors"));
            CHECK_FALSE(w.exists("out"));
            fs::remove(w / "u.safetensors");
            llm_test::write(w / "u.safetensors", statistics);
        }
}

TEST_CASE("changing files: a text that has been read may go", "[llm][faults]") {
    const disturbed_workplace w;
    const auto command = compress("--method asvd-1+anchored");
    REQUIRE(w.run(command).code == 0);
    const auto expected = written(w, "out");
    remove_result(w, "out");
    CHECK(run_with_change(w, command, 3, [&] { fs::remove(w / "text.txt"); }).code == 0);
    CHECK(written(w, "out") == expected);
}

TEST_CASE("changing files: the journal is removed during a run", "[llm][faults]") {
    const disturbed_workplace w;
    for (const auto& t : {task{calibrate, "s.safetensors"}, task{compress("--method asvd-1+anchored"), "out"},
                          task{compress("--method svd --low-memory"), "out"}}) {
        REQUIRE(w.run(t.command).code == 0);
        const auto expected = written(w, t.output);
        for (const long at : {3, 6, 9}) {
            CAPTURE(t.command, at);
            remove_result(w, t.output);
            const auto result =
                run_with_change(w, t.command, at, [&] { fs::remove_all(w / (t.output + ".partial")); });
            check_refusal(result, {t.output + ".partial"});
            CHECK_FALSE(w.exists(t.output));
            CHECK(w.run(t.command).code == 0);
            CHECK(written(w, t.output) == expected);
        }
        remove_result(w, t.output);
    }
}

TEST_CASE("changing files: the journal is removed during a run, and another job begun", "[llm][faults]") {
    const disturbed_workplace w;
    const task first{compress("--method asvd-1"), "out"}, second{compress("--method nsvd-1 --seed 2"), "out"};
    REQUIRE(w.run(second.command).code == 0);
    const auto expected = written(w, "out");
    for (const long at : {3, 6, 9, 12}) {
        CAPTURE(at);
        remove_result(w, "out");
        const auto result = run_with_change(w, first.command, at, [&] {
            fs::remove_all(w / "out.partial");
            CHECK(w.run(second.command, environment(w, {"create", 9, -SIGKILL})).code == 128 + SIGKILL);
        });
        check_refusal(result, {"out.partial"});
        CHECK_FALSE(w.exists("out"));
        // The first run stopped at the worst of moments: one file of its own it may have put there still.
        auto again = w.run(second.command);
        if (again.code != 0) {
            check_refusal(again, {"out.partial/", "remove it, and start the same command again"});
            const auto name = again.err.substr(again.err.find("out.partial/"));
            fs::remove(w / name.substr(0, name.find(':')));
            again = w.run(second.command);
        }
        CAPTURE(again.err);
        CHECK(again.code == 0);
        CHECK(written(w, "out") == expected);
    }
}

namespace {

/// Damages entries that a killed run has left, one at a time, and goes on: the first of each kind, or all.
void damage_journal(const task& t, bool all) {
    const disturbed_workplace w;
    const auto partial = w / (t.output + ".partial");
    REQUIRE(w.run(t.command, environment(w)).code == 0);
    const auto created = llm_test::fault_log(w).counts.at("create");
    const auto expected = written(w, t.output);
    remove_result(w, t.output);
    int noticed = 0;
    std::set<std::string> kinds;  // that were damaged
    // Killed half-way and near the end, so that there is everything that ever is.
    for (const long at : {created / 2, created - 4}) {
        REQUIRE(w.run(t.command, environment(w, {"create", at, -SIGKILL})).code == 128 + SIGKILL);
        fs::rename(partial, w / "kept");
        for (const auto& entry : fs::recursive_directory_iterator(w / "kept")) {
            const auto name = fs::relative(entry, w / "kept").string();
            const auto size = entry.is_regular_file() ? entry.file_size() : 0;
            const auto kind = name.substr(0, name.find_first_of("0123456789"));
            if (size < 2 || (!kinds.insert(kind).second && !all)) continue;
            for (const auto& damage : std::vector<std::function<void(const fs::path&)>>{
                     [&](const fs::path& p) { flip(p, size / 2); },
                     [&](const fs::path& p) { flip(p, size - 2); },
                     [&](const fs::path& p) { fs::resize_file(p, size / 2); },
                     [&](const fs::path& p) { fs::resize_file(p, 0); }}) {
                fs::remove_all(partial);
                fs::copy(w / "kept", partial, fs::copy_options::recursive);
                damage(partial / name);
                auto result = w.run(t.command);
                CAPTURE(t.command, name, result.code, result.err);
                if (result.code != 0) {
                    ++noticed;
                    check_refusal(result, {t.output + ".partial"});
                    if (name != "job.json") CHECK(result.err.find(name) != std::string::npos);
                    fs::remove(partial / name);
                    result = w.run(t.command);
                }
                CHECK(result.code == 0);
                CHECK(written(w, t.output) == expected);
                remove_result(w, t.output);
            }
        }
        fs::remove_all(w / "kept");
    }
    CHECK(noticed > 8);
}

}  // namespace

TEST_CASE("changing files: damaged journals are not gone on with", "[llm][faults]") {
    damage_journal({calibrate, "s.safetensors"}, false);
    damage_journal({compress("--method nsvd-1+anchored+greedy --text t=text.txt"), "out"}, false);
}

TEST_CASE("changing files: every entry of every journal, damaged", "[.faults]") {
    damage_journal({calibrate, "s.safetensors"}, true);
    for (const auto* options : {"--method asvd-1+measured+own-text --keep-dense spiking",
                                "--method nsvd-1+anchored+greedy --text t=text.txt",
                                "--method asvd-1+tuned+anchored --tune text.u16 --low-memory"})
        damage_journal({compress(options), "out"}, true);
}

TEST_CASE("changing files: the place of the result goes during a run", "[llm][faults]") {
    const disturbed_workplace w;
    fs::create_directory(w / "deep");
    const std::string common =
        "compress --model model --calibration text.txt --context 20 --windows 8 --threads 2 "
        "--compression 0.3 --method asvd-1 --force --output ";
    check_refusal(run_with_change(w, common + "deep/out", 6, [&] { fs::remove_all(w / "deep"); }),
                  {"deep/out"});
    CHECK_FALSE(w.exists("deep"));
    // A folder that was to be written into, and is not there any more, is made anew.
    REQUIRE(w.run(common + "out").code == 0);
    const auto expected = written(w, "out");
    remove_result(w, "out");
    fs::create_directory(w / "out");
    llm_test::write(w / "out/notes.txt", "mine");
    CHECK(run_with_change(w, common + "out", 6, [&] { fs::remove_all(w / "out"); }).code == 0);
    CHECK(written(w, "out") == expected);
}

TEST_CASE("changing files: a result that was damaged afterwards does not count as there", "[llm][faults]") {
    const disturbed_workplace w;
    const auto command = compress("--method svd");
    REQUIRE(w.run(command).code == 0);
    CHECK(w.run(command).code == 0);
    fs::resize_file(w / "out/model.safetensors", 5000);
    check_refusal(w.run(command), {"out: the folder is not empty"});
    fs::remove(w / "out/model.safetensors");
    check_refusal(w.run(command), {"out: the folder is not empty"});
    REQUIRE(w.run(calibrate).code == 0);
    fs::resize_file(w / "s.safetensors", 5000);
    check_refusal(w.run(calibrate), {"s.safetensors: exists"});
}

TEST_CASE("changing files: a safetensors file tells whether it is what was opened", "[llm][faults]") {
    const disturbed_workplace w;
    const auto weights = w / "model/model.safetensors";
    const auto whole = llm_test::read(weights);
    for (const auto& c : changes) {
        CAPTURE(c.name);
        const nsvd::safetensors::file file(weights);
        file.check_unchanged();
        c.make(weights);
        const auto error = llm_test::error_of([&] { file.check_unchanged(); });
        CHECK(error.find("model/model.safetensors: ") != std::string::npos);
        CHECK(error.find(c.expected == "was c" ? "was changed" : c.expected) != std::string::npos);
        fs::remove(weights);
        llm_test::write(weights, whole);
    }
}
