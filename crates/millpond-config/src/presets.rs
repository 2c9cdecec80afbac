//! The presets: named sets of values just above the defaults.

/// A preset: its name, and its values as they would be written in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Preset {
    /// The name, for `preset = "production"` or `PSN_PRESET`.
    pub name: &'static str,
    /// The settings that it sets, each by its path such as `db.pool_size`, with its value.
    pub values: &'static [(&'static str, &'static str)],
}

/// Returns all presets, first those for a kind of work, then those for a size of deployment.
///
/// ```
/// let names: Vec<_> = millpond_config::presets().iter().map(|preset| preset.name).collect();
/// assert_eq!(names, ["production", "development", "batch", "small", "medium", "large"]);
/// ```
pub fn presets() -> &'static [Preset] {
    &PRESETS
}

/// Returns the names, in the order of messages.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|preset| preset.name)
}

/// Returns the source of values that come from the preset `name`.
pub(crate) fn source(name: &str) -> String {
    format!("preset `{name}`")
}

/// Returns true if a value with this source comes from a preset.
pub(crate) fn is_source(source: &str) -> bool {
    source.starts_with("preset `")
}

pub(crate) fn find(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

static PRESETS: [Preset; 6] = [
    // By the kind of work.
    Preset {
        name: "production",
        values: &[
            ("db.pool_size", "25"),
            ("db.max_overflow", "50"),
            ("db.pool_timeout", "30"),
            ("db.pool_recycle", "1800"),
            ("db.pool_pre_ping", "true"),
        ],
    },
    Preset {
        name: "development",
        values: &[
            ("db.pool_size", "5"),
            ("db.max_overflow", "10"),
            ("db.pool_timeout", "10"),
            ("db.pool_recycle", "3600"),
            ("db.pool_pre_ping", "true"),
        ],
    },
    Preset {
        name: "batch",
        values: &[
            ("db.pool_size", "15"),
            ("db.max_overflow", "30"),
            ("db.pool_timeout", "120"),
            ("db.pool_recycle", "7200"),
            ("db.pool_pre_ping", "true"),
        ],
    },
    // By the size of the deployment.
    Preset {
        name: "small",
        values: &[
            ("db.pool_size", "10"),
            ("db.max_overflow", "20"),
            ("db.pool_timeout", "30"),
            ("cache.max_connections", "50"),
        ],
    },
    Preset {
        name: "medium",
        values: &[
            ("db.pool_size", "25"),
            ("db.max_overflow", "50"),
            ("db.pool_timeout", "30"),
            ("cache.max_connections", "100"),
        ],
    },
    Preset {
        name: "large",
        values: &[
            ("db.pool_size", "50"),
            ("db.max_overflow", "100"),
            ("db.pool_timeout", "60"),
            ("cache.max_connections", "200"),
        ],
    },
];
