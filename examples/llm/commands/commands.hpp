// SPDX-License-Identifier: MIT
/// The subcommands of nsvd-llm, a file each: options, their checks, the work and what is printed.
#pragma once

#include "../processes.hpp"

#include <CLI/CLI.hpp>

#include <string>

namespace llm::commands {

// Each declares a subcommand, whose callback does the work and throws nsvd::error where it can't.
void add_calibrate(CLI::App& app, const std::string& command_line, const processes& world);
void add_compare(CLI::App& app, const std::string& command_line);
void add_compress(CLI::App& app, const std::string& command_line, const processes& world);
void add_evaluate(CLI::App& app);
void add_generate(CLI::App& app);
void add_benchmark(CLI::App& app);
void add_inspect(CLI::App& app);
void add_plan(CLI::App& app);
void add_report(CLI::App& app);

}  // namespace llm::commands
