// SPDX-License-Identifier: MIT
// The program under mpirun: the result of one process, whatever their number, and what happens when one dies.
#include "assignment.hpp"
#include "model.hpp"
#include "shards.hpp"
#include "support/catch.hpp"
#include "workplace.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

namespace fs = std::filesystem;
using llm_test::read;
using llm_test::workplace;

namespace {

/// As root, in containers, and with more processes than processors; what Open MPI does not give back is no
/// leak of ours, and the order in which it locks is its own.
std::string mpirun(int processes, const std::string& what = "") {
    return fmt::format(
        "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "
        "OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_btl_vader_single_copy_mechanism=none "
        "OMPI_MCA_mpi_yield_when_idle=1 ASAN_OPTIONS=detect_leaks=0 TSAN_OPTIONS=detect_deadlocks=0 timeout "
        "300 '" NSVD_MPIEXEC "' -np {} {}",
        processes, what);
}

struct mpi_workplace : llm_test::large_workplace {
    mpi_workplace() {
        llm_test::write(*this / "one_differs.sh",
                        "#!/bin/sh\n"
                        "# One process gets more arguments: one_differs.sh RANK ARGUMENTS COMMAND…\n"
                        "rank=$1 more=$2\nshift 2\n"
                        "[ \"$OMPI_COMM_WORLD_RANK\" = $rank ] || exec \"$@\"\n"
                        "exec \"$@\" $more\n");
        fs::permissions(*this / "one_differs.sh", fs::perms::owner_all);
        llm_test::write(*this / "one_dies.sh",
                        "#!/bin/sh\n"
                        "# The last process is killed after a while: one_dies.sh SECONDS COMMAND…\n"
                        "after=$1\nshift\n"
                        "[ \"$OMPI_COMM_WORLD_RANK\" = $((OMPI_COMM_WORLD_SIZE - 1)) ] || exec \"$@\"\n"
                        "exec timeout -s KILL $after \"$@\"\n");
        fs::permissions(*this / "one_dies.sh", fs::perms::owner_all);
    }
};

const std::string common = "--model large --calibration text.txt --context 20 --threads 1 --compression 0.3 ";

/// Layers relative to one another: sums of statistics are rounded otherwise, c·eps of double with a condition
/// of up to 10^8, and factors are rounded to single precision, c·eps with c = 64.
void check_near(const workplace& w, const std::string& a, const std::string& b) {
    const llm::model one(w / a), other(w / b);
    REQUIRE(one.layers() == other.layers());
    constexpr float rounding = 64 * 1.2e-7F;
    for (std::size_t i = 0; i < one.layers(); ++i) {
        if (one.is_within_fused(i)) continue;
        const Eigen::MatrixXf x = one.layer(i).product(), y = other.layer(i).product();
        CAPTURE(one.layer_name(i));
        CHECK((x - y).norm() <= rounding * x.norm());
    }
    const auto left = w.json(a + "/report.json"), right = w.json(b + "/report.json");
    REQUIRE(left.at("layers").size() == right.at("layers").size());
    for (std::size_t i = 0; i < left.at("layers").size(); ++i) {
        CHECK(left.at("layers")[i].at("name") == right.at("layers")[i].at("name"));
        CHECK(left.at("layers")[i].at("rank") == right.at("layers")[i].at("rank"));
    }
}

}  // namespace

TEST_CASE("work is dealt out longest first", "[llm][mpi]") {
    const std::vector<double> costs{1, 7, 3, 4, 6, 0, 3};
    const auto owners = llm::assign(costs, 2);
    CHECK(owners == std::vector<int>{1, 0, 0, 1, 1, 1, 0});
    CHECK(llm::imbalance(costs, owners, 2) == Approx(13.0 / 12.0));
    CHECK(llm::assign(costs, 1) == std::vector<int>(7, 0));
    CHECK(llm::assign({}, 3).empty());
    // At most 4/3 of the mean or of the longest.
    for (std::size_t processes = 1; processes < 9; ++processes) {
        const double longest = 7.0 * static_cast<double>(processes) / 24.0;
        CHECK(llm::imbalance(costs, llm::assign(costs, processes), processes) <=
              4.0 / 3.0 * std::max(1.0, longest));
    }
}

