//! The allocator: the system's, with settings for large tensors.

/// The system's allocator, which asks for huge pages around large blocks: of 4 KiB, a training step would have the kernel clear
/// a hundred thousand pages, and the processor look for as many.
#[cfg(target_os = "linux")]
mod huge {
    use std::alloc::{GlobalAlloc, Layout, System};

    struct Huge;

    #[global_allocator]
    static ALLOCATOR: Huge = Huge;

    /// Bytes from which on a block is large.
    const LARGE: usize = 1 << 20;
    /// Bytes of a huge page. Where the kernel has others, its answer is no or another size, and either is right.
    const PAGE: usize = 2 << 20;
    /// Bytes that the system's allocator takes from the kernel at once.
    const HEAP: usize = super::AT_ONCE as usize;

    // SAFETY: every block is the system allocator's own.
    unsafe impl GlobalAlloc for Huge {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: as the caller says.
            in_huge_pages(unsafe { System.alloc(layout) }, layout.size())
        }

        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            // SAFETY: as the caller says.
            in_huge_pages(unsafe { System.alloc_zeroed(layout) }, layout.size())
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            // SAFETY: as the caller says.
            unsafe { System.dealloc(block, layout) }
        }

        unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            // SAFETY: as the caller says.
            in_huge_pages(unsafe { System.realloc(block, layout, size) }, size)
        }
    }

    /// The block, for which the kernel was asked if it is large, and for what lies behind it: the allocator writes there, beside
    /// the block, before it is asked for the next one, and where a small page is there is none that is huge. Other mappings may
    /// lie there, or none: advice on them does no harm.
    fn in_huge_pages(block: *mut u8, size: usize) -> *mut u8 {
        if size >= LARGE && !block.is_null() {
            let first = block as usize / PAGE * PAGE;
            let end = (block as usize + size + HEAP).next_multiple_of(PAGE);
            // SAFETY: advice changes no memory.
            unsafe { libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_HUGEPAGE) };
        }
        block
    }
}

/// Bytes that are taken from the kernel at once, where the system's allocator lets one say so.
#[cfg(target_os = "linux")]
const AT_ONCE: libc::c_int = 64 << 20;

/// Keeps memory that is freed for the next tensor of its size, instead of giving it back to the kernel, which would have to
/// clear it page by page each time: a quarter to a third of a training step in bf16 on SmolLM2.
///
/// The numbers are the largest that glibc takes for blocks that are not asked of the kernel one by one, and the most that stays.
pub fn keep_what_is_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const OWN_BLOCK: libc::c_int = 32 << 20;
        for (setting, bytes) in [
            (libc::M_MMAP_THRESHOLD, OWN_BLOCK),
            (libc::M_TRIM_THRESHOLD, libc::c_int::MAX),
            (libc::M_TOP_PAD, AT_ONCE),
        ] {
            // SAFETY: mallopt sets a number of the allocator, before any other thread runs. A refusal leaves it as it was.
            unsafe { libc::mallopt(setting, bytes) };
        }
    }
}
