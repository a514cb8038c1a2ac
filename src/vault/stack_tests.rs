//! Looks at a thread's stack through `/proc/self/mem`, as someone with a copy of the memory would.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use aes_gcm::{AeadInOut as _, Aes256Gcm, KeyInit as _};

use crate::kernel::entropy::SeededEntropy;
use crate::vault::envelope;

/// Long enough that no counter or key looks like it by chance.
const SECRET: &[u8] = b"rt-canary-0123456789-abcdefghijklmnopqrstuvwxyz-";

/// How many pieces of the secret lie on the stack, up to 256 KiB below the caller.
fn pieces_below() -> usize {
    const FAR: usize = 256 * 1024;
    let here = 0_u8;
    let at = std::ptr::from_ref(&here).addr();
    // In a buffer of the heap, and not through the stack that is looked at.
    let mut found = vec![0_u8; FAR];
    let memory = File::open("/proc/self/mem").unwrap();
    memory.read_exact_at(&mut found, (at - FAR) as u64).unwrap();
    SECRET.windows(12).filter(|piece| found.windows(12).any(|there| there == *piece)).count()
}

fn on_a_thread_of_its_own(work: impl FnOnce() -> usize + Send + 'static) -> usize {
    std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(work).unwrap().join().unwrap()
}

fn long_secret() -> Vec<u8> {
    SECRET.repeat(60)
}

#[test]
fn sealing_and_opening_leave_nothing_of_the_secret_on_the_stack() {
    let found = on_a_thread_of_its_own(|| {
        let plain = long_secret();
        let entropy = SeededEntropy::new(1);
        let sealed = envelope::seal(&[7; 32], 1, b"aad", &plain, &entropy);
        let after_sealing = pieces_below();
        assert_eq!(envelope::open(&[7; 32], b"aad", &sealed).unwrap().expose(), &plain);
        after_sealing + pieces_below()
    });
    assert_eq!(found, 0);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "inlined, the cipher's calls left nothing that this finds")]
fn the_cipher_alone_leaves_pieces_of_it_there() {
    let found = on_a_thread_of_its_own(|| {
        let mut body = long_secret();
        let cipher = Aes256Gcm::new(&[7; 32].into());
        cipher.encrypt_inout_detached(&[1; 12].into(), b"aad", body.as_mut_slice().into()).unwrap();
        pieces_below()
    });
    assert!(found > 0, "the control finds nothing: the other test shows nothing on this machine");
}
