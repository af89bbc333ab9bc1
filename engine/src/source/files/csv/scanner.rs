//! The bytes of a text that are one of three, eight bytes at a time. Pure.

use std::iter;

/// Iterates over the positions of three bytes in a text.
pub(super) struct Scanner<'a> {
    text: &'a [u8],
    needles: [u64; 3],
    /// Start of the word that `found` is about.
    base: usize,
    /// The high bit of every byte of the word that is a needle and was not yet returned.
    found: u64,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8], needles: [u8; 3]) -> Self {
        let mut scanner = Self { text, needles: needles.map(|byte| u64::from_ne_bytes([byte; 8])), base: 0, found: 0 };
        scanner.seek(0);
        scanner
    }

    /// Goes on at `position`.
    #[inline]
    pub(super) fn seek(&mut self, position: usize) {
        self.base = position;
        self.found = self.word();
    }

    /// The position of the next needle, or the length of the text.
    #[inline]
    pub(super) fn next(&mut self) -> usize {
        while self.found == 0 {
            self.base += 8;
            if self.base >= self.text.len() {
                self.base = self.text.len();
                return self.text.len();
            }
            self.found = self.word();
        }
        let at = self.base + (self.found.trailing_zeros() / 8) as usize;
        self.found &= self.found - 1;
        at
    }

    #[inline]
    fn word(&self) -> u64 {
        let rest = self.text.get(self.base..).unwrap_or_default();
        if let Some(word) = rest.first_chunk::<8>() {
            return self.needle_bits(u64::from_le_bytes(*word));
        }
        let mut word = [0; 8];
        iter::zip(&mut word, rest).for_each(|(to, from)| *to = *from);
        let present = (1_u64 << (8 * rest.len())) - 1;
        self.needle_bits(u64::from_le_bytes(word)) & present
    }

    #[inline]
    fn needle_bits(&self, word: u64) -> u64 {
        let [a, b, c] = self.needles;
        zero_bytes(word ^ a) | zero_bytes(word ^ b) | zero_bytes(word ^ c)
    }
}

/// The high bit of every byte that is zero; exact, no carry crosses bytes.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    const LOW: u64 = u64::from_ne_bytes([0x7f; 8]);
    !(((word & LOW) + LOW) | word | LOW)
}
