//! The file layer: `millpond.toml`, with the line number of every value and problem, but never the
//! text of a line.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::SettingProblem;
use crate::layers::{Gathered, Leaf};
use crate::raw::Raw;
use crate::schema::{self, SECTIONS, SETTINGS, Setting};
use crate::secret::shown_path;
use crate::suggest;
use crate::text;

/// The name under which problems of the whole file are listed.
const FILE: &str = "settings file";

/// Reads `path`. A file that was not named explicitly may be missing.
pub(crate) fn gather(path: &Path, named: bool) -> Gathered {
    let name = shown_path(&path.to_string_lossy());
    match text::read(path) {
        Ok(text) => gather_text(&text, name),
        Err(why) if why.is_absence() && !named => Gathered::default(),
        Err(why) => {
            let message = format!("cannot be read: {}", why.reason());
            let help = match named {
                true => "name a TOML file that can be read, or none",
                false => "make it a TOML file that can be read, or load without a file",
            };
            let problem = SettingProblem::new(FILE, &format!("`{name}`"), message, help);
            Gathered { problems: vec![problem], ..Gathered::default() }
        }
    }
}

fn gather_text(text: &str, name: String) -> Gathered {
    let mut reader = Reader { newlines: newlines(text), name, gathered: Gathered::default() };
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        reader.document(document.get_ref());
    }
    let mut last = String::new();
    for error in errors {
        let location = error
            .span()
            .map_or_else(|| reader.name_in_quotes(), |span| reader.location(span.start));
        // Further errors in the same line are usually consequences of the first.
        if location == last {
            continue;
        }
        // Only the parser's fixed phrases: its `Display` would quote the line, and with it a
        // password.
        let message = format!("is not TOML: {}", error.message());
        let help = "correct the line; texts such as URLs need quotes";
        reader.gathered.problems.push(SettingProblem::new(FILE, &location, message, help));
        last = location;
    }
    reader.gathered
}

struct Reader {
    /// The offsets of all newlines, in bytes, ascending.
    newlines: Vec<usize>,
    name: String,
    gathered: Gathered,
}

type Key<'a, 'i> = &'a Spanned<std::borrow::Cow<'i, str>>;

impl Reader {
    fn document(&mut self, table: &DeTable<'_>) {
        for (key, value) in in_order(table) {
            let name: &str = key.get_ref();
            match value.get_ref() {
                DeValue::Table(section) if SECTIONS.contains(&name) => self.section(name, section),
                _ if SECTIONS.contains(&name) => {
                    let help =
                        format!("write [{name}] on a line of its own, and its settings below");
                    self.problem(name, value.span().start, "is a section, not a value", help);
                }
                value => match schema::find(name).filter(|setting| setting.section().is_empty()) {
                    Some(setting) => self.value(setting, key, value),
                    None if name == "database" && matches!(value, DeValue::Table(_)) => {
                        let help = "did you mean `[db]`?".to_owned();
                        self.problem(name, key.span().start, "is not a setting", help);
                    }
                    None => self.unknown("", key),
                },
            }
        }
    }

    fn section(&mut self, section: &str, table: &DeTable<'_>) {
        for (key, value) in in_order(table) {
            match schema::find(&format!("{section}.{}", key.get_ref())) {
                Some(setting) => self.value(setting, key, value.get_ref()),
                None => self.unknown(section, key),
            }
        }
    }

    fn value(&mut self, setting: &'static Setting, key: Key<'_, '_>, value: &DeValue<'_>) {
        let start = key.span().start;
        match scalar(value) {
            Some(raw) => {
                let source = self.location(start);
                self.gathered.leaves.push(Leaf { path: &setting.path, raw, source });
            }
            None => {
                let message = format!("is {}: expected {}", kind_of(value), setting.expected());
                self.problem(&setting.path, start, message, "write one value".to_owned());
            }
        }
    }

    fn unknown(&mut self, section: &str, key: Key<'_, '_>) {
        let name: &str = key.get_ref();
        let path = if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
        self.problem(&path, key.span().start, "is not a setting", help(section, name));
    }

    fn problem(&mut self, setting: &str, start: usize, message: impl Into<String>, help: String) {
        let problem = SettingProblem::new(setting, &self.location(start), message, help);
        self.gathered.problems.push(problem);
    }

    /// Returns the file and the line of an offset in bytes.
    fn location(&self, start: usize) -> String {
        let line = self.newlines.partition_point(|newline| *newline < start) + 1;
        format!("{}, line {line}", self.name_in_quotes())
    }

    fn name_in_quotes(&self) -> String {
        format!("`{}`", self.name)
    }
}

fn newlines(text: &str) -> Vec<usize> {
    text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect()
}

/// Returns the entries in the order of the file.
fn in_order<'a, 'i>(table: &'a DeTable<'i>) -> Vec<(Key<'a, 'i>, &'a Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn scalar(value: &DeValue<'_>) -> Option<Raw> {
    match value {
        DeValue::String(text) => Some(Raw::Text(text.to_string())),
        DeValue::Boolean(flag) => Some(Raw::Flag(*flag)),
        // A number that is too long for any type stays a text, which no number parser accepts.
        DeValue::Integer(number) => Some(
            i128::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| Raw::Text(number.to_string()), Raw::Whole),
        ),
        DeValue::Float(number) => Some(
            number.as_str().parse().map_or_else(|_| Raw::Text(number.to_string()), Raw::Decimal),
        ),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Datetime(_) => "a date or time of day",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => {
            "a value"
        }
    }
}

/// Returns what to write instead of the unknown `name`: the setting of the database's URL, a
/// setting of the same section, a section, or a setting of another section.
fn help(section: &str, name: &str) -> String {
    if schema::is_database_url(section, name) {
        return "did you mean `connection_string` under `[storage]`?".to_owned();
    }
    let own: Vec<_> =
        SETTINGS.iter().filter(|it| it.section() == section).map(Setting::name).collect();
    if let Some(name) = suggest::nearest(name, own.iter().copied()) {
        return format!("did you mean `{name}`?");
    }
    if section.is_empty()
        && let Some(name) = suggest::nearest(name, SECTIONS)
    {
        return format!("did you mean `[{name}]`?");
    }
    // `pool_size` outside `[db]`, or `"db.pool_size"` in quotes.
    let last = name.rsplit('.').next().unwrap_or(name);
    let near = suggest::nearest(last, SETTINGS.iter().map(Setting::name));
    if let Some(setting) = SETTINGS.iter().find(|it| Some(it.name()) == near) {
        return format!("did you mean `{}` under `[{}]`?", setting.name(), setting.section());
    }
    match section {
        "" => format!("the top level has `preset` and the sections {}", schema::list(SECTIONS)),
        section => format!("[{section}] holds {}", schema::list(own)),
    }
}
