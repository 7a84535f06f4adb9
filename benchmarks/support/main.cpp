// SPDX-License-Identifier: MIT
/// Command line, context and progress of every program here.
#include "progress.hpp"
#include "row.hpp"

#include <nsvd/version.hpp>

#include <cstdio>
#include <exception>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace bench {

namespace {

const stopwatch since_start;

std::string cpu_model() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);)
        if (line.starts_with("model name")) return line.substr(line.find(": ") + 2);
    return "unknown";
}

/// A line a row: time of the program, name, median, spread.
class progress_reporter : public benchmark::BenchmarkReporter {
public:
    bool ReportContext(const Context&) override {
        note(cpu_model() + ", " + blas_name() + ", " + std::to_string(blas_threads()) + " threads");
        return true;
    }

    void ReportRuns(const std::vector<Run>& runs) override {
        const Run* shown = nullptr;
        double spread = -1.0;
        for (const Run& run : runs) {
            const bool aggregate = run.run_type == Run::RT_Aggregate;
            if (!aggregate || run.aggregate_name == "median") shown = &run;
            if (aggregate && run.aggregate_name == "cv") spread = run.real_accumulated_time;
        }
        if (shown == nullptr) return;
        if (shown->error_occurred) {
            note(shown->run_name.function_name + ": " + shown->error_message);
            return;
        }
        std::string line = shown->run_name.function_name;
        if (line.size() < 62) line.resize(62, ' ');
        const double seconds =
            shown->GetAdjustedRealTime() / benchmark::GetTimeUnitMultiplier(shown->time_unit);
        char text[64];
        std::snprintf(text, sizeof text, " %10.5f s", seconds);
        line += text;
        if (spread >= 0.0) {
            std::snprintf(text, sizeof text, " ± %.0f %%", spread * 100.0);
            line += text;
        }
        note(line);
    }
};

void add(const std::string& name, int repetitions, std::function<void(row&)> body, bool is_short) {
    auto* const registered =
        benchmark::RegisterBenchmark(name.c_str(), [name, body = std::move(body)](benchmark::State& state) {
            row r(name, state);
            try {
                body(r);
                r.finish();
            } catch (const std::exception& e) {
                r.fail(e.what());
            }
        });
    registered->Repetitions(repetitions)
        ->ReportAggregatesOnly(true)
        ->UseManualTime()
        ->Unit(benchmark::kSecond);
    if (is_short)
        registered->MinTime(0.1);
    else
        registered->Iterations(1);
}

}  // namespace

void note(const std::string& text) {
    std::fprintf(stderr, "[%5.0f s] %s\n", since_start.seconds(), text.c_str());
}

std::string blas_name() {
#if defined(OPENBLAS_VERSION)
    return openblas_get_config();
#else
    return "not OpenBLAS";
#endif
}

int blas_threads() {
#if defined(OPENBLAS_VERSION)
    return openblas_get_num_threads();
#else
    return 0;
#endif
}

void add_row(const std::string& name, int repetitions, std::function<void(row&)> body) {
    add(name, repetitions, std::move(body), false);
}

void add_short_row(const std::string& name, int repetitions, std::function<void(row&)> body) {
    add(name, repetitions, std::move(body), true);
}

}  // namespace bench

int main(int argc, char** argv) try {
    benchmark::Initialize(&argc, argv);
    bench::options o;
    for (int i = 1; i < argc; ++i) {
        const std::string argument = argv[i];
        if (argument == "--full") {
            o.full = true;
        } else if (argument == "--data" && i + 1 < argc) {
            o.data = argv[++i];
        } else if (argument == "--matrices" && i + 1 < argc) {
            o.matrices = argv[++i];
        } else {
            std::cerr << "usage: " << argv[0]
                      << " [--full] [--data FOLDER] [--matrices FOLDER] [--benchmark_filter=REGEX …]\n";
            return 2;
        }
    }
    benchmark::AddCustomContext("nsvd", NSVD_VERSION);
    benchmark::AddCustomContext("cpu", bench::cpu_model());
    benchmark::AddCustomContext("compiler", std::string("g++ or compatible ") + __VERSION__);
    benchmark::AddCustomContext("blas", bench::blas_name());
    benchmark::AddCustomContext("blas_threads", std::to_string(bench::blas_threads()));
    benchmark::AddCustomContext("set", o.full ? "full" : "quick");
    bench::register_benchmarks(o);
    bench::progress_reporter progress;
    benchmark::RunSpecifiedBenchmarks(&progress);
    benchmark::Shutdown();
} catch (const std::exception& e) {
    std::cerr << "error: " << e.what() << '\n';
    return 1;
}
