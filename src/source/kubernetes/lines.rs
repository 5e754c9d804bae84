//! Lines: cuts a stream of chunks where its lines end, wherever its chunks do.

use std::mem;

/// What has come of a stream of lines and was not taken yet; bounded by the longest line and one chunk.
#[derive(Debug)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// Where the first line that was not taken begins.
    start: usize,
    /// How far the search for a line's end has come.
    searched: usize,
    longest: usize,
}

/// A line is longer than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Lines {
    /// How much memory is kept for the next line.
    const KEPT: usize = 64 << 10;

    /// Makes a reader of lines of at most `longest` bytes.
    pub(super) const fn new(longest: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, searched: 0, longest }
    }

    /// Adds a chunk.
    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(chunk);
    }

    /// Takes the next line that is complete, without its end; `None` when there is none yet.
    ///
    /// # Errors
    /// When the line is too long, complete or not.
    pub(super) fn next_line(&mut self) -> Result<Option<&[u8]>, TooLong> {
        let rest = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            if self.is_empty() {
                self.release();
            }
            return if self.buffer.len() - self.start > self.longest { Err(TooLong) } else { Ok(None) };
        };
        let end = self.searched + length;
        let start = mem::replace(&mut self.start, end + 1);
        self.searched = self.start;
        if end - start > self.longest {
            return Err(TooLong);
        }
        Ok(self.buffer.get(start..end))
    }

    /// Tells whether nothing is left, not even a part of a line.
    pub(super) const fn is_empty(&self) -> bool {
        self.start == self.buffer.len()
    }

    /// Gives back the memory of an uncommonly long line.
    fn release(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(Self::KEPT);
        self.start = 0;
        self.searched = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lines: &mut Lines) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            all.push(String::from_utf8(line.to_vec()).unwrap());
        }
        all
    }

    #[test]
    fn lines_come_out_whole_however_they_are_cut() {
        let text = "one\n\ntwo \u{e9}\nthree";
        for size in 1..=text.len() {
            let mut lines = Lines::new(16);
            let mut got = Vec::new();
            for chunk in text.as_bytes().chunks(size) {
                lines.push(chunk);
                got.extend(all(&mut lines));
            }
            assert_eq!(got, ["one", "", "two \u{e9}"], "chunks of {size}");
            assert!(!lines.is_empty(), "half a line is left");
            lines.push(b"\n");
            assert_eq!(all(&mut lines), ["three"]);
            assert!(lines.is_empty());
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_before_its_end_comes() {
        let mut lines = Lines::new(4);
        lines.push(b"1234\n12345");
        assert_eq!(lines.next_line(), Ok(Some(&b"1234"[..])));
        assert_eq!(lines.next_line(), Err(TooLong));
        let mut lines = Lines::new(4);
        lines.push(b"12345\n");
        assert_eq!(lines.next_line(), Err(TooLong), "also when its end came with it");
    }

    #[test]
    fn memory_of_a_long_line_is_given_back() {
        let mut lines = Lines::new(1 << 20);
        lines.push(&vec![b'x'; 1 << 20]);
        lines.push(b"\n");
        assert_eq!(lines.next_line().unwrap().map(<[u8]>::len), Some(1 << 20));
        assert_eq!(lines.next_line(), Ok(None));
        assert!(lines.buffer.capacity() <= Lines::KEPT, "{}", lines.buffer.capacity());
    }
}
