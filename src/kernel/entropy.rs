//! Randomness as an argument, so that tests can be replayed.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// Where random bytes come from.
pub trait Entropy: Send + Sync + 'static {
    /// Fills the buffer. Implementations abort the process rather than return weak bytes.
    fn fill(&self, buffer: &mut [u8]);

    /// Fills an identifier: unique and not to be guessed, but no key, no nonce and no bearer. Those take
    /// fresh bytes each; identifiers may come from a supply, because every event and request has one.
    fn fill_identifier(&self, buffer: &mut [u8]) {
        self.fill(buffer);
    }
}

/// `N` random bytes.
pub fn bytes<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut buffer = [0; N];
    entropy.fill(&mut buffer);
    buffer
}

/// `N` random bytes for an identifier.
pub fn identifier<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut buffer = [0; N];
    entropy.fill_identifier(&mut buffer);
    buffer
}

/// The operating system's generator, through aws-lc.
#[derive(Debug, Default)]
pub struct SystemEntropy(SystemRandom);

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        if self.0.fill(buffer).is_err() {
            // INVARIANT: no key, nonce or token is ever made from weak randomness.
            std::process::abort();
        }
    }

    fn fill_identifier(&self, buffer: &mut [u8]) {
        SUPPLY.with_borrow_mut(|supply| {
            if supply.len() < buffer.len() {
                supply.resize(SUPPLIED.max(buffer.len()), 0);
                self.fill(supply);
            }
            // Each byte leaves the supply with its first use.
            let left = supply.len().saturating_sub(buffer.len());
            for (to, from) in buffer.iter_mut().zip(supply.drain(left..)) {
                *to = from;
            }
        });
    }
}

/// One call of the generator costs as much for this many bytes as for a few.
const SUPPLIED: usize = 512;

thread_local! {
    static SUPPLY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A repeatable stream for tests: SHA-256 of a seed and a counter. Never for production.
#[derive(Debug)]
pub struct SeededEntropy {
    seed: u64,
    counter: AtomicU64,
}

impl SeededEntropy {
    /// The stream that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed, counter: AtomicU64::new(0) }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(32) {
            let counter = self.counter.fetch_add(1, Ordering::SeqCst);
            let mut input = [0; 16];
            let (left, right) = input.split_at_mut(8);
            left.copy_from_slice(&self.seed.to_be_bytes());
            right.copy_from_slice(&counter.to_be_bytes());
            let block = digest::digest(&digest::SHA256, &input);
            for (to, from) in chunk.iter_mut().zip(block.as_ref()) {
                *to = *from;
            }
        }
    }
}
