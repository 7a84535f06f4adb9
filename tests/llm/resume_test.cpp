// SPDX-License-Identifier: MIT
// The program killed and interrupted at any moment, and started again.
#include "shards.hpp"
#include "support/catch.hpp"
#include "workplace.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace fs = std::filesystem;
using llm_test::large_workplace;
using llm_test::read;
using llm_test::workplace;

namespace {

using times = std::map<std::string, fs::file_time_type>;

/// When each layer was written.
times layers_in(const fs::path& partial) {
    times found;
    if (!fs::exists(partial)) return found;
    for (const auto& entry : fs::directory_iterator(partial)) {
        const auto name = entry.path().filename().string();
        if ((name.starts_with("layer-") || name.starts_with("calibration-")) &&
            name.ends_with(".safetensors"))
            found[name] = entry.last_write_time();
    }
    return found;
}

/// Runs a command, kills it after a random time, and starts it again until it is done: how often it was
/// killed, and how many layers it had done by then, in the mean.
int run_with_kills(const workplace& w, const std::string& command, const std::string& output, unsigned seed) {
    std::mt19937 random(seed);
    double longest = 0.05;
    int kills = 0;
    times before;
    for (;; ++kills, longest *= 1.1) {
        const double delay = longest * static_cast<double>(random() % 1000 + 1) / 1000;
        const auto result = w.run(command, fmt::format("timeout -s KILL {:.3f}", delay));
        if (result.code == 0) return kills;
        CAPTURE(result.err, delay);
        REQUIRE(result.code == 137);
        REQUIRE(kills < 200);
        const auto after = layers_in(w / (output + ".partial"));
        // What was finished is there still, and was not done again; or all of it is done.
        for (const auto& [name, time] : before) {
            if (!after.contains(name)) {
                CHECK(fs::exists(w / output));
                break;
            }
            CHECK(after.at(name) == time);
        }
        before = after;
    }
}

const std::string common = "--model large --calibration text.txt --context 20 --threads 2 ";

void check_same(const workplace& w, const std::string& a, const std::string& b) {
    for (const auto* name : {"model.safetensors", "config.json"})
        CHECK(read(w / a / name) == read(w / b / name));
}

/// What a folder has in it, but for files that a run was asked for.
std::vector<std::string> left_in(const fs::path& folder) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder))
        if (entry.path().string().find(".partial") != std::string::npos)
            names.push_back(entry.path().filename().string());
    return names;
}

}  // namespace

TEST_CASE("a compression that is killed goes on, and ends with the same bytes", "[llm][resume]") {
    const large_workplace w;
    int kills = 0;
    unsigned seed = 1;
    for (const std::string options :
         {"--method best", "--method nsvd-1+pivoted+greedy", "--method asvd-1+tuned --tune text.u16",
          "--method best --low-memory", "--method nid-1+anchored+bias+joint --low-memory",
          "--method asvd-2+sensitivity+bias --dtype bf16 --keep-dense spiking --text t=text.txt"}) {
        const auto command = "compress " + common + "--compression 0.3 " + options + " --output ";
        const auto whole = fmt::format("whole-{}", seed), killed = fmt::format("killed-{}", seed);
        CAPTURE(command);
        const auto undisturbed = w.run(command + whole);
        CAPTURE(undisturbed.err);
        REQUIRE(undisturbed.code == 0);
        kills += run_with_kills(w, command + killed, killed, seed++);
        check_same(w, whole, killed);
        CHECK_FALSE(w.exists(killed + ".partial"));
        CHECK(w.json(killed + "/report.json").at("layers").size() ==
              w.json(whole + "/report.json").at("layers").size());
    }
    CHECK(left_in(w / "").empty());
    CHECK(kills >= 10);
}

