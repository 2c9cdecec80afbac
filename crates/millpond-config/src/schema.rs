//! The table of all settings: the path of each, the form of its value, and its field in
//! [`Settings`].
//!
//! File keys, variable names, suggestions, parsing, the explanation and `docs/settings.md` come
//! from here. The settings of a pool are those that `PoolConfig` lists.

use std::sync::LazyLock;
use std::time::Duration;

use millpond_settings::{Limits, PoolConfig, PoolSetting, SettingForm, SettingValue, TCP_TIMES};
use millpond_url::single_line;

use crate::parse::{self, KINDS, POOLERS, RESETS};
use crate::presets;
use crate::raw::Raw;
use crate::secret::shown_secret;
use crate::{Secret, Settings};

/// A setting.
pub(crate) struct Setting {
    /// The section and name, as in a file: `db.pool_size`.
    pub(crate) path: String,
    /// What the setting does, in Markdown.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the tables of docs/settings.md are made from it")
    )]
    pub(crate) docs: &'static str,
    pub(crate) form: Form,
}

/// The form of a setting's value, and its field.
pub(crate) enum Form {
    Preset,
    Secret(fn(&mut Settings) -> &mut Option<Secret>),
    /// A field of [`PoolConfig`].
    Pool(&'static PoolSetting),
    Limits,
    Reset,
    Kind,
    Pooler,
    CancelAbandoned,
    /// A timeout of the kernel, or none.
    Tcp(fn(&mut Settings) -> &mut Option<Duration>),
    /// The size of a Redis pool.
    Redis(fn(&mut Settings) -> &mut u32),
}

const REDIS_KEEPALIVE: &str = "How long a TCP connection is idle before the kernel checks whether \
    the server is still there; `tcp_keepalive` in the URL overrides it.";

const REDIS_USER_TIMEOUT: &str = "How long the server may leave data sent over a TCP connection \
    unacknowledged; by default one and a half times `tcp_keepalive`, at least 3 s more, if that is \
    less; `tcp_user_timeout` in the URL overrides it. On Linux.";

/// The sections of a file.
pub(crate) const SECTIONS: [&str; 4] = ["storage", "db", "redis", "cache"];

/// All settings, in the order of the explanation.
pub(crate) static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let setting = |path: &str, form, docs| Setting { path: path.to_owned(), docs, form };
    let first = [
        setting(
            "preset",
            Form::Preset,
            "Values for a kind of work or a size of deployment, above the defaults only.",
        ),
        setting(
            CONNECTION_STRING,
            Form::Secret(|s| &mut s.storage.connection_string),
            "The URL of the database.",
        ),
    ];
    let of_pool = PoolConfig::settings().iter();
    let of_pool = of_pool.map(|it| setting(&format!("db.{}", it.name), Form::Pool(it), it.docs));
    let last = [
        setting(
            "db.limits",
            Form::Limits,
            "Whether the ranges are enforced, including those of `max_connections`.",
        ),
        setting("db.reset", Form::Reset, "What is undone between two borrowers."),
        setting(
            "db.pool",
            Form::Kind,
            "Which pool lends the connections; `auto` chooses the one that suits the database.",
        ),
        setting(
            "db.behind",
            Form::Pooler,
            "What the pool connects to; `pgbouncer`: PostgreSQL through PgBouncer in transaction \
             mode; `unchecked`: a server, without the check for a pooler, which is refused \
             otherwise.",
        ),
        setting(
            "db.cancel_abandoned",
            Form::CancelAbandoned,
            "Whether abandoned statements are cancelled at the server; PostgreSQL and MySQL, not \
             behind PgBouncer.",
        ),
        setting(
            "db.tcp_keepalive",
            Form::Tcp(|s| &mut s.db.tcp_keepalive),
            "How long a TCP connection is idle before the kernel checks whether its peer is still \
             there; PostgreSQL and MySQL, on Linux.",
        ),
        setting(
            "db.tcp_user_timeout",
            Form::Tcp(|s| &mut s.db.tcp_user_timeout),
            "How long a peer may leave data sent over a TCP connection unacknowledged or unread \
             before the kernel ends the connection; by default five times `tcp_keepalive` if that \
             is less. A server that is alive but reads nothing for that long, such as during a \
             COPY that waits for a lock, is cut off too: use `off` where that can happen. \
             PostgreSQL and MySQL, on Linux.",
        ),
        setting(
            "redis.url",
            Form::Secret(|s| &mut s.redis.url),
            "The Redis URL of the rate limiter.",
        ),
        setting(
            "redis.max_connections",
            Form::Redis(|s| &mut s.redis.max_connections),
            "The maximum number of connections.",
        ),
        setting("redis.tcp_keepalive", Form::Tcp(|s| &mut s.redis.tcp_keepalive), REDIS_KEEPALIVE),
        setting(
            "redis.tcp_user_timeout",
            Form::Tcp(|s| &mut s.redis.tcp_user_timeout),
            REDIS_USER_TIMEOUT,
        ),
        setting("cache.url", Form::Secret(|s| &mut s.cache.url), "The Redis URL of the cache."),
        setting(
            "cache.max_connections",
            Form::Redis(|s| &mut s.cache.max_connections),
            "The maximum number of connections.",
        ),
        setting("cache.tcp_keepalive", Form::Tcp(|s| &mut s.cache.tcp_keepalive), REDIS_KEEPALIVE),
        setting(
            "cache.tcp_user_timeout",
            Form::Tcp(|s| &mut s.cache.tcp_user_timeout),
            REDIS_USER_TIMEOUT,
        ),
    ];
    first.into_iter().chain(of_pool).chain(last).collect()
});

