// SPDX-License-Identifier: MIT
#include "cut_file.hpp"

#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <string_view>
#include <unistd.h>

// Nothing here may take memory or locks: the signal comes in the middle of anything.
namespace llm {
namespace {

void say(std::string_view text) {
    while (!text.empty()) {
        const auto written = ::write(STDERR_FILENO, text.data(), text.size());
        if (written <= 0) return;
        text.remove_prefix(static_cast<std::size_t>(written));
    }
}

/// The number before `end`, which is skipped.
std::uintptr_t hexadecimal(std::string_view& text, char end) {
    std::uintptr_t value = 0;
    while (!text.empty()) {
        const char c = text.front();
        text.remove_prefix(1);
        if (c == end) break;
        value = 16 * value + static_cast<std::uintptr_t>(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return value;
}

/// Lines of a file in a buffer that has room for the longest of them.
class line_reader {
public:
    explicit line_reader(const char* path) : descriptor_(::open(path, O_RDONLY | O_CLOEXEC)) {}
    line_reader(const line_reader&) = delete;
    line_reader& operator=(const line_reader&) = delete;
    ~line_reader() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }

    /// Empty at the end. Valid until the next call.
    std::string_view next() {
        for (;;) {
            const std::string_view rest(buffer_.data() + begin_, end_ - begin_);
            if (const auto newline = rest.find('\n'); newline != std::string_view::npos) {
                begin_ += newline + 1;
                return rest.substr(0, newline);
            }
            std::memmove(buffer_.data(), rest.data(), rest.size());
            begin_ = 0;
            end_ = rest.size();
            if (end_ == buffer_.size() || descriptor_ < 0) return {};
            const auto count = ::read(descriptor_, buffer_.data() + end_, buffer_.size() - end_);
            if (count <= 0) return {};
            end_ += static_cast<std::size_t>(count);
        }
    }

private:
    int descriptor_;
    std::size_t begin_ = 0, end_ = 0;
    std::array<char, 8192> buffer_;
};

/// Says the name of the file that is mapped at an address, as far as the system tells (Linux).
void say_file_at(std::uintptr_t address) {
    line_reader maps("/proc/self/maps");
    for (auto line = maps.next(); !line.empty(); line = maps.next()) {
        const auto begin = hexadecimal(line, '-'), end = hexadecimal(line, ' ');
        const auto name = line.find('/');
        if (address < begin || address >= end || name == std::string_view::npos) continue;
        return say(line.substr(name));
    }
    say("a file that is mapped");
}

void on_bus_error(int signal, siginfo_t* info, void* /*context*/) {
    static std::atomic<bool> said = false;
    static_assert(std::atomic<bool>::is_always_lock_free);
    if (info->si_code != BUS_ADRERR) {  // hardware, or a bug
        std::signal(signal, SIG_DFL);
        ::raise(signal);
        return;
    }
    if (said.exchange(true))
        for (;;)
            ::pause();  // another thread is about to end all of them
    say("nsvd-llm: ");
    say_file_at(reinterpret_cast<std::uintptr_t>(info->si_addr));
    say(": was cut off by another program while it was read\n");
    ::_exit(1);
}

}  // namespace

void report_cut_files() {
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO;
    ::sigaction(SIGBUS, &action, nullptr);
}

}  // namespace llm
