//! Converts merged layers to settings: reads every value, checks every range, and reports every
//! problem with its source.

use millpond_settings::{Limits, TCP_TIMES};
use millpond_url::single_line;

use crate::Settings;
use crate::conflicts;
use crate::environment::VARIABLE;
use crate::error::SettingProblem;
use crate::explain::{Explanation, Row};
use crate::layers::{CODE, Layers};
use crate::raw::Raw;
use crate::schema::{Form, SETTINGS, Setting};
use crate::suggest;

/// If the help of a problem of `PoolConfig` contains this, the help suggests lifting the ranges.
/// How to write that depends on where the value was set, which `PoolConfig` does not know.
const LIMITS_OFF: &str = "limits = \"off\"";

/// Reads every setting and adds problems to `problems`. If there are any, the returned settings
/// must not be used.
pub(crate) fn settings(
    layers: &Layers,
    prefix: &str,
    problems: &mut Vec<SettingProblem>,
) -> Settings {
    let mut settings = Settings::default();
    let mut refused = Vec::new();
    for setting in SETTINGS.iter() {
        if let Some(raw) = layers.value(&setting.path)
            && setting.assign(&raw, &mut settings).is_none()
        {
            refused.push((setting, raw));
        }
    }
    let is_refused = |path: &str| refused.iter().any(|(setting, _)| setting.path == path);
    let fields = settings.db.pool.check().err();
    for field in fields.iter().flat_map(|error| error.problems()) {
        let path = format!("db.{}", field.setting);
        // Without the setting that sets the limit, there is nothing to compare with.
        let is_moot = is_refused(&path)
            || field.other.is_some_and(|other| is_refused(&format!("db.{other}")));
        if !is_moot {
            let value = layers.value(&path).map_or_else(|| field.value.clone(), |raw| raw.shown());
            let mut message = format!("is out of range: expected {}", field.expected);
            if let Some(other) = field.other {
                let other = conflicts::spelt(&format!("db.{other}"), &settings, layers);
                message.push_str(&format!(", and {other}"));
            }
            let source = layers.source(&path);
            let help = match field.help.contains(LIMITS_OFF) {
                true => range_help(&source, prefix),
                false => field.help.to_owned(),
            };
            let problem = SettingProblem::new(&path, &source, message, help);
            problems.push(problem.of_value(Some(value)));
        }
    }
    for setting in SETTINGS.iter() {
        problems.extend(range_problem(setting, &settings, layers, prefix));
    }
    problems.extend(refused.iter().map(|(setting, raw)| refusal(setting, raw, &settings, layers)));
    settings.explanation = explanation(&settings, layers);
    settings
}

/// Returns how to lift a range, for the layer in which the value was set.
fn range_help(source: &str, prefix: &str) -> String {
    let setting = match source {
        CODE => ".set(\"db.limits\", \"off\")".to_owned(),
        source if source.starts_with(VARIABLE) => format!("{prefix}DB_LIMITS=off"),
        _ => format!("{LIMITS_OFF} under [db]"),
    };
    format!("choose a value in the range, or lift the ranges with {setting}")
}

/// Returns the problem of a value out of its range, for a setting that `PoolConfig` does not have.
fn range_problem(
    setting: &Setting,
    settings: &Settings,
    layers: &Layers,
    prefix: &str,
) -> Option<SettingProblem> {
    let is_within = match setting.form {
        Form::Redis(field) => {
            settings.db.pool.limits.max_connections().contains(field(&mut settings.clone()))
        }
        Form::Tcp(field) => {
            field(&mut settings.clone()).is_none_or(|time| TCP_TIMES.contains(&time))
        }
        _ => true,
    };
    let range = setting.range(settings).filter(|_| !is_within)?;
    let source = layers.source(&setting.path);
    let help = match settings.db.pool.limits {
        Limits::On => range_help(&source, prefix),
        Limits::Off => "choose a value in the range".to_owned(),
    };
    let problem = SettingProblem::new(
        &setting.path,
        &source,
        format!("is out of range: expected {range}"),
        help,
    );
    Some(problem.of_value(Some(setting.shown(&mut settings.clone()))))
}

/// Returns the problem of a malformed value.
fn refusal(setting: &Setting, raw: &Raw, settings: &Settings, layers: &Layers) -> SettingProblem {
    let range = setting.range(settings).map(|range| format!(" ({range})")).unwrap_or_default();
    let what = match raw {
        Raw::Text(text) if text.trim().is_empty() => "is empty",
        Raw::Unset => "cannot be unset",
        Raw::Text(text) if setting.is_secret() && single_line(text).is_none() => {
            let message = "has a blank before or after it, or contains a line break or another \
                invisible character";
            let help = "leave it out; in a URL write it as %20, %0A and so on";
            return SettingProblem::new(
                &setting.path,
                &layers.source(&setting.path),
                message,
                help,
            );
        }
        _ if matches!(setting.form, Form::Preset) => "is not a preset",
        _ => "is not understood",
    };
    let message = format!("{what}: expected {}{range}", setting.expected());
    let near = match raw {
        Raw::Text(text) => suggest::nearest(text, setting.words()),
        _ => None,
    };
    let help = match near {
        Some(word) => format!("did you mean `{word}`?"),
        None => "correct it, or leave it out".to_owned(),
    };
    // A secret in the wrong form is still a secret.
    let value = (!setting.is_secret()).then(|| raw.shown());
    SettingProblem::new(&setting.path, &layers.source(&setting.path), message, help).of_value(value)
}

fn explanation(settings: &Settings, layers: &Layers) -> Explanation {
    let rows = SETTINGS.iter().map(|setting| Row {
        setting: &setting.path,
        value: setting.shown(&mut settings.clone()),
        source: layers.source(&setting.path),
    });
    Explanation { warnings: conflicts::all(settings, layers), rows: rows.collect() }
}