/// The setting for the database's URL.
pub(crate) const CONNECTION_STRING: &str = "storage.connection_string";

/// Other names that people use for a database's URL.
const URL_NAMES: [&str; 8] =
    ["url", "uri", "dsn", "database", "database_url", "db_url", "connection_url", "connection_uri"];

/// Returns true if an unknown `name` in this section was probably meant as [`CONNECTION_STRING`].
/// Suggestions by spelling would not find it: the setting named `url` is that of Redis.
pub(crate) fn is_database_url(section: &str, name: &str) -> bool {
    ["storage", "db", ""].contains(&section)
        && URL_NAMES.iter().any(|it| it.eq_ignore_ascii_case(name))
}

/// The value of `db.pool` that leaves the choice to the backend.
const AUTO: &str = "auto";

const OFF: &str = "off";

/// Returns the setting at `path`.
pub(crate) fn find(path: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.path == path)
}

impl Setting {
    /// Returns the name without its section.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit_once('.').map_or(&self.path, |(_, name)| name)
    }

    /// Returns the section, or "" for a setting at the top of a file.
    pub(crate) fn section(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// Returns the variable without its prefix: `DB_POOL_SIZE`.
    pub(crate) fn variable(&self) -> String {
        self.path.replace('.', "_").to_ascii_uppercase()
    }

    pub(crate) fn is_secret(&self) -> bool {
        matches!(self.form, Form::Secret(_))
    }

    /// Stores `raw` in the setting's field; returns `None` if it is malformed.
    pub(crate) fn assign(&self, raw: &Raw, settings: &mut Settings) -> Option<()> {
        let config = &mut settings.db.pool;
        match self.form {
            Form::Preset => settings.preset = read_preset(raw)?,
            Form::Secret(field) => *field(settings) = read_secret(raw)?,
            Form::Pool(setting) => setting.set(config, read_of_pool(raw, setting)?)?,
            Form::Limits => {
                config.limits = if parse::read_flag(raw)? { Limits::On } else { Limits::Off }
            }
            Form::Reset => settings.db.reset = parse::read_word(raw, &RESETS)?,
            Form::Kind => {
                settings.db.kind = or_keyword(raw, AUTO, |raw| parse::read_word(raw, &KINDS))?
            }
            Form::Pooler => settings.db.behind = parse::read_word(raw, &POOLERS)?,
            Form::CancelAbandoned => settings.db.cancel_abandoned = parse::read_flag(raw)?,
            Form::Tcp(field) => {
                let time = or_keyword(raw, OFF, parse::read_time)?;
                *field(settings) = time.filter(|time| !time.is_zero());
            }
            Form::Redis(field) => *field(settings) = parse::read_count(raw)?,
        }
        Some(())
    }

    /// Returns the value in force, without secrets, in a form that [`Setting::assign`] can parse.
    pub(crate) fn shown(&self, settings: &mut Settings) -> String {
        let config = &settings.db.pool;
        match self.form {
            Form::Preset => settings.preset.clone().unwrap_or_else(|| "none".to_owned()),
            Form::Secret(field) => field(settings)
                .as_ref()
                .map_or_else(|| "unset".to_owned(), |secret| shown_secret(secret.expose())),
            Form::Pool(setting) => match setting.get(config) {
                SettingValue::Time(time) => parse::format_time(time),
                SettingValue::Unset => setting.unset.unwrap_or_default().to_owned(),
                other => other.to_string(),
            },
            Form::Limits => parse::format_limits(config.limits).to_owned(),
            Form::Reset => parse::format_reset(settings.db.reset).to_owned(),
            Form::Kind => settings.db.kind.map_or(AUTO, parse::format_kind).to_owned(),
            Form::Pooler => parse::format_pooler(settings.db.behind).to_owned(),
            Form::CancelAbandoned => settings.db.cancel_abandoned.to_string(),
            Form::Tcp(field) => field(settings).map_or_else(|| OFF.to_owned(), parse::format_time),
            Form::Redis(field) => field(settings).to_string(),
        }
    }

    /// Returns a description of valid values.
    pub(crate) fn expected(&self) -> String {
        match self.form {
            Form::Preset => format!("one of {}", list(presets::names())),
            Form::Secret(_) => "a text that is not empty, in quotes if it is in a file".to_owned(),
            Form::Redis(_) => COUNT.to_owned(),
            Form::Pool(PoolSetting { form, unset, .. }) => match (form, unset) {
                (SettingForm::Flag, _) => FLAG.to_owned(),
                (SettingForm::Count, None) => COUNT.to_owned(),
                (SettingForm::Count, Some(word)) => format!("{COUNT} or \"{word}\""),
                (_, None) => TIME.to_owned(),
                (_, Some(word)) => format!("{TIME}, or \"{word}\""),
            },
            Form::CancelAbandoned => FLAG.to_owned(),
            Form::Tcp(_) => format!("{TIME}, or \"{OFF}\""),
            Form::Limits => "\"on\" or \"off\"".to_owned(),
            Form::Reset | Form::Kind | Form::Pooler => format!("one of {}", list(self.words())),
        }
    }

    /// Returns the words that the value may be, for suggestions.
    pub(crate) fn words(&self) -> Vec<&'static str> {
        const FLAGS: [&str; 6] = ["true", "false", "yes", "no", "off", "on"];
        match self.form {
            Form::Preset => presets::names().collect(),
            Form::Reset => RESETS.iter().map(|(word, _)| *word).collect(),
            Form::Kind => KINDS.iter().map(|(word, _)| *word).chain([AUTO]).collect(),
            Form::Pooler => POOLERS.iter().map(|(word, _)| *word).collect(),
            Form::Pool(PoolSetting { form: SettingForm::Flag, .. }) | Form::CancelAbandoned => {
                FLAGS.to_vec()
            }
            Form::Pool(PoolSetting { unset, .. }) => unset.iter().copied().collect(),
            Form::Limits => vec![OFF, "on"],
            Form::Tcp(_) => vec![OFF],
            Form::Secret(_) | Form::Redis(_) => Vec::new(),
        }
    }

    /// Returns the range of the setting's numbers, given the other settings, as text.
    pub(crate) fn range(&self, settings: &Settings) -> Option<String> {
        let config = &settings.db.pool;
        match self.form {
            Form::Pool(setting) => setting.spell_range(config),
            Form::Redis(_) => {
                let (low, high) = config.limits.max_connections().into_inner();
                Some(format!("{low}-{high}"))
            }
            Form::Tcp(_) if config.limits == Limits::On => {
                Some(format!("{:?} to {:?}", TCP_TIMES.start(), TCP_TIMES.end()))
            }
            _ => None,
        }
    }
}

