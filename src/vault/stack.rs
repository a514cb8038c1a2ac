//! Wipes what ciphers leave on a thread's stack.

use zeroize::zeroize_stack;

/// How far below a caller a cipher's calls reach: AES works on up to a kibibyte of blocks at once and moves
/// them from call to call, most of all where nothing is inlined. `stack_tests.rs` looks.
const REACH: usize = if cfg!(debug_assertions) { 64 * 1024 } else { 8 * 1024 };

/// Runs what holds a secret, then wipes the stack below: parts of a refresh token were found there long after
/// it was sealed, on a thread that had not been that deep again.
pub(super) fn wiped_below<T>(work: impl FnOnce() -> T) -> T {
    let out = run(work);
    zeroize_stack::<REACH>();
    out
}

/// A frame of its own, so that the work's own variables are below the caller too.
#[inline(never)]
fn run<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[cfg(test)]
#[path = "stack_tests.rs"]
mod tests;
