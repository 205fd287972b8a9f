//! AMX: one instruction multiplies 16 rows of 32 bf16 numbers with 16 columns of 32.

use std::{
    arch::{asm, x86_64::__cpuid_count},
    marker::PhantomData,
};

use half::bf16;

use super::{avx512, panel::Left};

/// True if the processor has tiles of bf16 and the system lets this process use them.
pub fn is_there() -> bool {
    const TILES_OF_BF16: u32 = 1 << 22 | 1 << 24;
    avx512::is_there() && __cpuid_count(7, 0).edx & TILES_OF_BF16 == TILES_OF_BF16 && permitted()
}

/// Asks Linux for the tiles, once for the whole process: they make the saved state of a thread that uses them 8 KiB larger.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    // SAFETY: this call takes two numbers and changes nothing but what the process may use.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// Panels of fewer blocks are multiplied before what is fetched for them arrives.
const SHALLOW: usize = 4;

/// The tiles of this thread, in use until this is dropped: eight tiles of 16 rows of 64 bytes.
pub struct Tiles(PhantomData<*const ()>);

#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_a_row: [u16; 16],
    rows: [u8; 16],
}

static EIGHT_TILES: Config = {
    let mut config =
        Config { palette: 1, start_row: 0, reserved: [0; 14], bytes_a_row: [0; 16], rows: [0; 16] };
    let mut i = 0;
    while i < 8 {
        config.bytes_a_row[i] = 64;
        config.rows[i] = 16;
        i += 1;
    }
    config
};

impl Tiles {
    /// # Safety
    /// [`is_there`] must have said yes.
    pub unsafe fn configure() -> Self {
        // SAFETY: the caller knows that tiles can be used; the configuration is one of palette 1.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &EIGHT_TILES, options(nostack, preserves_flags)) };
        Self(PhantomData)
    }

    /// Writes the product of panels of `blocks` blocks to `to`, whose rows stand `to_row` numbers apart: two tiles of 16 rows, and
    /// two of 16 columns.
    ///
    /// # Safety
    /// The panels must hold as many blocks, of which there is at least one, and `to` have room for the tiles.
    pub unsafe fn multiply(&self, blocks: usize, left: Left, right: &[bf16], to: *mut f32, to_row: usize) {
        // SAFETY: as the caller says, and the tiles are configured on this thread.
        unsafe {
            match blocks {
                ..SHALLOW => from_zero_of_few(blocks, left, right, to, to_row),
                _ => from_zero(blocks, left, right, to, to_row),
            }
        }
    }

