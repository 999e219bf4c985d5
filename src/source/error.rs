//! What is wrong with a folder of files: for each fault the file, the line, the field, what was found
//! and what is allowed. Shown by `app` at the start, and by the admin API and the log while running.

use std::fmt;
use std::path::{Path, PathBuf};

/// One fault in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// The file, as it was found: the folder's path and the file's name.
    pub file: PathBuf,
    /// The line, counted from 1; absent where the whole file is meant (it cannot be read).
    pub line: Option<usize>,
    /// The field, such as `spec.listeners[0].port`; empty where no field is meant.
    pub field: String,
    /// What was found, and what is allowed.
    pub message: String,
}

impl FileError {
    pub(super) fn whole(file: &Path, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            field: String::new(),
            message: message.into(),
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Why a folder was not taken. All of its faults are here, not only the first. The operator's to mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.errors))]
pub struct SourceError {
    /// At least one, sorted by file and line.
    pub errors: Vec<FileError>,
}

fn lines(errors: &[FileError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
