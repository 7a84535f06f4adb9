// SPDX-License-Identifier: MIT
// nsvd-llm: compresses the linear layers of a language model and shows what that costs in perplexity.

#include "commands/commands.hpp"
#include "cut_file.hpp"
#include "interrupt.hpp"

#include <nsvd/error.hpp>
#include <nsvd/version.hpp>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>

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

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Compresses the linear layers of a language model and shows what that costs in perplexity.");
    std::string command_line;
    for (int i = 0; i < argc; ++i)
        command_line += (i == 0 ? "" : " ") + quoted(argv[i]);
    llm::note_interrupts();
    llm::report_cut_files();
    std::signal(SIGXFSZ, SIG_IGN);  // a limit on the size of files is then an error like a full disk
    try {
        app.set_version_flag("--version", "nsvd-llm " NSVD_VERSION);
        app.require_subcommand(1);
        app.footer(
            "Exit codes: 0 done; 1 it could not be done, with a line that says why; 2 wrong command "
            "line; 130 interrupted.");
        llm::commands::add_calibrate(app, command_line);
        llm::commands::add_compare(app, command_line);
        llm::commands::add_compress(app, command_line);
        llm::commands::add_evaluate(app);
        llm::commands::add_generate(app);
        llm::commands::add_benchmark(app);
        llm::commands::add_inspect(app);
        llm::commands::add_report(app);
        app.parse(argc, argv);
        if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
            throw nsvd::error("standard output: cannot be written");
        return 0;
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : 2;
    } catch (const llm::interrupted&) {
        fmt::print(stderr,
                   "nsvd-llm: interrupted; calibrate and compress go on when they are started again\n");
        return 130;
    } catch (const std::exception& e) {
        // Names in damaged files may have anything in them, and the error is one line all the same.
        std::string what = e.what();
        std::replace_if(
            what.begin(), what.end(), [](unsigned char c) { return c < ' '; }, ' ');
        fmt::print(stderr, "nsvd-llm: {}\n", what);
        return 1;
    }
}
