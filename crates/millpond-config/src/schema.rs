//! The one table of settings: for each its path, the form of its value, and its place in [`Settings`].
//!
//! File keys, variable names, suggestions, parsing and the explanation all come from here, so that a new setting is
//! one line.

use std::time::Duration;

use millpond_core::{Limits, PoolConfig};

use crate::parse::{self, KINDS, POOLERS, RESETS};
use crate::presets;
use crate::secret::shown_secret;
use crate::settings::DbSettings;
use crate::text;
use crate::value::Raw;
use crate::{Secret, Settings};

/// One setting.
pub(crate) struct Setting {
    /// Section and name, as in a file: `db.pool_size`.
    pub(crate) path: &'static str,
    pub(crate) form: Form,
}

/// The form of a value, and the field it goes to.
pub(crate) enum Form {
    Preset,
    Secret(fn(&mut Settings) -> &mut Option<Secret>),
    Count(fn(&mut PoolConfig) -> &mut u32),
    /// Or a word that stands for `None`.
    CountOr(&'static str, fn(&mut PoolConfig) -> &mut Option<u32>),
    Time(fn(&mut PoolConfig) -> &mut Duration),
    /// Or a word that stands for `None`.
    TimeOr(&'static str, fn(&mut PoolConfig) -> &mut Option<Duration>),
    Flag(fn(&mut DbSettings) -> &mut bool),
    Limits,
    Reset,
    Kind,
    Pooler,
    /// The size of a Redis pool.
    Redis(fn(&mut Settings) -> &mut u32),
}

/// The sections of a file.
pub(crate) const SECTIONS: [&str; 4] = ["storage", "db", "redis", "cache"];

/// Every setting, in the order of the explanation.
pub(crate) static SETTINGS: [Setting; 33] = [
    Setting { path: "preset", form: Form::Preset },
    Setting { path: CONNECTION_STRING, form: Form::Secret(|s| &mut s.storage.connection_string) },
    Setting { path: "db.pool_size", form: Form::Count(|c| &mut c.pool_size) },
    Setting { path: "db.max_overflow", form: Form::Count(|c| &mut c.max_overflow) },
    Setting { path: "db.pool_timeout", form: Form::Time(|c| &mut c.pool_timeout) },
    Setting { path: "db.pool_recycle", form: Form::TimeOr("off", |c| &mut c.pool_recycle) },
    Setting { path: "db.recycle_jitter", form: Form::Count(|c| &mut c.recycle_jitter) },
    Setting { path: "db.pool_pre_ping", form: Form::Flag(|db| &mut db.pool.pool_pre_ping) },
    Setting { path: "db.pre_ping_idle", form: Form::Time(|c| &mut c.pre_ping_idle) },
    Setting { path: "db.ping_timeout", form: Form::Time(|c| &mut c.ping_timeout) },
    Setting { path: "db.connect_timeout", form: Form::Time(|c| &mut c.connect_timeout) },
    Setting { path: "db.hook_timeout", form: Form::Time(|c| &mut c.hook_timeout) },
    Setting { path: "db.close_timeout", form: Form::Time(|c| &mut c.close_timeout) },
    Setting { path: "db.idle_timeout", form: Form::TimeOr("off", |c| &mut c.idle_timeout) },
    // "off" would read like 0, which is something else: the floor of `idle_timeout`.
    Setting { path: "db.min_idle", form: Form::CountOr("auto", |c| &mut c.min_idle) },
    Setting { path: "db.max_waiters", form: Form::CountOr("off", |c| &mut c.max_waiters) },
    Setting { path: "db.max_connecting", form: Form::Count(|c| &mut c.max_connecting) },
    Setting { path: "db.backoff_max", form: Form::Time(|c| &mut c.backoff_max) },
    // "off" would be a lie: without a value it is `pool_timeout`.
    Setting { path: "db.fail_fast_after", form: Form::TimeOr("auto", |c| &mut c.fail_fast_after) },
    Setting { path: "db.overflow_after", form: Form::Time(|c| &mut c.overflow_after) },
    Setting { path: "db.overflow_linger", form: Form::Time(|c| &mut c.overflow_linger) },
    Setting { path: "db.leak_after", form: Form::TimeOr("off", |c| &mut c.leak_after) },
    Setting { path: "db.max_lease", form: Form::TimeOr("off", |c| &mut c.max_lease) },
    Setting { path: "db.statement_timeout", form: Form::TimeOr("off", |c| &mut c.statement_timeout) },
    Setting { path: "db.limits", form: Form::Limits },
    Setting { path: "db.reset", form: Form::Reset },
    Setting { path: "db.pool", form: Form::Kind },
    Setting { path: "db.behind", form: Form::Pooler },
    Setting { path: "db.cancel_abandoned", form: Form::Flag(|db| &mut db.cancel_abandoned) },
    Setting { path: "redis.url", form: Form::Secret(|s| &mut s.redis.url) },
    Setting { path: "redis.max_connections", form: Form::Redis(|s| &mut s.redis.max_connections) },
    Setting { path: "cache.url", form: Form::Secret(|s| &mut s.cache.url) },
    Setting { path: "cache.max_connections", form: Form::Redis(|s| &mut s.cache.max_connections) },
];

/// Where the database's URL belongs.
pub(crate) const CONNECTION_STRING: &str = "storage.connection_string";

/// What people call a database's URL elsewhere.
const URL_NAMES: [&str; 8] =
    ["url", "uri", "dsn", "database", "database_url", "db_url", "connection_url", "connection_uri"];

/// Whether an unknown `name` in this section is the slip of somebody who looks for [`CONNECTION_STRING`]. The names of the
/// settings are of no help there: the `url` that they hold is Redis's.
pub(crate) fn is_database_url(section: &str, name: &str) -> bool {
    ["storage", "db", ""].contains(&section) && URL_NAMES.iter().any(|it| it.eq_ignore_ascii_case(name))
}

/// The word that leaves `db.pool` to the backend.
const AUTO: &str = "auto";

/// The setting at `path`.
pub(crate) fn find(path: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.path == path)
}

impl Setting {
    /// The name without its section.
    pub(crate) fn name(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, name)| name)
    }

    /// The section, "" for what stands at the top of a file.
    pub(crate) fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// The variable without its prefix: `DB_POOL_SIZE`.
    pub(crate) fn variable(&self) -> String {
        self.path.replace('.', "_").to_ascii_uppercase()
    }

    pub(crate) fn is_secret(&self) -> bool {
        matches!(self.form, Form::Secret(_))
    }

    /// Puts `raw` where it belongs; `None` if it is not of the setting's form.
    pub(crate) fn put(&self, raw: &Raw, settings: &mut Settings) -> Option<()> {
        let config = &mut settings.db.pool;
        match self.form {
            Form::Preset => settings.preset = read_preset(raw)?,
            Form::Secret(field) => *field(settings) = read_secret(raw)?,
            Form::Count(field) => *field(config) = parse::read_count(raw)?,
            Form::CountOr(word, field) => *field(config) = or_word(raw, word, parse::read_count)?,
            Form::Time(field) => *field(config) = parse::read_time(raw)?,
            Form::TimeOr(word, field) => *field(config) = or_word(raw, word, parse::read_time)?,
            Form::Flag(field) => *field(&mut settings.db) = parse::read_flag(raw)?,
            Form::Limits => config.limits = if parse::read_flag(raw)? { Limits::On } else { Limits::Off },
            Form::Reset => settings.db.reset = parse::read_word(raw, &RESETS)?,
            Form::Kind => settings.db.kind = or_word(raw, AUTO, |raw| parse::read_word(raw, &KINDS))?,
            Form::Pooler => settings.db.behind = parse::read_word(raw, &POOLERS)?,
            Form::Redis(field) => *field(settings) = parse::read_count(raw)?,
        }
        Some(())
    }

    /// The value in force, fit to be seen by anybody, in the form in which [`Setting::put`] would read it.
    pub(crate) fn shown(&self, settings: &mut Settings) -> String {
        let config = &mut settings.db.pool;
        match self.form {
            Form::Preset => settings.preset.clone().unwrap_or_else(|| "none".to_owned()),
            Form::Secret(field) => {
                field(settings).as_ref().map_or_else(|| "unset".to_owned(), |secret| shown_secret(secret.expose()))
            }
            Form::Count(field) => field(config).to_string(),
            Form::CountOr(word, field) => field(config).map_or_else(|| word.to_owned(), |count| count.to_string()),
            Form::Time(field) => parse::spell_time(*field(config)),
            Form::TimeOr(word, field) => field(config).map_or_else(|| word.to_owned(), parse::spell_time),
            Form::Flag(field) => field(&mut settings.db).to_string(),
            Form::Limits => parse::spell_limits(config.limits).to_owned(),
            Form::Reset => parse::spell_reset(settings.db.reset).to_owned(),
            Form::Kind => settings.db.kind.map_or(AUTO, parse::spell_kind).to_owned(),
            Form::Pooler => parse::spell_pooler(settings.db.behind).to_owned(),
            Form::Redis(field) => field(settings).to_string(),
        }
    }

    /// What a value has to be.
    pub(crate) fn expected(&self) -> String {
        const TIME: &str = "a time such as 60, 0.5, \"500ms\", \"60s\", \"2m\" or \"1h\"";
        match self.form {
            Form::Preset => format!("one of {}", list(presets::names())),
            Form::Secret(_) => "a text that is not empty, in quotes if it stands in a file".to_owned(),
            Form::Count(_) | Form::Redis(_) => "a whole number".to_owned(),
            Form::CountOr(word, _) => format!("a whole number or \"{word}\""),
            Form::Time(_) => TIME.to_owned(),
            Form::TimeOr(word, _) => format!("{TIME}, or \"{word}\""),
            Form::Flag(_) => "true or false".to_owned(),
            Form::Limits => "\"on\" or \"off\"".to_owned(),
            Form::Reset | Form::Kind | Form::Pooler => format!("one of {}", list(self.words())),
        }
    }

    /// The words that the value may be, for "did you mean".
    pub(crate) fn words(&self) -> Vec<&'static str> {
        match self.form {
            Form::Preset => presets::names().collect(),
            Form::Reset => RESETS.iter().map(|(word, _)| *word).collect(),
            Form::Kind => KINDS.iter().map(|(word, _)| *word).chain([AUTO]).collect(),
            Form::Pooler => POOLERS.iter().map(|(word, _)| *word).collect(),
            Form::CountOr(word, _) | Form::TimeOr(word, _) => vec![word],
            Form::Flag(_) => vec!["true", "false", "yes", "no", "off", "on"],
            Form::Limits => vec!["off", "on"],
            Form::Secret(_) | Form::Count(_) | Form::Time(_) | Form::Redis(_) => Vec::new(),
        }
    }

    /// Puts the largest value there is, so that the core's check says what it wants instead.
    pub(crate) fn overdo(&self, config: &mut PoolConfig) {
        match self.form {
            Form::Count(field) => *field(config) = u32::MAX,
            Form::CountOr(_, field) => *field(config) = Some(u32::MAX),
            Form::Time(field) => *field(config) = Duration::MAX,
            Form::TimeOr(_, field) => *field(config) = Some(Duration::MAX),
            Form::Preset | Form::Secret(_) | Form::Flag(_) | Form::Limits => {}
            Form::Reset | Form::Kind | Form::Pooler | Form::Redis(_) => {}
        }
    }
}

