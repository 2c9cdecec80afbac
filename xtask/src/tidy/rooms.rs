//! The ledger of the core is changed by one function: its fields, and the lock that it lies under,
//! are private.

use super::Violation;
use super::workspace::Workspace;

const LEDGER: &str = "crates/millpond-core/src/ledger/state.rs";
const LOCK: &str = "crates/millpond-core/src/engine/shared.rs";

/// No field of the ledger can be seen outside `ledger/`, and the field with its lock nowhere but in
/// its own file.
pub fn keep_the_ledger_private(workspace: &Workspace) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in &workspace.sources {
        for (at, line) in source.text.lines().enumerate() {
            let opened = match source.path.as_str() {
                LEDGER => {
                    is_field(line)
                        && line.starts_with("    pub")
                        && !line.starts_with("    pub(super) ")
                }
                LOCK => line.contains("Mutex<Ledger<") && !line.starts_with("    ledger: "),
                _ => false,
            };
            if opened {
                let message =
                    "the ledger is private: read it by a method, change it by `Shared::change_at`";
                violations.push(Violation::new(&source.path, at + 1, message));
            }
        }
    }
    violations
}

/// Whether the line declares a field of a struct.
fn is_field(line: &str) -> bool {
    let declared =
        line.trim_start().split(')').next_back().unwrap_or_default().trim_start_matches("pub ");
    let name = declared.split(':').next().unwrap_or_default().trim();
    declared.contains(": ")
        && !name.is_empty()
        && name.chars().all(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_no_method() {
        assert!(is_field("    pub(crate) config: PoolConfig,"));
        assert!(is_field("    pub config: PoolConfig,"));
        assert!(!is_field("    pub(crate) fn config(&self) -> &PoolConfig {"));
    }
}
