# One build of the kernels per instruction set: the only place with -m flags.

# Rules of the kernels: a*b+c is fused only where the code says so, so that results do not depend on how the compiler
# arranges a loop; NaN, Inf and signed zeros keep their meaning.
set(SEQCORE_KERNEL_FLAGS -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math -fno-exceptions -fno-rtti)
# False alarms: vector types as template arguments lose their alignment attribute, which does not matter there; GCC's own
# intrinsics start from undefined registers; and GCC follows the null bias of products that have none.
set(SEQCORE_KERNEL_QUIET -Wno-ignored-attributes -Wno-uninitialized -Wno-maybe-uninitialized -Wno-array-bounds)

# seqcore_add_isa(<name> [flags...]): compiles kernels.cpp as object library kernels_<name> and appends <name> to
# SEQCORE_ISAS. Eigen's namespace is renamed, so that no inline function of it is shared between two builds.
function(seqcore_add_isa name)
  add_library(kernels_${name} OBJECT src/cpp/kernels/kernels.cpp)
  target_compile_options(kernels_${name} PRIVATE ${SEQCORE_KERNEL_FLAGS} ${SEQCORE_WARNINGS} ${SEQCORE_KERNEL_QUIET} ${ARGN}
                         ${SEQCORE_SANITIZE_KERNEL_FLAGS})
  target_compile_definitions(kernels_${name} PRIVATE SEQCORE_ISA=${name} Eigen=Eigen_${name})
  target_link_libraries(kernels_${name} PRIVATE Eigen3::Eigen)
  set_target_properties(kernels_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden
                        INTERPROCEDURAL_OPTIMIZATION OFF)
  set(SEQCORE_ISAS ${SEQCORE_ISAS} ${name} PARENT_SCOPE)
endfunction()
