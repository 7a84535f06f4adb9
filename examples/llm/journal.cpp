// SPDX-License-Identifier: MIT
#include "journal.hpp"

#include "digest.hpp"
#include "files.hpp"

#include <nsvd/error.hpp>
#include <nsvd/ext/atomic_file.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace llm {

namespace fs = std::filesystem;
using json = nlohmann::ordered_json;

namespace {

constexpr const char *job_name = "job.json", *lock_name = "lock";
constexpr const char *finished_key = "finished", *checksum_key = "xxh3";
// A process that was killed has its locks until the last of its threads is gone.
constexpr std::chrono::seconds patience{3};

/// The first value that two jobs differ in: "its seed is 0, here 1".
std::string difference(const json& left, const json& here) {
    const auto there = left.flatten(), wanted = here.flatten();  // "/model/0/bytes": …
    const auto text = [](const json& all, const std::string& key) {
        return all.contains(key) ? all.at(key).dump() : std::string("not given");
    };
    for (const auto* all : {&wanted, &there})
        for (const auto& [key, value] : all->items())
            if (text(there, key) != text(wanted, key))
                return fmt::format("its {} is {}, here {}", key.substr(1), text(there, key),
                                   text(wanted, key));
    return "its job.json is another";
}

/// As a file has it: names of files may be no UTF-8.
std::string text_of(const json& entry) {
    return entry.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::vector<fs::path> entries_of(const fs::path& folder) {
    std::vector<fs::path> entries;
    for (const auto& entry : fs::directory_iterator(folder))
        if (entry.path().filename() != lock_name) entries.push_back(entry.path());
    return entries;
}

/// What a run that was killed was just writing (nsvd::atomic_file, stream.cpp).
bool is_temporary(const fs::path& entry) {
    return entry.extension() == ".partial" || entry.extension() == ".new";
}

/// Whether anything is there but text on its way, which another job can't use.
bool has_results(const fs::path& folder) {
    const auto entries = entries_of(folder);
    return std::any_of(entries.begin(), entries.end(), [](const fs::path& entry) {
        return entry.filename() != job_name && entry.extension() != ".stream" && !is_temporary(entry);
    });
}

}  // namespace

fs::path partial_folder(const fs::path& target) {
    return resolved(target) += ".partial";
}

void journal::lock() {
    const auto fail = [&](const std::string& what) {
        throw nsvd::error(fmt::format("{}: {}", folder_.string(), what));
    };
    const auto start = std::chrono::steady_clock::now();
    for (;;) {
        std::error_code failure;
        fs::create_directories(folder_, failure);
        if (failure) fail("cannot be written: " + failure.message());
        const int lock = nsvd::detail::uninterrupted(
            [&] { return ::open((folder_ / lock_name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666); });
        if (lock < 0 && errno != ENOENT) fail("cannot be written: " + std::generic_category().message(errno));
        if (lock >= 0) {
            const bool free = ::flock(lock, LOCK_EX | LOCK_NB) == 0;
            const int reason = errno;
            // Not where the process that had it locked has removed it meanwhile.
            if (free && has_lock(lock)) {
                lock_ = lock;
                return;
            }
            ::close(lock);
            if (!free && reason != EWOULDBLOCK && reason != EINTR)
                fail("cannot be locked: " + std::generic_category().message(reason));
        }
        if (std::chrono::steady_clock::now() - start > patience)
            fail("another process is at work in this folder: wait for it, or give another --output");
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
}

bool journal::has_lock(int descriptor) const {
    struct stat own {
    }, there{};
    if (::fstat(descriptor, &own) != 0 || ::stat((folder_ / lock_name).c_str(), &there) != 0) return false;
    return own.st_dev == there.st_dev && own.st_ino == there.st_ino;
}

void journal::check_own() const {
    const int earlier = std::exchange(errno, ENOENT);  // where what lies there is another's
    const bool own = lock_ < 0 || has_lock(lock_);
    const int reason = std::exchange(errno, earlier);  // the caller's may be about to be reported
    if (own) return;
    throw nsvd::error(folder_.string() +
                      (reason == ENOENT ? ": was removed while this run was at work in it"
                                        : ": cannot be read: " + std::generic_category().message(reason)));
}

void journal::clear() const {
    for (const auto& entry : entries_of(folder_))
        if (entry.filename() != job_name) fs::remove_all(entry);
    fs::remove(folder_ / job_name);
}

void journal::remove_folder() {
    std::error_code ignored;
    fs::remove(folder_ / lock_name, ignored);
    fs::remove(folder_, ignored);  // another process may have come in
    ::close(std::exchange(lock_, -1));
    folder_.clear();
}

bool same_job(const json& a, const json& b) {
    // In any order of the keys.
    return nlohmann::json(a) == nlohmann::json(b);
}

journal::journal(const fs::path& target, const json& job, bool restart)
    : folder_(partial_folder(target)), job_(json::parse(text_of(job))) {
    sum_.add(digest_of(job_));
    open(restart);
}

journal::journal(const fs::path& target, const json& job, bool restart, const processes& world)
    : folder_(partial_folder(target)), job_(json::parse(text_of(job))) {
    sum_.add(digest_of(job_));
    if (world.is_first()) open(restart);
    world.wait();
    if (!fs::exists(path(job_name)))
        throw nsvd::error(
            fmt::format("{}: is not there for process {}, but for the first: all processes have to see the "
                        "same folder",
                        folder_.string(), world.own()));
    if (const auto first = read_json(path(job_name)); !same_job(first, job_))
        throw nsvd::error(fmt::format(
            "process {} sees other files than the first, or has other options ({}): all have to see the same",
            world.own(), difference(first, job_)));
}

void journal::open(bool restart) {
    lock();
    try {
        if (const auto left = restart ? std::nullopt : find(job_name)) {
            if (same_job(*left, job_)) {
                for (const auto& entry : entries_of(folder_))
                    if (is_temporary(entry)) fs::remove(entry);
                return;
            }
            if (!left->contains(finished_key) && has_results(folder_))
                throw nsvd::error(
                    fmt::format("{}: left by another run ({}): finish that one with its own command, or "
                                "start over with --restart",
                                folder_.string(), difference(*left, job_)));
        }
        clear();
        keep(job_name, job_);
    } catch (...) {
        ::close(std::exchange(lock_, -1));
        throw;
    }
}

journal::~journal() {
    if (lock_ < 0) return;
    try {
        // Nothing worth going on with: a run that ended for a wrong option, say.
        if (has_lock(lock_) && entries_of(folder_).size() <= 1) {
            clear();
            remove_folder();
        }
    } catch (const fs::filesystem_error&) {
        // What is left takes nothing but space.
    }
    if (lock_ >= 0) ::close(lock_);
}

fs::path journal::path(const std::string& name) const {
    check_own();
    return folder_ / name;
}

bool journal::has(const std::string& name) const {
    return keeps() && fs::exists(path(name));
}

std::string journal::sum_of(const json& entry) const {
    auto own = sum();
    own.add(digest_of(entry));
    return own.text();
}

std::optional<json> journal::find(const std::string& name) const {
    if (!has(name)) return {};
    auto entry = read_json(path(name));
    if (name == job_name) return entry;
    const auto sum = entry.find(checksum_key);
    const auto said = sum == entry.end() ? json() : *sum;
    entry.erase(checksum_key);
    if (said != sum_of(entry))
        throw nsvd::error(
            fmt::format("{}: is damaged: remove it, and start the same command again", path(name).string()));
    return entry;
}

void journal::keep(const std::string& name, const json& entry) const {
    if (!keeps()) return;
    auto kept = entry;
    if (name != job_name) kept[checksum_key] = sum_of(entry);
    write_file(path(name), text_of(kept));
}

void journal::finish() {
    if (lock_ < 0) return;
    // Stopped from here on, what is still there is of no use to any run.
    keep(job_name, {{finished_key, job_}});
    clear();
    remove_folder();
}

}  // namespace llm