    /// Adds the product of panels of `blocks` blocks to `to`: one or two tiles of 16 rows, and one or two of 16 columns.
    ///
    /// # Safety
    /// As [`multiply`](Self::multiply).
    pub unsafe fn accumulate(
        &self,
        blocks: usize,
        (rows, columns): (usize, usize),
        left: Left,
        right: &[bf16],
        to: *mut f32,
        to_row: usize,
    ) {
        // SAFETY: as the caller says, and the tiles are configured on this thread.
        unsafe {
            match (rows, columns) {
                (2, 2) => two_by_two(blocks, left, right, to, to_row),
                (1, 2) => one_by_two(blocks, left, right, to, to_row),
                (2, 1) => two_by_one(blocks, left, right, to, to_row),
                _ => one_by_one(blocks, left, right, to, to_row),
            }
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: tiles are in use on this thread, to which `self` is bound.
        unsafe { asm!("tilerelease", options(nostack, preserves_flags)) };
    }
}

macro_rules! kernel {
    ($name:ident: [$($zero:literal),*], [$($step:literal),*], [$($store:literal),*]) => {
        /// # Safety
        /// As [`Tiles::multiply`].
        unsafe fn $name(blocks: usize, left: Left, right: &[bf16], to: *mut f32, to_row: usize) {
            let first = left.numbers.as_ptr();
            // SAFETY: each round of the loop reads one block of both panels, and the loop goes round once for each.
            // Prefetching beyond the end of the left panel does nothing. Nothing but `to` is read besides, and nothing but it written.
            unsafe {
                asm!(
                    $($zero,)*
                    "2:",
                    $($step,)*
                    "add {a}, {block}",
                    "add {a2}, {block}",
                    "add {b}, 2048",
                    "dec {blocks}",
                    "jnz 2b",
                    $($store,)*
                    // A kernel of one tile has no use for one of these.
                    "/* {c2} */",
                    a = inout(reg) first => _,
                    a2 = inout(reg) first.wrapping_add(left.second) => _,
                    a_row = in(reg) left.row * 2,
                    block = in(reg) left.block * 2,
                    b = inout(reg) right.as_ptr() => _,
                    b_row = in(reg) 64usize,
                    blocks = inout(reg) blocks => _,
                    c = in(reg) to,
                    c2 = in(reg) to.wrapping_add(16 * to_row),
                    c_row = in(reg) to_row * 4,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

// The second cache is far away where another thread uses the core too: the left panel's block after the next is fetched.
kernel!(from_zero:
    ["tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3"],
    ["tileloadd tmm4, [{a} + {a_row}]",
     "tileloadd tmm6, [{b} + {b_row}]",
     "prefetcht0 [{a} + 2*{block}]", "prefetcht0 [{a} + 2*{block} + 64]",
     "prefetcht0 [{a} + 2*{block} + 128]", "prefetcht0 [{a} + 2*{block} + 192]",
     "prefetcht0 [{a} + 2*{block} + 256]", "prefetcht0 [{a} + 2*{block} + 320]",
     "prefetcht0 [{a} + 2*{block} + 384]", "prefetcht0 [{a} + 2*{block} + 448]",
     "tdpbf16ps tmm0, tmm4, tmm6",
     "tileloadd tmm7, [{b} + {b_row} + 1024]",
     "prefetcht0 [{a} + 2*{block} + 512]", "prefetcht0 [{a} + 2*{block} + 576]",
     "prefetcht0 [{a} + 2*{block} + 640]", "prefetcht0 [{a} + 2*{block} + 704]",
     "prefetcht0 [{a} + 2*{block} + 768]", "prefetcht0 [{a} + 2*{block} + 832]",
     "prefetcht0 [{a} + 2*{block} + 896]", "prefetcht0 [{a} + 2*{block} + 960]",
     "tdpbf16ps tmm1, tmm4, tmm7",
     "tileloadd tmm5, [{a2} + {a_row}]",
     "prefetcht0 [{a} + 2*{block} + 1024]", "prefetcht0 [{a} + 2*{block} + 1088]",
     "prefetcht0 [{a} + 2*{block} + 1152]", "prefetcht0 [{a} + 2*{block} + 1216]",
     "prefetcht0 [{a} + 2*{block} + 1280]", "prefetcht0 [{a} + 2*{block} + 1344]",
     "prefetcht0 [{a} + 2*{block} + 1408]", "prefetcht0 [{a} + 2*{block} + 1472]",
     "tdpbf16ps tmm2, tmm5, tmm6",
     "prefetcht0 [{a} + 2*{block} + 1536]", "prefetcht0 [{a} + 2*{block} + 1600]",
     "prefetcht0 [{a} + 2*{block} + 1664]", "prefetcht0 [{a} + 2*{block} + 1728]",
     "prefetcht0 [{a} + 2*{block} + 1792]", "prefetcht0 [{a} + 2*{block} + 1856]",
     "prefetcht0 [{a} + 2*{block} + 1920]", "prefetcht0 [{a} + 2*{block} + 1984]",
     "tdpbf16ps tmm3, tmm5, tmm7"],
    ["tilestored [{c} + {c_row}], tmm0",
     "tilestored [{c} + {c_row} + 64], tmm1",
     "tilestored [{c2} + {c_row}], tmm2",
     "tilestored [{c2} + {c_row} + 64], tmm3"]);

kernel!(from_zero_of_few:
    ["tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3"],
    ["tileloadd tmm4, [{a} + {a_row}]",
     "tileloadd tmm6, [{b} + {b_row}]",
     "tdpbf16ps tmm0, tmm4, tmm6",
     "tileloadd tmm7, [{b} + {b_row} + 1024]",
     "tdpbf16ps tmm1, tmm4, tmm7",
     "tileloadd tmm5, [{a2} + {a_row}]",
     "tdpbf16ps tmm2, tmm5, tmm6",
     "tdpbf16ps tmm3, tmm5, tmm7"],
    ["tilestored [{c} + {c_row}], tmm0",
     "tilestored [{c} + {c_row} + 64], tmm1",
     "tilestored [{c2} + {c_row}], tmm2",
     "tilestored [{c2} + {c_row} + 64], tmm3"]);

// Sums go on from those in memory. What these read is in the nearest cache, or lies in memory as a model has it.
kernel!(two_by_two:
    ["tileloadd tmm0, [{c} + {c_row}]",
     "tileloadd tmm1, [{c} + {c_row} + 64]",
     "tileloadd tmm2, [{c2} + {c_row}]",
     "tileloadd tmm3, [{c2} + {c_row} + 64]"],
    ["tileloadd tmm4, [{a} + {a_row}]",
     "tileloadd tmm6, [{b} + {b_row}]",
     "tdpbf16ps tmm0, tmm4, tmm6",
     "tileloadd tmm7, [{b} + {b_row} + 1024]",
     "tdpbf16ps tmm1, tmm4, tmm7",
     "tileloadd tmm5, [{a2} + {a_row}]",
     "tdpbf16ps tmm2, tmm5, tmm6",
     "tdpbf16ps tmm3, tmm5, tmm7"],
    ["tilestored [{c} + {c_row}], tmm0",
     "tilestored [{c} + {c_row} + 64], tmm1",
     "tilestored [{c2} + {c_row}], tmm2",
     "tilestored [{c2} + {c_row} + 64], tmm3"]);

kernel!(one_by_two:
    ["tileloadd tmm0, [{c} + {c_row}]",
     "tileloadd tmm1, [{c} + {c_row} + 64]"],
    ["tileloadd tmm4, [{a} + {a_row}]",
     "tileloadd tmm6, [{b} + {b_row}]",
     "tdpbf16ps tmm0, tmm4, tmm6",
     "tileloadd tmm7, [{b} + {b_row} + 1024]",
     "tdpbf16ps tmm1, tmm4, tmm7"],
    ["tilestored [{c} + {c_row}], tmm0",
     "tilestored [{c} + {c_row} + 64], tmm1"]);

kernel!(two_by_one:
    ["tileloadd tmm0, [{c} + {c_row}]",
     "tileloadd tmm2, [{c2} + {c_row}]"],
    ["tileloadd tmm4, [{a} + {a_row}]",
     "tileloadd tmm6, [{b} + {b_row}]",
     "tdpbf16ps tmm0, tmm4, tmm6",
     "tileloadd tmm5, [{a2} + {a_row}]",
     "tdpbf16ps tmm2, tmm5, tmm6"],
    ["tilestored [{c} + {c_row}], tmm0",
     "tilestored [{c2} + {c_row}], tmm2"]);

kernel!(one_by_one:
    ["tileloadd tmm0, [{c} + {c_row}]"],
    ["tileloadd tmm4, [{a} + {a_row}]",
     "tileloadd tmm6, [{b} + {b_row}]",
     "tdpbf16ps tmm0, tmm4, tmm6"],
    ["tilestored [{c} + {c_row}], tmm0"]);