/// Names in backticks, with commas between them.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The outer `None` is a refusal, the inner one a setting that is unset.
fn read_preset(raw: &Raw) -> Option<Option<String>> {
    match raw {
        Raw::Unset => Some(None),
        Raw::Text(name) => presets::find(name.trim()).map(|preset| Some(preset.name.to_owned())),
        Raw::Flag(_) | Raw::Whole(_) | Raw::Decimal(_) => None,
    }
}

/// Not parsed, and unchanged but for one line end, which files and variables have at their end. What may be neither is refused:
/// an empty text, since it is a variable that somebody forgot, and what [`is_untidy`].
fn read_secret(raw: &Raw) -> Option<Option<Secret>> {
    match raw {
        Raw::Unset => Some(None),
        Raw::Text(text) if is_untidy(text) => None,
        Raw::Text(text) => {
            let text = text::without_line_end(text);
            (!text.is_empty()).then(|| Some(Secret::new(text)))
        }
        Raw::Flag(_) | Raw::Whole(_) | Raw::Decimal(_) => None,
    }
}

/// Whether there is a blank before or behind a text, or a character in it that nobody sees: a file of that name would be
/// created, or a password of that kind be sent.
pub(crate) fn is_untidy(text: &str) -> bool {
    let is_unseen = |c: char| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}' | '\u{feff}')
    };
    let text = text::without_line_end(text);
    text.trim() != text || text.contains(is_unseen)
}

