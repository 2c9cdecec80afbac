//! Builds connect options from the sections `[redis]` and `[cache]` of the settings, and reports
//! invalid ones.

use millpond_config::{RedisSettings, Refusal, Settings};
use millpond_redis::RedisConnectOptions;

/// Returns the problems of the Redis URLs. Opens no connection.
pub(crate) fn unusable(settings: &Settings) -> Vec<Refusal> {
    let sections = [("redis.url", &settings.redis), ("cache.url", &settings.cache)];
    sections.into_iter().filter_map(|(setting, section)| invalid_url(setting, section)).collect()
}

fn invalid_url(setting: &'static str, section: &RedisSettings) -> Option<Refusal> {
    let error = section.url.as_ref()?.expose().parse::<RedisConnectOptions>().err()?;
    let message = format!("is not understood: {error}");
    Some(Refusal { setting, message, help: "correct the URL".to_owned() })
}

/// Returns the connect options of a section.
///
/// # Errors
///
/// Returns a message with the setting, its variable, the source of its value and the problem; it
/// contains no secret.
#[cfg(any(feature = "cache", feature = "ratelimit"))]
pub(crate) fn connect_options(
    settings: &Settings,
    name: &str,
    section: &RedisSettings,
) -> Result<RedisConnectOptions, String> {
    let setting = format!("{name}.url");
    let Some(url) = &section.url else {
        let variable = format!("PSN_{}_URL", name.to_ascii_uppercase());
        return Err(format!(
            "{setting} is not set: set {variable}, or url in the section [{name}] of the \
             settings file"
        ));
    };
    let source = settings.explain().row(&setting).map_or("code", |row| row.source.as_str());
    let connect_options = url.expose().parse::<RedisConnectOptions>();
    let connect_options = connect_options.map(|connect_options| {
        connect_options.or_tcp_times(section.tcp_keepalive, section.tcp_user_timeout)
    });
    connect_options.map_err(|error| {
        format!("{setting} ({source}) is not understood: {error}; correct the URL")
    })
}
