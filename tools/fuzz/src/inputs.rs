//! Inputs: the seeds, what has reached new code since, and what chance makes of them.

use std::fs;
use std::io;
use std::path::Path;

/// Longest input.
const BYTES_MAX: usize = 4096;

/// See the head of this file.
pub(crate) struct Inputs {
    known: Vec<Vec<u8>>,
    seeds: usize,
    state: u64,
}

impl Inputs {
    /// Begins with the files of a directory, in the order of their names.
    pub(crate) fn new(directory: &Path, seed: u64) -> io::Result<Self> {
        let mut paths: Vec<_> = match fs::read_dir(directory) {
            Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        paths.sort();
        let known = paths.iter().map(fs::read).collect::<io::Result<Vec<_>>>()?;
        let seeds = known.len();
        // Never 0, from which nothing follows.
        Ok(Self { known, seeds, state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 })
    }

    pub(crate) fn seeds(&self) -> usize {
        self.seeds
    }

    pub(crate) fn seed(&self, number: usize) -> &[u8] {
        self.known.get(number).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn add(&mut self, input: Vec<u8>) {
        self.known.push(input);
    }

    fn roll(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }

    fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }

    /// One that was not there before, most likely.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        if self.known.is_empty() || self.below(4) == 0 {
            let longest = [40, 200, 1000, BYTES_MAX][self.below(4)];
            let length = 8 + self.below(longest);
            return (0..length).map(|_| self.roll() as u8).collect();
        }
        let at = self.below(self.known.len());
        let mut input = self.known[at].clone();
        for _ in 0..1 + self.below(6) {
            self.change(&mut input);
        }
        input.truncate(BYTES_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len());
        match self.below(6) {
            0 | 1 if !input.is_empty() => input[at] = self.roll() as u8,
            2 if !input.is_empty() => input[at] ^= 1 << self.below(8),
            3 => {
                let more: Vec<u8> = (0..1 + self.below(16)).map(|_| self.roll() as u8).collect();
                input.splice(at..at, more);
            }
            4 => {
                let end = (at + 1 + self.below(16)).min(input.len());
                input.drain(at.min(end)..end);
            }
            _ => {
                let other = self.below(self.known.len());
                let from = self.below(self.known[other].len());
                let tail = self.known[other][from..].to_vec();
                input.truncate(at);
                input.extend(tail);
            }
        }
    }
}