TEST_CASE("a compression killed again and again into a folder that has another model", "[llm][resume]") {
    const large_workplace w;
    const auto command = "compress " + common + "--compression 0.3 --method nsvd-1 --force --output ";
    REQUIRE(w.run(command + "whole").code == 0);
    for (unsigned seed = 1; seed <= 4; ++seed) {
        const auto output = fmt::format("taken-{}", seed);
        REQUIRE(w.run("compress --model model --calibration text.txt --context 20 --compression 0.5 --method "
                      "svd --output " +
                      output)
                    .code == 0);
        llm_test::write(w / output / "notes.txt", "mine");
        (void)run_with_kills(w, command + output, output, seed);
        check_same(w, "whole", output);
        CHECK(read(w / output / "notes.txt") == "mine");
        CHECK_FALSE(w.exists(output + ".partial"));
    }
}

TEST_CASE("statistics that are killed go on, and end with the same bytes", "[llm][resume]") {
    const large_workplace w;
    // The command is part of the file: the same in two folders.
    for (const auto* folder : {"whole", "killed"})
        fs::create_directory(w / folder);
    const std::string in = "calibrate --model ../large --calibration ../text.txt --context 20 ";
    const auto here = [](const char* folder, const std::string& before = "true") {
        return fmt::format("cd {} && {}", folder, before);
    };
    for (const std::string options :
         {"--output s.safetensors", "--central --own-text --output t.safetensors"}) {
        REQUIRE(w.run(in + options, here("whole", "env")).code == 0);
        int kills = 0;
        for (double delay = 0.02; delay < 10; delay += 0.01, ++kills) {
            const auto result =
                w.run(in + options, here("killed", fmt::format("timeout -s KILL {:.3f}", delay)));
            if (result.code == 0) break;
            CAPTURE(result.err);
            REQUIRE(result.code == 137);
        }
        CHECK(kills > 0);
    }
    for (const auto* name : {"s.safetensors", "t.safetensors"}) {
        CHECK(read(w / "whole" / name).size() > 1000);
        CHECK(read(w / "whole" / name) == read(w / "killed" / name));
    }
    CHECK(left_in(w / "killed").empty());
}

TEST_CASE("Ctrl-C ends with 130 and one line, and leaves what it takes to go on", "[llm][resume]") {
    const large_workplace w;
    const auto command = "compress " + common + "--compression 0.3 --method best --output out";
    int interrupted = 0;
    for (double delay = 0.03; delay < 10; delay += 0.05) {
        const auto result = w.run(command, fmt::format("timeout --preserve-status -s INT {:.3f}", delay));
        if (result.code == 0) break;
        CAPTURE(delay, result.err);
        if (delay < 0.04 && result.err.empty()) continue;  // before the program was there
        CHECK(result.code == 130);
        CHECK(result.err ==
              "nsvd-llm: interrupted; calibrate and compress go on when they are started again\n");
        CHECK(result.out.empty());
        CHECK_FALSE(w.exists("out"));
        for (const auto& name : left_in(w / ""))
            CHECK(name == "out.partial");
        if (w.exists("out.partial"))
            for (const auto& entry : fs::directory_iterator(w / "out.partial")) {
                const auto end = entry.path().extension();
                CHECK((end == ".json" || end == ".safetensors" || end == ".stream" || end.empty()));
                CHECK(entry.path().filename() != "files");
            }
        ++interrupted;
    }
    CHECK(interrupted > 0);
    const auto again = "compress " + common + "--compression 0.3 --method best --output whole";
    REQUIRE(w.run(again).code == 0);
    check_same(w, "whole", "out");
    for (const auto& other : {std::string("evaluate --model large --context 20 --text text.txt --threads 1"),
                              std::string("compare ") + common + "--text t=text.txt --compression 0.2"}) {
        const auto result = w.run(other, "timeout --preserve-status -s INT 0.04");
        CHECK((result.code == 0 || result.code == 130 || result.err.empty()));
    }
}

