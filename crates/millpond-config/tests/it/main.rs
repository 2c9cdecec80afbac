//! Settings as users see them: one module per behaviour.

mod changes;
mod env;
mod explain;
mod layers;
mod nonsense;
mod presets;
mod provenance;
mod secrets;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use millpond_config::{Loader, SettingProblem, SettingsError};

/// Returns a loader that reads no file and no environment.
fn bare() -> Loader {
    Loader::new().no_file().no_environment()
}

/// Returns a loader that reads only a file with this text.
fn toml(text: &str) -> Loader {
    bare().file(file(text))
}

/// Returns a loader that reads only these variables.
fn env<const N: usize>(variables: [(&str, &str); N]) -> Loader {
    bare().environment(variables)
}

/// Creates a file with this content and a new name.
fn file(content: impl AsRef<[u8]>) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("{}-{}.toml", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// Returns the only problem of `setting`.
#[track_caller]
fn problem(error: &SettingsError, setting: &str) -> SettingProblem {
    let mut found = error.problems.iter().filter(|problem| problem.setting == setting);
    let problem = found.next().unwrap_or_else(|| panic!("nothing about {setting} in\n{error}"));
    assert!(found.next().is_none(), "{setting} is reported twice in\n{error}");
    problem.clone()
}