const COUNT: &str = "a whole number";
const FLAG: &str = "true or false";
const TIME: &str = "a time such as 60, 0.5, \"500ms\", \"60s\", \"2m\" or \"1h\"";

/// Returns the names in backticks, separated by commas.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Parses a preset. The outer `None` is a malformed value, the inner one an unset setting.
fn read_preset(raw: &Raw) -> Option<Option<String>> {
    match raw {
        Raw::Unset => Some(None),
        Raw::Text(name) => presets::find(name.trim()).map(|preset| Some(preset.name.to_owned())),
        Raw::Flag(_) | Raw::Whole(_) | Raw::Decimal(_) => None,
    }
}

/// Not parsed, and unchanged but for one line end, which files and variables have at their end.
/// Parses a secret: it is kept unchanged except for one line break at the end, which files and
/// variables have. An empty text is refused, since the variable was probably forgotten. So is a
/// text that begins or ends with a space or contains an invisible character: a file with that name
/// would be created, or such a password be sent.
fn read_secret(raw: &Raw) -> Option<Option<Secret>> {
    match raw {
        Raw::Unset => Some(None),
        Raw::Text(text) => {
            let text = single_line(text).filter(|text| !text.is_empty())?;
            Some(Some(Secret::new(text)))
        }
        Raw::Flag(_) | Raw::Whole(_) | Raw::Decimal(_) => None,
    }
}

