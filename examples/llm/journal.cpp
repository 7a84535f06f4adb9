// SPDX-License-Identifier: MIT
#include "journal.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <iterator>
#include <sys/file.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace llm {

namespace fs = std::filesystem;

namespace {

constexpr const char* job_name = "job.json";

/// The first key that two jobs differ in, with both values.
std::string difference(const nlohmann::ordered_json& left, const nlohmann::ordered_json& here) {
    for (const auto& [key, value] : here.items())
        if (!left.contains(key) || left.at(key) != value)
            return fmt::format("its {} is {}, here {}", key,
                               left.contains(key) ? left.at(key).dump() : "not given", value.dump());
    return "it has other options";
}

/// Whether anything is there but text on its way, which another job can't use.
bool has_results(const fs::path& folder) {
    return std::any_of(fs::directory_iterator(folder), {}, [](const auto& entry) {
        const auto name = entry.path().filename();
        return name != "lock" && !name.string().starts_with("job.json") &&
               name.string().find(".stream") == std::string::npos;
    });
}

}  // namespace

journal::journal(const fs::path& target, const nlohmann::ordered_json& job, bool restart) {
    folder_ = target;
    folder_ += ".partial";
    const auto fail = [&](const std::string& what) {
        throw nsvd::error(fmt::format("{}: {}", folder_.string(), what));
    };
    std::error_code failure;
    fs::create_directories(folder_, failure);
    if (failure) fail("cannot be written: " + failure.message());
    lock_ = ::open((folder_ / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock_ < 0) fail("cannot be written: " + std::generic_category().message(errno));
    if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) fail("another process is at work in this folder");
    if (has(job_name)) {
        const auto left = find(job_name);
        if (*left == job) return;
        if (!restart && has_results(folder_))
            fail(
                fmt::format("left by another run ({}): finish that one with its own command, or start over "
                            "with --restart",
                            difference(*left, job)));
    }
    for (const auto& entry : fs::directory_iterator(folder_))
        if (entry.path().filename() != "lock") fs::remove_all(entry.path());
    keep(job_name, job);
}

journal::~journal() {
    if (lock_ < 0) return;
    // Nothing worth going on with: a run that ended for a wrong option, say.
    std::error_code ignored;
    const auto entries = std::distance(fs::directory_iterator(folder_, ignored), {});
    if (entries <= 2) fs::remove_all(folder_, ignored);
    ::close(lock_);
}

bool journal::has(const std::string& name) const {
    return keeps() && fs::exists(path(name));
}

std::optional<nlohmann::ordered_json> journal::find(const std::string& name) const {
    if (!has(name)) return {};
    return read_json(path(name));
}

void journal::keep(const std::string& name, const nlohmann::ordered_json& entry) const {
    if (keeps()) write_file(path(name), entry.dump());
}

void journal::finish() {
    if (!keeps()) return;
    fs::remove_all(folder_);
    ::close(std::exchange(lock_, -1));
    folder_.clear();
}

}  // namespace llm