TEST_CASE("several processes make the model that one makes", "[llm][mpi]") {
    const mpi_workplace w;
    int number = 0;
    for (const std::string options :
         {"--method nsvd-1", "--method best", "--method nid-1+greedy+joint --low-memory --text t=text.txt",
          "--method asvd-2+anchored+bias+sensitivity --keep-dense spiking",
          "--method asvd-1+tuned --tune text.u16 --dtype bf16"}) {
        CAPTURE(options);
        const auto command = "compress " + common + options + " --output ";
        const auto one = fmt::format("one-{}", number);
        REQUIRE(w.run(command + one).code == 0);
        CHECK(w.json(one + "/report.json").at("mpi_ranks") == 1);
        for (const int processes : {2, 4}) {
            if (number > 1 && processes == 4) continue;
            CAPTURE(processes);
            const auto several = fmt::format("several-{}-{}", number, processes);
            const auto result = w.run(command + several, mpirun(processes));
            CAPTURE(result.err);
            REQUIRE(result.code == 0);
            const bool measured = options.find("--text") != std::string::npos;
            CHECK(std::count(result.out.begin(), result.out.end(), '\n') == (measured ? 2 : 1));  // said once
            check_near(w, one, several);
            CHECK(w.json(several + "/report.json").at("mpi_ranks") == processes);
            CHECK_FALSE(w.exists(several + ".partial"));
        }
        ++number;
    }
}

TEST_CASE("a model in several files is written by several processes", "[llm][mpi]") {
    const mpi_workplace w;
    llm_test::split(w / "large", 3);
    const auto command = "compress " + common + "--method nsvd-1 --output ";
    REQUIRE(w.run(command + "one").code == 0);
    const auto result = w.run(command + "several", mpirun(2));
    CAPTURE(result.err);
    REQUIRE(result.code == 0);
    check_near(w, "one", "several");
    std::vector<std::string> names, expected;
    for (const auto& entry : fs::directory_iterator(w / "several"))
        names.push_back(entry.path().filename().string());
    for (const auto& entry : fs::directory_iterator(w / "one"))
        expected.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    std::sort(expected.begin(), expected.end());
    CHECK(names == expected);
    CHECK(read(w / "several/model.safetensors.index.json") == read(w / "one/model.safetensors.index.json"));
}

TEST_CASE("statistics of several processes", "[llm][mpi]") {
    const mpi_workplace w;
    const std::string command =
        "calibrate --model large --calibration text.txt --context 20 --central --output ";
    REQUIRE(w.run(command + "one.safetensors").code == 0);
    const auto result = w.run(command + "three.safetensors", mpirun(3));
    CAPTURE(result.err);
    REQUIRE(result.code == 0);
    const nsvd::safetensors::file one(w / "one.safetensors"), three(w / "three.safetensors");
    REQUIRE(one.tensors() == three.tensors());
    for (const auto& name : one.tensors()) {
        CAPTURE(name);
        if (name.ends_with("tokens") || name.ends_with("xxh3")) continue;
        const auto x = nsvd::safetensors::to_matrix<double>(one.at(name));
        const auto y = nsvd::safetensors::to_matrix<double>(three.at(name));
        CHECK((x - y).norm() <= 1e-13 * x.norm());  // c·eps with c = tokens
    }
    CHECK(w.run("compress --model large --statistics three.safetensors --compression 0.3 --method asvd-1 "
                "--output "
                "from-file",
                mpirun(2))
              .code == 0);
}