fn read_of_pool(raw: &Raw, setting: &PoolSetting) -> Option<SettingValue> {
    let read = |raw: &Raw| match setting.form {
        SettingForm::Count => parse::read_count(raw).map(SettingValue::Count),
        SettingForm::Time => parse::read_time(raw).map(SettingValue::Time),
        SettingForm::Flag => parse::read_flag(raw).map(SettingValue::Flag),
        _ => None,
    };
    match setting.unset {
        Some(word) => or_keyword(raw, word, read).map(|value| value.unwrap_or(SettingValue::Unset)),
        None => read(raw),
    }
}

fn or_keyword<T>(raw: &Raw, word: &str, read: impl Fn(&Raw) -> Option<T>) -> Option<Option<T>> {
    if *raw == Raw::Unset || parse::is_word(raw, word) { Some(None) } else { read(raw).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_reads_back_unchanged_from_its_explanation() {
        let mut defaults = Settings::default();
        for setting in
            SETTINGS.iter().filter(|setting| !setting.is_secret() && setting.path != "preset")
        {
            let mut settings = Settings::default();
            let text = setting.shown(&mut defaults);
            assert_eq!(
                setting.assign(&Raw::Text(text.clone()), &mut settings),
                Some(()),
                "{} = {text}",
                setting.path
            );
            assert_eq!(settings, defaults, "{}", setting.path);
        }
    }

    #[test]
    fn every_setting_has_its_own_field() {
        let defaults = Settings::default();
        for setting in SETTINGS.iter() {
            let raw = match setting.form {
                Form::Preset => Raw::Text("batch".to_owned()),
                Form::Secret(_) => Raw::Text("x".to_owned()),
                Form::Pool(PoolSetting { form: SettingForm::Flag, .. })
                | Form::CancelAbandoned
                | Form::Limits => Raw::Flag(false),
                Form::Reset => Raw::Text("session".to_owned()),
                Form::Kind => Raw::Text("queue".to_owned()),
                Form::Pooler => Raw::Text("pgbouncer".to_owned()),
                Form::Tcp(_) => Raw::Text(OFF.to_owned()),
                _ => Raw::Whole(77),
            };
            let mut settings = defaults.clone();
            setting.assign(&raw, &mut settings).unwrap();
            let changed = SETTINGS
                .iter()
                .filter(|it| it.shown(&mut settings.clone()) != it.shown(&mut defaults.clone()));
            assert_eq!(changed.map(|it| &it.path).collect::<Vec<_>>(), [&setting.path]);
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
