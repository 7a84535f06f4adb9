// SPDX-License-Identifier: MIT
// nsvd-llm: compresses the linear layers of a language model and shows what that costs in perplexity.

#include "commands/commands.hpp"
#include "cut_file.hpp"
#include "interrupt.hpp"
#include "launcher.hpp"
#include "processes.hpp"
#include "progress.hpp"
#include "terminal.hpp"

#include <nsvd/error.hpp>
#include <nsvd/version.hpp>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <thread>

namespace {

/// An argument as a shell reads it.
std::string quoted(const std::string& argument) {
    constexpr const char* plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%+,-./:=@_";
    if (!argument.empty() && argument.find_first_not_of(plain) == std::string::npos) return argument;
    std::string text = "'";
    for (const char c : argument)
        text += c == '\'' ? "'\\''" : std::string(1, c);
    return text + "'";
}

/// What goes wrong for one process often does for all: the first says so, and has the others ended meanwhile.
void wait_for_first(const llm::processes& world, int code) {
    if (world.is_first()) return;
    // One after the other, so that where the first is well one of the others says it, and no more.
    const auto tenths = 30 + 3 * static_cast<int>(std::min<std::size_t>(world.own() - 1, 20));
    for (int i = 0; i < tenths; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        if (llm::is_interrupted()) std::_Exit(code);
    }
}

/// Others may be waiting for this process.
int end(const llm::processes& world, int code) {
    if (!world.alone()) world.abort(code);
    return code;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Compresses the linear layers of a language model and shows what that costs in perplexity.");
    std::string command_line;
    for (int i = 0; i < argc; ++i)
        command_line += (i == 0 ? "" : " ") + quoted(argv[i]);
    llm::note_interrupts();
    llm::report_cut_files();
    std::signal(SIGXFSZ, SIG_IGN);  // a limit on the size of files is then an error like a full disk
    llm::processes world;
    try {
        world.join();
        llm::progress::on_terminal() = world.is_first() && llm::launcher_has_terminal();
        app.set_version_flag("--version", "nsvd-llm " NSVD_VERSION);
        app.require_subcommand(1);
        app.footer(
            "Exit codes: 0 done; 1 it could not be done, with a line that says why; 2 wrong command "
            "line; 130 interrupted.");
        llm::commands::add_calibrate(app, command_line, world);
        llm::commands::add_compare(app, command_line);
        llm::commands::add_compress(app, command_line, world);
        llm::commands::add_evaluate(app);
        llm::commands::add_generate(app);
        llm::commands::add_benchmark(app);
        llm::commands::add_inspect(app);
        llm::commands::add_plan(app);
        llm::commands::add_report(app);
        for (auto* command : app.get_subcommands({}))
            if (!world.alone() && command->get_name() != "calibrate" && command->get_name() != "compress")
                command->parse_complete_callback([command] {
                    throw nsvd::error(command->get_name() + " runs in one process: start it without mpirun");
                });
        app.parse(argc, argv);
        if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
            throw nsvd::error("standard output: cannot be written");
        return 0;
    } catch (const CLI::ParseError& e) {
        if (world.differ(false)) {
            wait_for_first(world, 2);
            fmt::print(stderr, "nsvd-llm: process {} was given another command line than others: {}\n",
                       world.own(), llm::without_controls(e.what()));
            return end(world, 2);
        }
        if (!world.is_first()) return e.get_exit_code() == 0 ? 0 : 2;
        return app.exit(e) == 0 ? 0 : 2;
    } catch (const llm::interrupted&) {
        wait_for_first(world, 130);
        fmt::print(stderr,
                   "nsvd-llm: interrupted; calibrate and compress go on when they are started again\n");
        return end(world, 130);
    } catch (const std::exception& e) {
        wait_for_first(world, 1);
        fmt::print(stderr, "nsvd-llm: {}\n", llm::without_controls(e.what()));
        return end(world, 1);
    }
}