TEST_CASE("a process that dies ends the run, and the next one goes on from what was finished", "[llm][mpi]") {
    const mpi_workplace w;
    const auto command = "compress " + common + "--method best --output ";
    REQUIRE(w.run(command + "whole", mpirun(2)).code == 0);
    int deaths = 0;
    double after = 0.4;
    for (;; ++deaths, after *= 1.3) {
        REQUIRE(deaths < 40);
        const auto result = w.run(command + "killed", mpirun(2, fmt::format("./one_dies.sh {:.2f}", after)));
        if (result.code == 0) break;
        CHECK_FALSE(result.err.empty());
        // Complete, or not there: the last thing that a process does is to take leave of the others.
        if (w.exists("killed"))
            CHECK(read(w / "whole/model.safetensors") == read(w / "killed/model.safetensors"));
    }
    CHECK(deaths >= 1);
    // In a fixed order, with the same number of processes: the same bytes.
    for (const auto* name : {"model.safetensors", "config.json"})
        CHECK(read(w / "whole" / name) == read(w / "killed" / name));
    CHECK_FALSE(w.exists("killed.partial"));
}

TEST_CASE("a run that ended early goes on with any number of processes", "[llm][mpi]") {
    const mpi_workplace w;
    const auto command = "compress " + common + "--method nsvd-1 --output ";
    REQUIRE(w.run(command + "one").code == 0);
    for (const int processes : {1, 3}) {
        CAPTURE(processes);
        const auto output = fmt::format("then-{}", processes);
        // After a time that is found by halving: early ends leave nothing, late ones a result.
        bool begun = false;
        double early = 0.0, late = 0.0;
        for (int tries = 0; !begun; ++tries) {
            REQUIRE(tries < 60);
            const double after = late > early ? (early + late) / 2 : early * 1.5 + 0.2;
            (void)w.run(command + output, mpirun(2, fmt::format("./one_dies.sh {:.3f}", after)));
            const bool finished = w.exists(output);
            begun = !finished && w.exists(output + ".partial");
            (finished ? late : early) = after;
            if (tries % 8 == 7) early *= 0.8, late *= 1.2;  // it takes another time each time
            if (finished) fs::remove_all(w / output);
        }
        const auto result = w.run(command + output, mpirun(processes));
        CAPTURE(result.err);
        REQUIRE(result.code == 0);
        CHECK(w.json(output + "/report.json").at("mpi_ranks") == processes);
        check_near(w, "one", output);
    }
}

TEST_CASE("errors are said once, and end all processes", "[llm][mpi]") {
    const mpi_workplace w;
    const auto count = [](const std::string& text, const std::string& part) {
        int found = 0;
        for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
            ++found;
        return found;
    };
    const auto missing = w.run("compress " + common + "--method nsvd-9 --output o", mpirun(2));
    CHECK(missing.code == 1);
    CAPTURE(missing.err);
    CHECK(count(missing.err, "nsvd-llm: ") == 1);
    const auto wrong = w.run("compress --compression 0.3", mpirun(2));
    CAPTURE(wrong.err);
    CHECK(wrong.code == 2);
    CHECK(count(wrong.err + wrong.out, "--model is required") == 1);
    for (const int rank : {0, 2}) {
        CAPTURE(rank);
        const auto differs = [&](const std::string& more) {
            return w.run("compress " + common + "--method svd --output o",
                         mpirun(3, fmt::format("./one_differs.sh {} '{}'", rank, more)));
        };
        const auto unknown = differs("--lowmemory");
        CAPTURE(unknown.err);
        CHECK(unknown.code == 2);
        CHECK(count(unknown.err, fmt::format("nsvd-llm: process {} was given another command line", rank)) ==
              1);
        CHECK(count(unknown.err, "--lowmemory") == 1);
        if (rank == 0) continue;
        const auto seed = differs("--seed 3");
        CAPTURE(seed.err);
        CHECK(seed.code == 1);
        CHECK(count(seed.err, "sees other files than the first, or has other options (") == 1);
        CHECK(count(seed.err, "its seed is ") == 1);
        CHECK_FALSE(w.exists("o"));
    }
    const auto single = w.run("evaluate --model model --text text.txt", mpirun(2));
    CHECK(single.code == 1);
    CHECK_THAT(single.err, Catch::ContainsSubstring("evaluate runs in one process: start it without mpirun"));
    CHECK(w.run("evaluate --model model --text text.txt --context 20", mpirun(1)).code == 0);
}
