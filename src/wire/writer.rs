//! Writing a message within a limit.

use super::{
    bytes::count_of,
    header::{self, HEADER_LEN},
    name::WireName,
    opt,
    record::{self, POINTER_HEAD},
};

/// IN.
const CLASS_IN: u16 = 1;

/// Writes a message: space for the header, the question, records, an OPT record, and then the
/// header.
///
/// A record that does not fit is removed and sets [`truncated`](Self::truncated). The caller
/// decides what that means for the response.
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut Vec<u8>,
    /// The limit for everything but the OPT record.
    limit: usize,
    /// Position and length of the name that records belong to.
    owner: (usize, usize),
    /// Whether TC is to be set, because something was left out.
    pub truncated: bool,
    /// Number of records so far.
    pub counts: SectionCounts,
}

/// Number of records in each section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SectionCounts {
    /// Records in the answer section.
    pub answers: u16,
    /// Records in the authority section.
    pub authority: u16,
    /// Records in the additional section, without OPT.
    pub additional: u16,
}

/// A section to write a record into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// The answer section.
    Answer,
    /// The authority section.
    Authority,
}

impl<'o> Writer<'o> {
    /// Starts a message with a question (name, type and class), whose name is `name_len` bytes
    /// long. Replaces the content of `out`. The message stays within `limit` bytes, without its OPT
    /// record.
    #[inline]
    pub fn new(out: &'o mut Vec<u8>, question: &[u8], name_len: usize, limit: usize) -> Self {
        out.clear();
        out.extend_from_slice(&[0; HEADER_LEN]);
        out.extend_from_slice(question);
        Self { out, limit, owner: (HEADER_LEN, name_len), truncated: false, counts: SectionCounts::default() }
    }

    /// A pointer into the name that records belong to, `at` bytes after its start.
    #[inline]
    pub fn owner(&self, at: usize) -> u16 {
        let pointer = record::pointer(self.owner.0 + at);
        debug_assert!(pointer.is_some(), "owners stand in front of all records");
        pointer.unwrap_or(0xc000)
    }

    /// Length of the name that records belong to.
    #[inline]
    pub fn owner_len(&self) -> usize {
        self.owner.1
    }

    /// A pointer to `apex`, which the owner name must end with.
    #[inline]
    pub fn apex(&self, apex: WireName<'_>) -> u16 {
        debug_assert!(self.owner.1 >= apex.as_bytes().len(), "the owner is below the apex");
        self.owner(self.owner.1.saturating_sub(apex.as_bytes().len()))
    }

    /// Makes the following records belong to the name at position `from`.
    #[inline]
    pub fn set_owner(&mut self, from: usize, length: usize) {
        self.owner = (from, length);
    }

    /// The position of the next byte.
    #[inline]
    pub fn position(&self) -> usize {
        self.out.len()
    }

    /// Number of bytes left within the limit.
    pub fn remaining(&self) -> usize {
        self.limit.saturating_sub(self.out.len())
    }

    /// Removes everything after `position`, and restores `counts`.
    pub fn roll_back(&mut self, position: usize, counts: SectionCounts) {
        self.out.truncate(position);
        self.counts = counts;
    }

    /// Writes bytes of a record's data.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Writes a record whose length is known only afterwards. Returns whether it fits. If not, the
    /// record is removed and TC is to be set.
    #[inline]
    pub fn record(
        &mut self,
        section: Section,
        [owner, rtype, class]: [u16; 3],
        ttl: u32,
        data: impl FnOnce(&mut Self),
    ) -> bool {
        let start = self.out.len();
        self.out.extend_from_slice(&record::head(owner, rtype, class, ttl, 0));
        data(self);
        if self.out.len() > self.limit {
            self.out.truncate(start);
            self.truncated = true;
            return false;
        }
        debug_assert!(self.out.len() >= start + POINTER_HEAD, "`data` only appends");
        let length = count_of(self.out.len() - start - POINTER_HEAD).to_be_bytes();
        if let Some(field) = self.out.get_mut(start + POINTER_HEAD - 2..start + POINTER_HEAD) {
            field.copy_from_slice(&length);
        }
        match section {
            Section::Answer => self.counts.answers += 1,
            Section::Authority => self.counts.authority += 1,
        }
        true
    }

    /// Writes a record of class IN into the answer section. Returns whether it fits.
    #[inline]
    pub fn answer(&mut self, owner: u16, rtype: u16, ttl: u32, data: impl FnOnce(&mut Self)) -> bool {
        self.record(Section::Answer, [owner, rtype, CLASS_IN], ttl, data)
    }

    /// Appends `count` zeroed records of one size, to be filled in. One call for all, because a
    /// capacity check per record would cost more than writing the record.
    #[inline]
    pub fn reserve<const SIZE: usize>(&mut self, count: usize) -> &mut [[u8; SIZE]] {
        let at = self.out.len();
        self.out.resize(at + count * SIZE, 0);
        self.out.get_mut(at..).unwrap_or_default().as_chunks_mut().0
    }

    /// Writes a name. If it is at or below `apex`, its end is a pointer to the apex within the
    /// owner name.
    pub fn name_below(&mut self, name: WireName<'_>, apex: WireName<'_>) {
        match name.below(apex) {
            Some(below) => {
                let apex = self.apex(apex);
                self.out.extend_from_slice(below);
                self.out.extend_from_slice(&apex.to_be_bytes());
            }
            None => self.out.extend_from_slice(name.as_bytes()),
        }
    }

    /// Completes the message with an optional OPT record (extended code, DO bit and options), and
    /// with the header's id and two bytes of flags.
    #[inline]
    pub fn finish(self, id: [u8; 2], flags: [u8; 2], opt: Option<(u8, bool, &[u8])>) {
        let SectionCounts { answers, authority, additional } = self.counts;
        if let Some((extended_rcode, dnssec_ok, options)) = opt {
            self.out.extend_from_slice(&opt::head(extended_rcode, dnssec_ok, options.len()));
            self.out.extend_from_slice(options);
        }
        let counts = [1, answers, authority, additional + u16::from(opt.is_some())];
        header::overwrite(self.out, header::bytes(id, flags, counts));
    }
}
