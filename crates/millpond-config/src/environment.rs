//! The environment layer: variables, and the files that `NAME_FILE` variables name.
//!
//! Values are not parsed here, so that a password such as `12345` or `"q"` stays unchanged. The
//! line break that editors and shells put at the end is left to the reader of the value.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use millpond_url::without_line_end;

use crate::error::SettingProblem;
use crate::layers::{Gathered, Leaf};
use crate::raw::Raw;
use crate::schema::{self, CONNECTION_STRING, SECTIONS, SETTINGS, Setting};
use crate::secret::{shown, shown_path};
use crate::suggest;
use crate::text;

/// The suffix of a variable that names a file with the value.
const FILE_SUFFIX: &str = "_FILE";

/// The prefix of the source of a variable's value.
pub(crate) const VARIABLE: &str = "environment variable";

/// Determines which variables are settings.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) prefix: String,
    /// Prefixes of variables that belong to other programs, even if they look like settings.
    pub(crate) foreign: Vec<String>,
}

/// Reads the variables that are settings, and reports misspelt ones.
pub(crate) fn gather(names: &Names, variables: &[(OsString, OsString)]) -> Gathered {
    let mut gathered = Gathered::default();
    for (name, value) in variables {
        // A name that is not UTF-8 is never a setting, though it may resemble one.
        let name = name.to_string_lossy();
        let outcome = match names.find(&name) {
            Some((setting, false)) => from_variable(setting, &name, value),
            Some((setting, true)) if names.is_also_plain(setting, variables) => {
                Err(set_twice(&name))
            }
            Some((setting, true)) => from_file(setting, &name, value),
            None if is_of_a_service(&name, value) => continue,
            None => match names.suggest(&name) {
                Some(help) => {
                    Err(SettingProblem::new(&name, &variable(&name), "is not a setting", help))
                }
                None => continue,
            },
        };
        match outcome {
            Ok(leaf) => gathered.leaves.push(leaf),
            Err(problem) => gathered.problems.push(problem),
        }
    }
    gathered
}

fn from_variable(
    setting: &'static Setting,
    name: &str,
    value: &OsStr,
) -> Result<Leaf, SettingProblem> {
    let source = variable(name);
    match value.to_str() {
        Some(value) => Ok(Leaf { path: &setting.path, raw: Raw::Text(value.to_owned()), source }),
        None => Err(SettingProblem::new(
            &setting.path,
            &source,
            "is not UTF-8",
            "set it to a text in UTF-8, or unset it",
        )),
    }
}

fn from_file(setting: &'static Setting, name: &str, path: &OsStr) -> Result<Leaf, SettingProblem> {
    let path = path.to_str().map_or(Path::new(path), |path| Path::new(without_line_end(path)));
    let shown = shown_path(&path.to_string_lossy());
    let content = text::read(path).map_err(|why| {
        let message = format!("cannot be read from `{shown}`: {}", why.reason());
        SettingProblem::new(
            &setting.path,
            &variable(name),
            message,
            "name a file that can be read, or unset it",
        )
    })?;
    let source = format!("file `{shown}`, named by {}", variable(name));
    Ok(Leaf { path: &setting.path, raw: Raw::Text(content), source })
}

fn set_twice(name: &str) -> SettingProblem {
    let plain = name.strip_suffix(FILE_SUFFIX).unwrap_or(name);
    let help = format!("keep either `{plain}` or `{name}`");
    SettingProblem::new(name, &variable(name), format!("is set, and so is `{plain}`"), help)
}

fn variable(name: &str) -> String {
    format!("{VARIABLE} `{}`", shown(name))
}

impl Names {
    /// Returns the setting that a variable sets, and true if the variable names a file with the
    /// value.
    fn find(&self, name: &str) -> Option<(&'static Setting, bool)> {
        let rest = name.strip_prefix(&self.prefix)?;
        by_variable(rest)
            .map(|setting| (setting, false))
            .or_else(|| Some((by_variable(rest.strip_suffix(FILE_SUFFIX)?)?, true)))
    }

    fn is_also_plain(&self, setting: &Setting, variables: &[(OsString, OsString)]) -> bool {
        let plain = format!("{}{}", self.prefix, setting.variable());
        variables.iter().any(|(name, _)| name.as_os_str() == plain.as_str())
    }

    /// Returns how to fix an unknown variable that was probably meant as a setting; `None` for a
    /// variable of another program.
    ///
    /// Other programs may share the prefix, so the prefix alone is not enough: the rest must begin
    /// with a section, be at most two typing errors away from a setting, or be a setting without
    /// its section.
    fn suggest(&self, name: &str) -> Option<String> {
        let head = name.get(..self.prefix.len())?;
        let rest = name.get(self.prefix.len()..)?.to_ascii_uppercase();
        let is_foreign = self.foreign.iter().any(|prefix| name.starts_with(prefix.as_str()));
        if !head.eq_ignore_ascii_case(&self.prefix) || is_foreign {
            return None;
        }
        let (plain, suffix) = rest
            .strip_suffix(FILE_SUFFIX)
            .map_or((rest.as_str(), ""), |plain| (plain, FILE_SUFFIX));
        let offer = |variable: &str| format!("did you mean `{}{variable}{suffix}`?", self.prefix);
        if let Some((section, name)) = plain.split_once('_')
            && schema::is_database_url(&section.to_ascii_lowercase(), name)
        {
            return schema::find(CONNECTION_STRING).map(|setting| offer(&setting.variable()));
        }
        let known: Vec<_> = SETTINGS.iter().map(Setting::variable).collect();
        let near = suggest::nearest(plain, known.iter().map(String::as_str));
        let is_slip =
            near.is_some_and(|near| suggest::distance(plain, near).is_some_and(|slips| slips <= 2));
        let section = SECTIONS
            .iter()
            .find(|section| plain.starts_with(&format!("{}_", section.to_ascii_uppercase())));
        // A single word, such as `URL`, probably belongs to another program.
        let bare =
            SETTINGS.iter().find(|it| plain.contains('_') && it.name().eq_ignore_ascii_case(plain));
        match (near, bare, section) {
            (_, Some(setting), _) => Some(offer(&setting.variable())),
            (Some(near), _, _) if is_slip => Some(offer(near)),
            (Some(near), _, Some(_)) => Some(offer(near)),
            (None, _, Some(section)) => Some(self.help(section, name)),
            _ => None,
        }
    }

