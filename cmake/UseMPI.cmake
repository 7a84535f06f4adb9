# MPI, for nsvd-llm and the tests of ext/mpi.hpp: nobody who links nsvd::nsvd gets it.
set(MPI_CXX_SKIP_MPICXX ON)
if(NSVD_MPI STREQUAL "AUTO")
    find_package(MPI QUIET COMPONENTS CXX)
else()
    find_package(MPI REQUIRED COMPONENTS CXX)
endif()
if(TARGET MPI::MPI_CXX)
    message(STATUS "nsvd: MPI ${MPI_CXX_VERSION} (${MPIEXEC_EXECUTABLE})")
    # In tests: as root, in containers, and with more processes than processors; what Open MPI itself does not give
    # back is no leak of ours.
    set(NSVD_MPI_ENVIRONMENT OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
                             OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
                             OMPI_MCA_btl_base_warn_component_unused=0 OMPI_MCA_mpi_yield_when_idle=1
                             ASAN_OPTIONS=detect_leaks=0)
else()
    message(STATUS "nsvd: MPI was not found: nsvd-llm runs as one process, ext/mpi.hpp is not tested")
endif()
