//! A zip archive whose files are stored as they are: logs are small, and a compressor would be one more thing to trust. Pure.
//!
//! As PKWARE's APPNOTE 6.3 has it, without its 64-bit form: an archive here is bounded far below 4 GiB.

use chrono::{DateTime, Datelike, Timelike};

/// An archive that is being written.
#[derive(Debug, Default)]
pub(crate) struct Zip {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    files: u16,
}

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
/// Version 2.0 of the format, made on Unix, so that the upper half of the attributes is a mode.
const MADE_BY: u16 = (3 << 8) | 20;
const NEEDED: u16 = 20;
/// Names are UTF-8.
const FLAGS: u16 = 1 << 11;
const MODE: u32 = 0o100_644 << 16;
/// 1980-01-01, the first day that the format has.
const FIRST_DAY: u16 = (1 << 5) | 1;
/// An extra field with the seconds since 1970: the format's own time is of no zone.
const TIMESTAMP: [u8; 5] = [b'U', b'T', 5, 0, 1];

impl Zip {
    /// Adds a file that was written at that time, in milliseconds; 0 = not known. One that would not fit into the format is
    /// left out; `false` says so.
    pub(crate) fn add(&mut self, name: &str, content: &[u8], at_ms: u64) -> bool {
        let (Ok(offset), Ok(size), Ok(name_length)) =
            (u32::try_from(self.bytes.len()), u32::try_from(content.len()), u16::try_from(name.len()))
        else {
            return false;
        };
        let Some(files) = self.files.checked_add(1) else { return false };
        if offset.checked_add(size).is_none_or(|end| end > u32::MAX / 2) {
            return false;
        }
        // What both headers have: version, flags, method (stored), time, date, checksum, sizes, length of the name, of extras.
        let mut common = Vec::new();
        let (time, date) = moment(at_ms);
        let extra = timestamp(at_ms);
        for half in [NEEDED, FLAGS, 0, time, date] {
            common.extend(half.to_le_bytes());
        }
        for word in [crc32fast::hash(content), size, size] {
            common.extend(word.to_le_bytes());
        }
        common.extend(name_length.to_le_bytes());
        common.extend(u16::try_from(extra.len()).unwrap_or_default().to_le_bytes());

        self.bytes.extend(LOCAL.to_le_bytes());
        self.bytes.extend(&common);
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(&extra);
        self.bytes.extend(content);

        self.directory.extend(CENTRAL.to_le_bytes());
        self.directory.extend(MADE_BY.to_le_bytes());
        self.directory.extend(&common);
        // Length of the comment, number of the disk, internal attributes.
        self.directory.extend([0; 6]);
        self.directory.extend(MODE.to_le_bytes());
        self.directory.extend(offset.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.directory.extend(&extra);
        self.files = files;
        true
    }

    /// The archive.
    pub(crate) fn finish(self) -> Vec<u8> {
        let Self { mut bytes, directory, files } = self;
        // Both fit: `add` sees to it.
        let offset = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let size = u32::try_from(directory.len()).unwrap_or(u32::MAX);
        bytes.extend(directory);
        bytes.extend(END.to_le_bytes());
        bytes.extend([0; 4]);
        for half in [files, files] {
            bytes.extend(half.to_le_bytes());
        }
        for word in [size, offset] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend([0; 2]);
        bytes
    }
}

/// Time and date as the format has them, in UTC.
fn moment(at_ms: u64) -> (u16, u16) {
    let at = i64::try_from(at_ms).ok().and_then(DateTime::from_timestamp_millis);
    let Some(at) = at.filter(|at| (1980..=2107).contains(&at.year())) else { return (0, FIRST_DAY) };
    let years = u32::try_from(at.year() - 1980).unwrap_or_default();
    let half = |bits: u32| u16::try_from(bits).unwrap_or_default();
    let time = (at.hour() << 11) | (at.minute() << 5) | (at.second() / 2);
    (half(time), half((years << 9) | (at.month() << 5) | at.day()))
}

fn timestamp(at_ms: u64) -> Vec<u8> {
    match u32::try_from(at_ms / 1_000) {
        Ok(seconds) if seconds > 0 => TIMESTAMP.into_iter().chain(seconds.to_le_bytes()).collect(),
        Ok(_) | Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_time_when_it_was_written() {
        // 2026-11-21 09:30:12
        let at_ms = 1_795_253_412_345;
        assert_eq!(moment(at_ms), ((9 << 11) | (30 << 5) | 6, (46 << 9) | (11 << 5) | 21));
        assert_eq!([moment(0), moment(u64::MAX)], [(0, FIRST_DAY), (0, FIRST_DAY)]);
        let mut zip = Zip::default();
        assert!(zip.add("a.txt", b"hello", at_ms));
        let bytes = zip.finish();
        let (time, date) = moment(at_ms);
        assert_eq!((&bytes[10..12], &bytes[12..14]), (&time.to_le_bytes()[..], &date.to_le_bytes()[..]));
        // Length of the extra field, and the field after the name.
        let seconds = 1_795_253_412_u32.to_le_bytes();
        assert_eq!((bytes[28], &bytes[35..40], &bytes[40..44]), (9, &b"UT\x05\x00\x01"[..], &seconds[..]));
        assert_eq!(&bytes[44..49], b"hello");
        assert_eq!(bytes.len(), 30 + 5 + 9 + 5 + 46 + 5 + 9 + 22);
    }

    #[test]
    fn an_archive_has_the_bytes_of_the_format() {
        let mut zip = Zip::default();
        assert!(zip.add("a.txt", b"hello", 0));
        let bytes = zip.finish();
        let local = 30 + 5 + 5;
        let central = 46 + 5;
        assert_eq!(bytes.len(), local + central + 22);
        // The checksum of "hello", little endian, where the format has it.
        assert_eq!(&bytes[14..18], &0x3610_a686_u32.to_le_bytes());
        assert_eq!((&bytes[..4], &bytes[30..40]), (&b"PK\x03\x04"[..], &b"a.txthello"[..]));
        assert_eq!(&bytes[local..local + 4], b"PK\x01\x02");
        let end = &bytes[local + central..];
        assert_eq!(&end[..4], b"PK\x05\x06");
        assert_eq!((end[8], end[10], end[12], end[16]), (1, 1, 51, 40));
        let mut again = Zip::default();
        again.add("a.txt", b"hello", 0);
        assert_eq!(again.finish(), bytes);
    }

    #[test]
    fn an_empty_archive_is_its_end_alone() {
        assert_eq!(Zip::default().finish(), [&b"PK\x05\x06"[..], &[0; 18]].concat());
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut zip = Zip::default();
        assert!(!zip.add(&"n".repeat(70_000), b"", 0));
        assert_eq!(zip.finish().len(), 22);
    }
}