fn or_word<T>(raw: &Raw, word: &str, read: impl Fn(&Raw) -> Option<T>) -> Option<Option<T>> {
    if *raw == Raw::Unset || parse::is_word(raw, word) { Some(None) } else { read(raw).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_reads_back_unchanged_from_its_explanation() {
        let mut defaults = Settings::defaults();
        for setting in SETTINGS.iter().filter(|setting| !setting.is_secret() && setting.path != "preset") {
            let mut settings = Settings::defaults();
            let text = setting.shown(&mut defaults);
            assert_eq!(setting.put(&Raw::Text(text.clone()), &mut settings), Some(()), "{} = {text}", setting.path);
            assert_eq!(settings, defaults, "{}", setting.path);
        }
    }

    #[test]
    fn every_field_of_the_pool_is_a_setting_under_its_own_name() {
        let debug = format!("{:?}", PoolConfig::default());
        let fields = debug.trim_start_matches("PoolConfig {").trim_end_matches('}').split(", ");
        let mut seen = 0;
        for field in fields {
            let name = field.split(':').next().unwrap().trim();
            assert!(find(&format!("db.{name}")).is_some(), "no setting for the field {name}");
            seen += 1;
        }
        assert_eq!(seen, 23);
    }

    #[test]
    fn every_setting_sits_in_its_own_field() {
        let defaults = Settings::defaults();
        for setting in &SETTINGS {
            let raw = match setting.form {
                Form::Preset => Raw::Text("batch".to_owned()),
                Form::Secret(_) => Raw::Text("x".to_owned()),
                Form::Flag(_) | Form::Limits => Raw::Flag(false),
                Form::Reset => Raw::Text("session".to_owned()),
                Form::Kind => Raw::Text("queue".to_owned()),
                Form::Pooler => Raw::Text("pgbouncer".to_owned()),
                _ => Raw::Whole(77),
            };
            let mut settings = defaults.clone();
            setting.put(&raw, &mut settings).unwrap();
            let changed =
                SETTINGS.iter().filter(|it| it.shown(&mut settings.clone()) != it.shown(&mut defaults.clone()));
            assert_eq!(changed.map(|it| it.path).collect::<Vec<_>>(), [setting.path]);
            assert!(!format!("{:?}", settings).contains("Some(x)"));
        }
    }

    #[test]
    fn no_two_settings_share_a_variable() {
        let mut names: Vec<_> = SETTINGS.iter().map(Setting::variable).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), SETTINGS.len());
    }
}