TEST_CASE("another job does not go on with what one has left", "[llm][resume]") {
    const large_workplace w;
    const auto command = [](const std::string& more) {
        return "compress " + common + more + " --compression 0.3 --output out";
    };
    // Long enough for some layers, and too short for all.
    const auto interrupt = [&](const std::string& more) {
        for (double delay = 0.05; delay < 3; delay += 0.02) {
            (void)w.run(command(more), fmt::format("timeout -s KILL {:.3f}", delay));
            if (!layers_in(w / "out.partial").empty()) break;
        }
        REQUIRE_FALSE(w.exists("out"));
        REQUIRE_FALSE(layers_in(w / "out.partial").empty());
    };
    interrupt("--method asvd-1+anchored+own-text");
    const std::vector<std::pair<std::string, std::string>> others{
        {"--method nsvd-1", "method"},
        {"--method asvd-1+anchored+own-text --seed 3", "seed is 0, here 3"},
        {"--method asvd-1+anchored+own-text --windows 3", "windows is 256, here 3"},
        {"--method asvd-1+anchored+own-text --dtype f16", "dtype"},
        {"--method asvd-1+anchored+own-text --keep-dense v_proj", "keep_dense"},
        {"--method asvd-1+anchored+own-text --epsilon 0.3", "epsilon is 0.05, here 0.3"}};
    for (const auto& [more, expected] : others) {
        const auto result = w.run(command(more));
        CAPTURE(more, result.err);
        CHECK(result.code == 1);
        CHECK(result.err.find("out.partial: left by another run (its " + expected) != std::string::npos);
        CHECK(result.err.find("--restart") != std::string::npos);
    }
    CHECK_FALSE(layers_in(w / "out.partial").empty());
    // Options that the weights don't depend on may change.
    const auto result = w.run(command("--method asvd-1+anchored+own-text --low-memory --text t=text.txt"));
    CAPTURE(result.err);
    CHECK(result.code == 0);
    CHECK(w.json("out/report.json").at("texts").size() == 1);
    fs::remove_all(w / "out");
    interrupt("--method asvd-1+anchored+own-text");
    CHECK(w.run(command("--method nsvd-1 --restart")).code == 0);
    REQUIRE(w.run("compress " + common + "--method nsvd-1 --compression 0.3 --output whole").code == 0);
    check_same(w, "whole", "out");
}

TEST_CASE("texts may change between two runs", "[llm][resume]") {
    const large_workplace w;
    llm_test::random_model other;
    other.seed = 9;
    std::string text;
    for (const auto id : other.tokens(400))
        text += static_cast<char>(id);
    llm_test::write(w / "other.txt", text);
    const auto command = [](const std::string& texts) {
        return "compress " + common + "--method asvd-1+anchored --compression 0.3 --output out " + texts;
    };
    for (double delay = 0.05; delay < 3 && layers_in(w / "out.partial").empty(); delay += 0.02)
        (void)w.run(command("--text a=text.txt"), fmt::format("timeout -s KILL {:.3f}", delay));
    REQUIRE_FALSE(w.exists("out"));
    const auto result = w.run(command("--text a=other.txt --text b=text.txt"));
    CAPTURE(result.err);
    REQUIRE(result.code == 0);
    const auto texts = w.json("out/report.json").at("texts");
    REQUIRE(w.run("evaluate --model large --context 20 --text other.txt --json e.json").code == 0);
    CHECK(texts.at(0).at("dense").at("perplexity") == w.json("e.json").at("perplexity"));
    REQUIRE(w.run("evaluate --model out --context 20 --text text.txt --json e.json").code == 0);
    CHECK(texts.at(1).at("compressed").at("perplexity") == w.json("e.json").at("perplexity"));
}

TEST_CASE("one process at a time works in a folder", "[llm][resume]") {
    const large_workplace w;
    const auto command = "compress " + common + "--method best --compression 0.3 --output out";
    // The first one in the background is stopped in the middle of its work; SIGCONT lets it end.
    const auto second = w.run(command, fmt::format("('{}' {} >first 2>&1 & echo $! >pid); "
                                                   "until [ -e out.partial/lock ]; do sleep 0.01; done; "
                                                   "kill -STOP $(cat pid);",
                                                   NSVD_LLM_BINARY, command));
    CHECK(second.code == 1);
    CHECK(second.err.find("another process is at work in this folder") != std::string::npos);
    CHECK(second.err.find("out.partial") != std::string::npos);
    const auto third = w.run("--version",
                             "kill -CONT $(cat pid); until [ -e out ]; do sleep 0.05; done; "
                             "while [ -e out.partial ]; do sleep 0.05; done;");
    CHECK(third.code == 0);
    CHECK(w.exists("out/config.json"));
}

