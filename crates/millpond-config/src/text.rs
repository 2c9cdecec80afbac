//! Reads a small text file, or reports why it cannot be read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The longest file that is read, in bytes: far more than settings need, and quick to read.
const FILE_MAX: u64 = 1 << 16;

/// Why a file could not be read. Contains nothing of the file's content.
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

/// Returns the content of a file. Of a file that is too long, perhaps endless, at most the limit is
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
    // Some editors begin a file with a byte order mark.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Returns true if reading would wait for a writer, and consume the content. An anonymous pipe,
/// such as `<(..)` of a shell, is accepted: it has a writer, and no path of its own.
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
