// SPDX-License-Identifier: MIT
// Commands of the program that are disturbed, and what they are to write all the same.
#pragma once

#include "shards.hpp"
#include "workplace.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <regex>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace llm_test {

/// System calls that fail (io_faults.cpp).
struct fault {
    std::string call;
    long at = 1;
    int error = 0;
    long times = 1;
};

/// What `workplace::run` puts in front of the program, so that it meets a fault; none where there is no call.
/// A run that takes more than a minute ends with the code 124.
inline std::string environment(const workplace& w, const fault& f = {}) {
    return fmt::format(
        "rm -f faults.log; timeout -s KILL 60 env LD_PRELOAD='{}' FAULTS_UNDER='{}' FAULTS_LOG='{}' "
        "FAULTS_CALL={} FAULTS_AT={} FAULTS_TIMES={} FAULTS_ERROR={}",
        NSVD_IO_FAULTS, std::filesystem::canonical(w / ".").string(), (w / "faults.log").string(), f.call,
        f.at, f.times, f.error);
}

/// What the last run with an `environment` has met.
struct fault_log {
    std::map<std::string, long> counts;                      // of calls
    std::vector<std::pair<std::string, std::string>> trace;  // kinds and paths of those that were struck

    explicit fault_log(const workplace& w) {
        std::istringstream lines(read(w / "faults.log"));
        for (std::string line; std::getline(lines, line);) {
            std::istringstream words(line);
            std::string call, path;
            long number = 0;
            words >> call >> number;
            if (words >> std::ws && std::getline(words, path))
                trace.emplace_back(call, path);
            else
                counts[call] = number;
        }
    }
};

/// A command, and the file or folder that it writes.
struct task {
    std::string command, output;
};

/// A workplace with more to work on: tinylm, a random model in three files, statistics.
struct disturbed_workplace : workplace {
    disturbed_workplace() {
        namespace fs = std::filesystem;
        fs::copy(NSVD_DATA_FOLDER "/tinylm", *this / "tinylm");
        fs::copy_file(NSVD_DATA_FOLDER "/texts/calibration.txt", *this / "calibration.txt");
        fs::copy(*this / "model", *this / "shards");
        split(*this / "shards", 3);
        write(*this / "shards/tokenizer_config.json", "{}");  // copied as it is
    }
};

/// Every byte of a result, but for what two undisturbed runs of one command differ in: in report.json the
/// numbers after "seconds" and the date. report.html has nothing that is not in report.json: it is to be what
/// nsvd-llm report makes of it.
inline std::map<std::string, std::string> written(const workplace& w, const std::string& output) {
    namespace fs = std::filesystem;
    std::map<std::string, std::string> all;
    const auto top = w / output;
    if (fs::is_regular_file(top)) all[""] = read(top);
    if (!fs::is_directory(top)) return all;
    for (const auto& entry : fs::recursive_directory_iterator(top))
        if (entry.is_regular_file()) all[fs::relative(entry, top).string()] = read(entry);
    if (!all.contains("report.html")) return all;
    const auto page = w.run("report '" + output + "/report.json' --output page.html");
    all["report.html"] = page.code == 0 && read(w / "page.html") == all["report.html"] ? "as reported" : "";
    static const std::regex seconds(R"~("seconds": [-+.0-9e]+)~"), date(R"~("date": "[-0-9]+")~");
    all["report.json"] = std::regex_replace(std::regex_replace(all["report.json"], seconds, "\"seconds\": 0"),
                                            date, "\"date\": \"\"");
    return all;
}

/// Removes a result and what is left beside it.
inline void remove_result(const workplace& w, const std::string& output) {
    std::filesystem::remove_all(w / output);
    std::filesystem::remove_all(w / (output + ".partial"));
}

/// Names beside the results that runs have left, none of which should be there after one that succeeds.
inline std::vector<std::string> leftovers(const workplace& w) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(w / "."))
        if (entry.path().filename().string().find(".partial") != std::string::npos)
            names.push_back(entry.path().filename().string());
    return names;
}

/// Exit code 1, one line on standard error, nothing on standard output.
inline bool is_refusal(const outcome& result) {
    return result.code == 1 && result.out.empty() && result.err.starts_with("nsvd-llm: ") &&
           result.err.find('\n') == result.err.size() - 1;
}

}  // namespace llm_test
