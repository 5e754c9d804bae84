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

/// Writes a message: room for the header, the question, records, an OPT record, and then the header.
///
/// A record that does not fit is taken back and TC is noted; what that means for the answer is for
/// the caller to say.
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut Vec<u8>,
    /// Where the answer must end, without the OPT record.
    limit: usize,
    /// Where the name begins that records belong to, and its length.
    owner: (usize, usize),
    /// Whether something was left out that TC must tell of.
    pub truncated: bool,
    /// Records so far, by section.
    pub counts: Sections,
}

/// How many records each section has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sections {
    /// Answer.
    pub answers: u16,
    /// Authority.
    pub authority: u16,
    /// Additional, without OPT.
    pub additional: u16,
}

/// A section that a record is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Answer.
    Answer,
    /// Authority.
    Authority,
}

impl<'o> Writer<'o> {
    /// Begins a message with a question (name, type and class) of which the name is `name_len` bytes
    /// long. What `out` held is dropped; what is written stays within `limit` bytes.
    #[inline]
    pub fn new(out: &'o mut Vec<u8>, question: &[u8], name_len: usize, limit: usize) -> Self {
        out.clear();
        out.extend_from_slice(&[0; HEADER_LEN]);
        out.extend_from_slice(question);
        Self { out, limit, owner: (HEADER_LEN, name_len), truncated: false, counts: Sections::default() }
    }

    /// A pointer to the name that records belong to, `at` bytes behind its beginning.
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

    /// A pointer to `apex`, which the owner name ends with.
    #[inline]
    pub fn apex(&self, apex: WireName<'_>) -> u16 {
        debug_assert!(self.owner.1 >= apex.as_bytes().len(), "the owner is below the apex");
        self.owner(self.owner.1.saturating_sub(apex.as_bytes().len()))
    }

    /// Lets further records belong to the name that stands `from` bytes from the message's beginning.
    #[inline]
    pub fn set_owner(&mut self, from: usize, length: usize) {
        self.owner = (from, length);
    }

    /// Where the next byte goes.
    #[inline]
    pub fn position(&self) -> usize {
        self.out.len()
    }

    /// How many bytes may still be written.
    pub fn remaining(&self) -> usize {
        self.limit.saturating_sub(self.out.len())
    }

    /// Takes back everything behind `position`.
    pub fn roll_back(&mut self, position: usize, counts: Sections) {
        self.out.truncate(position);
        self.counts = counts;
    }

    /// Writes bytes of a record's data.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Writes a record whose length is known only when it is written. Returns whether it fits; one
    /// that does not is taken back, and TC noted.
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

    /// Makes room for `count` records of one size at once: checking for it before each record costs
    /// more than writing the record.
    #[inline]
    pub fn reserve<const SIZE: usize>(&mut self, count: usize) -> &mut [[u8; SIZE]] {
        let at = self.out.len();
        self.out.resize(at + count * SIZE, 0);
        self.out.get_mut(at..).unwrap_or_default().as_chunks_mut().0
    }

    /// Writes a name, its end as a pointer to the apex in the owner name where it is below it.
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

    /// Ends the message: an OPT record (its extended code, DO bit, and options) if there is one, and the
    /// header's id and two bytes of flags.
    #[inline]
    pub fn finish(self, id: [u8; 2], flags: [u8; 2], opt: Option<(u8, bool, &[u8])>) {
        let Sections { answers, authority, additional } = self.counts;
        if let Some((extended_rcode, dnssec_ok, options)) = opt {
            self.out.extend_from_slice(&opt::head(extended_rcode, dnssec_ok, options.len()));
            self.out.extend_from_slice(options);
        }
        let counts = [1, answers, authority, additional + u16::from(opt.is_some())];
        header::overwrite(self.out, header::bytes(id, flags, counts));
    }
}
