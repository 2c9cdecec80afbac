//! Reading a small text file, and saying why it could not be read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The longest file that is read, in bytes: far more than settings need, and little enough to be
/// read twice.
const FILE_MAX: u64 = 1 << 16;

/// Why a file could not be read. Holds nothing of its content.
#[derive(Debug)]
pub(crate) enum Unreadable {
    Io(io::Error),
    TooLong,
    NotUtf8,
    Pipe,
}

impl Unreadable {
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Unreadable::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }

    pub(crate) fn reason(&self) -> String {
        match self {
            Unreadable::Io(error) => error.to_string(),
            Unreadable::TooLong => format!("it is longer than {FILE_MAX} bytes"),
            Unreadable::NotUtf8 => "it is not UTF-8".to_owned(),
            Unreadable::Pipe => "it is a pipe, not a file".to_owned(),
        }
    }
}

/// The content of a file; of one that is too long, and may be endless, no more than the limit is
/// read.
pub(crate) fn read(path: &Path) -> Result<String, Unreadable> {
    if is_pipe(path) {
        return Err(Unreadable::Pipe);
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes))
        .map_err(Unreadable::Io)?;
    if u64::try_from(bytes.len()).map_or(true, |len| len > FILE_MAX) {
        return Err(Unreadable::TooLong);
    }
    let text = String::from_utf8(bytes).map_err(|_| Unreadable::NotUtf8)?;
    // What some editors begin a file with.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Whether reading would wait for somebody to write, and what was read once is gone. Not an
/// anonymous pipe, such as `<(..)` of a shell: it has a writer, and no path of its own.
#[cfg(unix)]
fn is_pipe(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo())
        && fs::canonicalize(path).is_ok()
}

#[cfg(not(unix))]
fn is_pipe(_path: &Path) -> bool {
    false
}
