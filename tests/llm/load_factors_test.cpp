// SPDX-License-Identifier: MIT
// The loader for PyTorch, where there is one: layers give what they give here.
#include "model.hpp"
#include "shards.hpp"
#include "support/catch.hpp"
#include "workplace.hpp"

#include <nsvd/ext/safetensors.hpp>

#include <cstdlib>
#include <string>

namespace st = nsvd::safetensors;

TEST_CASE("layers in PyTorch give what they give here", "[llm][python]") {
    std::string python;
    for (const std::string candidate : {"python3", "/usr/bin/python3"})
        if (python.empty() && std::system((candidate + " -c 'import torch' >/dev/null 2>&1").c_str()) == 0)
            python = candidate;
    if (python.empty()) {
        WARN("not tried: no python3 with torch (Debian: python3-torch)");
        return;
    }
    const llm_test::workplace w;
    llm_test::write(w / "check.py", R"(
import sys
sys.path.insert(0, sys.argv[1])
from load_factors import load_factors, load_file
layers, rest = load_factors("out")
given = load_file("given.safetensors")
names = [name[:-2] for name in given if name.endswith(".x")]
assert set(names) == set(layers), (names, list(layers))
assert "model.norm.weight" in rest and not any("left" in name for name in rest)
error = max(float((layers[n](given[n + ".x"]) - given[n + ".y"]).norm() / given[n + ".y"].norm()) for n in names)
one = max(float((layers[n](given[n + ".x"][0]) - given[n + ".y"][0]).norm()) for n in names)
print(error, one)
)");
    bool rows = false;
    bool columns = false;
    for (const std::string method :
         {"nsvd-1", "asvd-1+pivoted", "asvd-1+pivoted+joint+bias", "nid-1+bias --keep-dense v_proj"})
        for (const std::size_t files : {1U, 3U}) {
            std::filesystem::remove_all(w / "out");
            const auto result = w.run(
                "compress --model model --calibration text.txt --context 20 --compression "
                "0.3 --output out --method " +
                method);
            CAPTURE(method, files, result.err);
            REQUIRE(result.code == 0);
            if (files > 1) llm_test::split(w / "out", files);
            const llm::model m(w / "out");
            std::vector<st::tensor> given;
            for (std::size_t i = 0; i < m.layers(); ++i) {
                if (m.is_within_fused(i) || m.layer(i).form() == llm::layer_form::dense) continue;
                if (const auto* pivoted = m.layer(i).pivoted())
                    (pivoted->kept == nsvd::lines::rows ? rows : columns) = true;
                const Eigen::MatrixXf x = Eigen::MatrixXf::Random(m.layer(i).cols(), 5);
                const auto name = m.is_fused(i) ? m.fused_name(i) : m.layer_name(i);
                given.push_back(st::from_matrix(name + ".x", st::dtype::F32, x.transpose()));
                given.push_back(
                    st::from_matrix(name + ".y", st::dtype::F32, m.layer(i).apply(x).transpose()));
            }
            st::write(w / "given.safetensors", given);
            const auto out = w.run("--version", python + " check.py '" NSVD_PYTHON_FOLDER "' >errors 2>&1;");
            CHECK(out.code == 0);
            const auto text = llm_test::read(w / "errors");
            CAPTURE(text);
            double error = 1;
            double one = 1;
            REQUIRE(std::sscanf(text.c_str(), "%lf %lf", &error, &one) == 2);
            CHECK(error < 1e-5);
            CHECK(one < 1e-4);
        }
    CHECK(rows);
    CHECK(columns);
}