    fn help(&self, section: &str, name: &str) -> String {
        let of_section = SETTINGS.iter().filter(|setting| setting.section() == section);
        let known: Vec<_> =
            of_section.map(|setting| format!("{}{}", self.prefix, setting.variable())).collect();
        let known = schema::list(known.iter().map(String::as_str));
        format!(
            "[{section}] knows {known}; if it is not ours, load with .foreign(\"{}\")",
            shown(name)
        )
    }
}

/// Returns true for the variables that Kubernetes sets in every container for each Service of the
/// namespace. A Service `psn-redis` gives `PSN_REDIS_SERVICE_HOST`,
/// `PSN_REDIS_PORT=tcp://10.0.0.11:6379`, `PSN_REDIS_PORT_6379_TCP_ADDR`.
fn is_of_a_service(name: &str, value: &OsStr) -> bool {
    const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") {
        return true;
    }
    if name.ends_with("_PORT")
        && let Some((protocol, _)) = value.to_str().and_then(|value| value.split_once("://"))
        && PROTOCOLS.iter().any(|known| known.eq_ignore_ascii_case(protocol))
    {
        return true;
    }
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_of_a_port = |rest: &str| {
        let mut parts = rest.split('_');
        parts.next().is_some_and(is_number)
            && parts.next().is_some_and(|protocol| PROTOCOLS.contains(&protocol))
            && parts.next().is_none_or(|what| ["ADDR", "PORT", "PROTO"].contains(&what))
            && parts.next().is_none()
    };
    name.contains("_SERVICE_PORT_")
        || name
            .match_indices("_PORT_")
            .any(|(at, port)| name.get(at.saturating_add(port.len())..).is_some_and(is_of_a_port))
}

fn by_variable(rest: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.variable() == rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names { prefix: "PSN_".to_owned(), foreign: vec!["PSN_DB_APP_".to_owned()] }
    }

    #[test]
    fn a_slip_is_distinguished_from_a_variable_of_others() {
        for (name, meant) in [
            ("PSN_DB_POOL_SISE", Some("did you mean `PSN_DB_POOL_SIZE`?")),
            ("PSN_POOL_SIZE", Some("did you mean `PSN_DB_POOL_SIZE`?")),
            ("psn_db_pool_size", Some("did you mean `PSN_DB_POOL_SIZE`?")),
            (
                "PSN_STORAGE_CONECTION_STRING_FILE",
                Some("did you mean `PSN_STORAGE_CONNECTION_STRING_FILE`?"),
            ),
            ("PSN_STORAGE_URL", Some("did you mean `PSN_STORAGE_CONNECTION_STRING`?")),
            ("PSN_DB_URL_FILE", Some("did you mean `PSN_STORAGE_CONNECTION_STRING_FILE`?")),
            ("PSN_PRESETT", Some("did you mean `PSN_PRESET`?")),
            (
                "PSN_STORAGE_BACKEND",
                Some(
                    "[storage] knows `PSN_STORAGE_CONNECTION_STRING`; if it is not ours, load with \
                     .foreign(\"PSN_STORAGE_BACKEND\")",
                ),
            ),
            ("PSN_DB_APP_NAME", None),
            ("PSN_RED_MAX_OVERFLOW", None),
            ("PSN_LOG_LEVEL", None),
            ("PSN_URL", None),
            ("PSN_", None),
            ("PATH", None),
            ("é", None),
            ("PATHé", None),
        ] {
            assert_eq!(names().suggest(name).as_deref(), meant, "{name}");
        }
    }

    #[test]
    fn a_setting_that_resembles_a_variable_of_kubernetes_is_read() {
        for (name, value) in [
            ("PSN_REDIS_PORT", "6379"),
            ("PSN_REDIS_PORT_X_TCP", "1"),
            ("PSN_REDIS_PORT_6379_TCP_SIZE", "1"),
            ("PSN_DB_POOL_SISE", "5"),
        ] {
            assert!(!is_of_a_service(name, OsStr::new(value)), "{name}");
        }
    }

    #[test]
    fn a_known_name_is_found_even_below_a_foreign_prefix() {
        let names = Names { foreign: vec!["PSN_".to_owned()], ..names() };
        assert!(
            names
                .find("PSN_DB_POOL_SIZE")
                .is_some_and(|(setting, in_file)| setting.path == "db.pool_size" && !in_file)
        );
        assert!(
            names
                .find("PSN_REDIS_URL_FILE")
                .is_some_and(|(setting, in_file)| setting.path == "redis.url" && in_file)
        );
        assert!(names.find("DB_POOL_SIZE").is_none());
    }
}