TEST_CASE("a run that was complete but for its cleaning up ends well", "[llm][resume]") {
    const large_workplace w;
    const auto command = "compress " + common + "--method asvd-1 --compression 0.3 --output out";
    REQUIRE(w.run(command + " --json first.json").code == 0);
    const auto report = w.json("out/report.json");
    CHECK(w.run(command + " --seed 1").code == 1);  // another job: the folder is not empty
    const auto model = read(w / "out/model.safetensors");
    const auto left = [&](const std::vector<std::pair<std::string, nlohmann::json>>& entries) {
        fs::create_directory(w / "out.partial");
        llm_test::write(w / "out.partial/lock", "");
        for (const auto& [name, entry] : entries)
            llm_test::write(w / "out.partial" / name, entry.dump());
    };
    const auto ends_well = [&] {
        const auto result = w.run(command + " --json last.json");
        CAPTURE(result.err);
        CHECK(result.code == 0);
        CHECK(result.err.empty());
        CHECK_FALSE(w.exists("out.partial"));
        CHECK(read(w / "out/model.safetensors") == model);
        CHECK(w.json("last.json") == report);
        CHECK(w.json("out/report.json") == report);
    };
    left({{"job.json", report.at("job")}, {"report.json", report}});
    ends_well();
    ends_well();
    CHECK(w.run(command + " --restart").err.find("not empty") != std::string::npos);
    CHECK(read(w / "out/model.safetensors") == model);
}

TEST_CASE("a result that is there is not measured on other texts", "[llm][resume]") {
    const workplace w;
    const std::string command =
        "compress --model model --calibration text.txt --context 20 --method svd "
        "--compression 0.3 --output out";
    REQUIRE(w.run(command + " --text a=text.txt").code == 0);
    CHECK(w.run(command).code == 0);
    CHECK(w.run(command + " --text a=text.txt").code == 0);
    const auto other = w.run(command + " --text a=text.txt --text b=text.u16");
    CHECK(other.code == 1);
    CHECK(other.err.find("out: is there already, without the text 'b'") != std::string::npos);
}

TEST_CASE("the name of a folder may end in a slash", "[llm][resume]") {
    const workplace w;
    const std::string command =
        "compress --model model/ --calibration text.txt --context 20 --method svd --compression 0.3 "
        "--output ";
    CHECK(w.run(command + "out/").code == 0);
    CHECK(w.exists("out/model.safetensors"));
    CHECK(w.run(command + "deeper/down/").code == 0);
    CHECK(w.exists("deeper/down/model.safetensors"));
    CHECK(left_in(w / "").empty());
}

TEST_CASE("a result is repeated from its report", "[llm][resume]") {
    const large_workplace w;
    fs::copy_file(w / "text.txt", w / "it's a text.txt");
    REQUIRE(
        w.run("calibrate --model large --calibration text.txt --context 20 --output s.safetensors").code ==
        0);
    for (const std::string options :
         {"--calibration 'it'\\''s a text.txt' --method best --epsilon 0.1 --seed 7 --windows 9",
          "--calibration text.txt --method nsvd-1 --storage pivoted --allocation greedy --share 0.8 --dtype "
          "f16 "
          "--keep-dense layers.0.mlp --tune text.u16",
          "--statistics s.safetensors --method asvd-2"}) {
        CAPTURE(options);
        fs::remove_all(w / "out");
        const auto result =
            w.run("compress --model large --context 20 --compression 0.3 --output out " + options);
        CAPTURE(result.err);
        REQUIRE(result.code == 0);
        fs::rename(w / "out", w / "first");
        const auto report = w.json("first/report.json");
        CHECK(report.at("nsvd") == report.at("job").at("nsvd"));
        CHECK(report.at("job").at("method") == report.at("method"));
        CHECK(w.run("--version", report.at("command").get<std::string>() + " >again 2>&1;").code == 0);
        check_same(w, "first", "out");
        CHECK(w.json("out/report.json").at("job") == report.at("job"));
        fs::remove_all(w / "first");
    }
}
