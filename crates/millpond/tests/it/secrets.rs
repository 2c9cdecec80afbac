//! No error shows a password of any kind, wherever a user puts it in a URL.

use millpond::{DatabaseConnection, Settings};
use std::error::Error;

/// Parts of a password that must not be shown.
const PARTS: [&str; 3] = ["Zqxj", "Wvky", "Jqzb"];

/// Text between the parts: everything that has a meaning in a URL, and some that has none.
const ODD: [&str; 40] = [
    "", "@", ":", "/", "?", "#", "&", "=", "%", "%4", "%00", "%ff", "%40", "%2F", "+", " ", "\"",
    "'", "\\", ",", ";", "[", "]", "{", "}", "|", "<", ">", "$", "`", "~", "*", "\n", "\r", "\t",
    "\0", "🦆", "é", "\u{200b}", "://",
];

/// Where a user might put a password.
const PLACES: [&str; 22] = [
    "{scheme}://user:{}@host:1/name",
    "{scheme}://user:{}@host/name?x=1",
    "{scheme}://:{}@host/0",
    "{scheme}://{}@host/0",
    "{scheme}://user:{}",
    "{scheme}://user:{}@",
    "{scheme}://user:{}@host:port/0",
    "{scheme}://user:{}@[zzz]/0",
    "{scheme}://user:{}@my host/0",
    "{scheme}://user:{}@a,b/0",
    "{scheme}://host/0?password={}",
    "{scheme}://host/0?password={}&password=other",
    "{scheme}://host/0?db=x&sslpassword={}",
    "{scheme}://host/0?pass={}&sslmode=maybe",
    "{scheme}://host/0?sentinel_password={}",
    "{scheme}:{}",
    "{scheme}:///{}@host",
    "{scheme}:///name.db?key={}",
    "{scheme}+driver://user:{}@host/0",
    "{scheme}x://user:{}@host/0",
    " {scheme}://user:{}@host/0",
    "host=host password={} {scheme}",
];

const SCHEMES: [&str; 9] = [
    "postgres",
    "postgresql+asyncpg",
    "mysql",
    "mariadb",
    "sqlite",
    "redis",
    "rediss",
    "redis-cluster",
    "redis-sentinel",
];

fn passwords() -> Vec<String> {
    let [a, b, c] = PARTS;
    let pairs = ODD.iter().flat_map(|one| ["", "@", "?", "&", "#"].map(|other| (one, other)));
    pairs.map(|(one, other)| format!("{a}{one}{b}{other}{c}")).collect()
}

/// Returns one in 29 of all combinations, so that every list is covered.
fn urls() -> impl Iterator<Item = String> {
    let passwords = passwords();
    let all = SCHEMES.into_iter().flat_map(move |scheme| {
        let of =
            |place: &str, password: &str| place.replace("{scheme}", scheme).replace("{}", password);
        // The text before the colon is a user name, which may be shown.
        let is_user =
            |place: &str, password: &str| place.contains("://{}@") && password.contains(':');
        // Without a host, the text after the `@` is the host; and a path is not secret.
        let is_no_password = |place: &str, password: &str| {
            (place.ends_with("user:{}") && password.contains('@'))
                || (place.contains("{scheme}:{}") && scheme == "sqlite")
        };
        let of_place = |place: &'static str| {
            passwords
                .iter()
                .filter(move |word| !is_user(place, word) && !is_no_password(place, word))
                .map(move |word| of(place, word))
        };
        PLACES.into_iter().flat_map(of_place).collect::<Vec<_>>()
    });
    all.step_by(29)
}

/// Returns everything that can be printed of an error.
fn all_of(error: &dyn Error) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(" {error} {error:?}"));
        source = error.source();
    }
    text
}

#[track_caller]
fn hides(shown: &str, url: &str) {
    for part in PARTS.into_iter().chain(["🦆"]) {
        assert!(!shown.contains(part), "of {url:?} is shown: {shown}");
    }
}

#[tokio::test]
async fn no_url_of_a_database_shows_a_part_of_its_password() {
    for url in urls() {
        match DatabaseConnection::builder(&url).connect_lazy() {
            Ok(db) => hides(
                &format!("{db:?} {:?} {} {:?}", db.settings(), db.explain(), db.explain()),
                &url,
            ),
            Err(error) => {
                hides(&all_of(&error), &url);
                hides(&all_of(&sqlx::Error::from(error)), &url);
            }
        }
    }
}

#[test]
fn no_setting_shows_a_part_of_a_password() {
    for url in urls().filter(|url| url.contains("://") || url.contains("password=")) {
        for setting in ["storage.connection_string", "redis.url", "db.pool_size", "preset"] {
            match Settings::loader().no_file().no_environment().set(setting, url.as_str()).load() {
                Ok(settings) => hides(
                    &format!("{settings:?} {:?} {}", settings.explain(), settings.explain()),
                    &url,
                ),
                Err(error) => hides(&all_of(&error), &url),
            }
        }
    }
}

#[cfg(all(feature = "cache", feature = "ratelimit"))]
#[tokio::test]
async fn no_url_of_redis_shows_a_part_of_its_password() {
    use millpond::cache::{RedisCache, RedisConnectOptions};
    use millpond::ratelimit::CentralizedStateStorage;
    for url in urls() {
        match url.parse::<RedisConnectOptions>() {
            Ok(options) => hides(&format!("{options:?}"), &url),
            Err(error) => hides(&all_of(&error), &url),
        }
        match RedisCache::builder().url(&url).connect_lazy() {
            Ok(cache) => hides(&format!("{cache:?}"), &url),
            Err(error) => hides(&all_of(&error), &url),
        }
        let of = |name: &str| (name == "PSN_REDIS_URL").then(|| url.clone());
        match CentralizedStateStorage::from_variables(of) {
            Ok(storage) => hides(&format!("{storage:?}"), &url),
            Err(error) => hides(&all_of(&error), &url),
        }
    }
}
