//! Loads settings: reads the layers, merges them, and validates the result.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::mem;
use std::path::{Path, PathBuf};

use crate::environment::{self, Names};
use crate::error::{Refusal, SettingProblem};
use crate::layers::{CODE, Gathered, Layers, Leaf};
use crate::raw::Raw;
use crate::schema::{self, CONNECTION_STRING, SETTINGS};
use crate::value::Value;
use crate::{Settings, SettingsError, check, file, presets, suggest};

/// The file that is read from the working directory if no other is named and it exists.
pub const DEFAULT_FILE: &str = "millpond.toml";

/// Loads [`Settings`] from the defaults, a preset, a file, the environment and code; each layer
/// overrides the ones before, one setting at a time.
///
/// ```
/// use millpond_config::Loader;
///
/// let settings = Loader::new()
///     .no_file()
///     .environment([("PSN_DB_POOL_SIZE", "20"), ("PSN_DB_POOL_TIMEOUT", "60")])
///     .set("db.max_overflow", 40)
///     .load()?;
/// assert_eq!((settings.db.pool.pool_size, settings.db.pool.max_overflow), (20, 40));
/// # Ok::<(), millpond_config::SettingsError>(())
/// ```
#[derive(Clone)]
#[must_use = "nothing is read before `load`"]
pub struct Loader {
    names: Names,
    file: FileLayer<PathBuf>,
    environment: FileLayer<Vec<(OsString, OsString)>>,
    code: Vec<(String, Value)>,
    required: Vec<String>,
}

/// The source of the file or environment layer.
#[derive(Clone)]
enum FileLayer<T> {
    Usual,
    Given(T),
    Nothing,
}

impl Loader {
    /// Creates a loader with the prefix `PSN_` that reads `./millpond.toml` if it exists, and the
    /// process's environment.
    pub fn new() -> Self {
        Self {
            names: Names { prefix: "PSN_".to_owned(), foreign: Vec::new() },
            file: FileLayer::Usual,
            environment: FileLayer::Usual,
            code: Vec::new(),
            required: Vec::new(),
        }
    }

    /// Sets the prefix of variables, including the underscore. Default `PSN_`.
    ///
    /// With an empty prefix, every variable that begins with `DB_`, `STORAGE_`, `REDIS_` or
    /// `CACHE_` counts as a setting.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.names.prefix = prefix.into();
        self
    }

    /// Ignores unknown variables that begin with `prefix` (the whole name, such as
    /// `PSN_DB_BACKUP_`), because they belong to the rest of the program.
    ///
    /// Only needed for unknown variables that begin with a section (`PSN_DB_`, `PSN_STORAGE_`,
    /// `PSN_REDIS_`, `PSN_CACHE_`) or resemble a setting: those are errors. Other variables with
    /// the prefix are ignored anyway, and so are those that Kubernetes sets for a Service
    /// (`PSN_REDIS_SERVICE_HOST`, `PSN_REDIS_PORT=tcp://..`). A variable that is a setting always
    /// counts. May be called more than once.
    pub fn foreign(mut self, prefix: impl Into<String>) -> Self {
        self.names.foreign.push(prefix.into());
        self
    }

    /// Reads this file, which must exist, instead of `./millpond.toml`, which may be absent.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = FileLayer::Given(path.into());
        self
    }

    /// Reads no file.
    pub fn no_file(mut self) -> Self {
        self.file = FileLayer::Nothing;
        self
    }

    /// Reads these variables instead of the process's environment.
    pub fn environment<N, V>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.environment = FileLayer::Given(variables.collect());
        self
    }

    /// Reads no variables.
    pub fn no_environment(mut self) -> Self {
        self.environment = FileLayer::Nothing;
        self
    }

    /// Sets the preset: `production`, `development`, `batch`, `small`, `medium` or `large`.
    ///
    /// This overrides `PSN_PRESET`, which overrides `preset` in the file. The preset's values only
    /// override defaults.
    pub fn preset(self, name: impl Into<String>) -> Self {
        self.set("preset", name.into())
    }

    /// Sets one setting, by its section and name such as `db.pool_size`, above all other layers;
    /// the last call wins.
    ///
    /// The value is validated in [`load`](Self::load), along with all others.
    pub fn set(mut self, setting: impl Into<String>, value: impl Into<Value>) -> Self {
        self.code.push((setting.into(), value.into()));
        self
    }

    /// Makes [`load`](Self::load) report an error if no layer sets this setting.
    ///
    /// ```
    /// use millpond_config::Loader;
    ///
    /// let loader = Loader::new().no_file().no_environment().require("storage.connection_string");
    /// assert!(loader.load().unwrap_err().to_string().contains("PSN_STORAGE_CONNECTION_STRING"));
    /// ```
    pub fn require(mut self, setting: impl Into<String>) -> Self {
        self.required.push(setting.into());
        self
    }

    /// Reads all layers and validates the result.
    ///
    /// Blocks while it reads the file and the files named by variables, each of at most 64 KiB.
    ///
    /// # Errors
    ///
    /// A [`SettingsError`] with all problems: a file that cannot be read or is not TOML, an unknown
    /// key or variable, a malformed value, an unknown preset, a value out of its range.
    pub fn load(self) -> Result<Settings, SettingsError> {
        self.load_with(|_| Ok(())).map(|(settings, ())| settings)
    }

    /// Like [`load`](Self::load), and passes the settings to `make`, which may refuse some. The
    /// refusals are reported along with all other problems, each with the source of its setting.
    /// This crate accepts any text as a connection string, since it does not know the databases.
    ///
    /// ```
    /// use millpond_config::{Loader, Refusal};
    ///
    /// let loader = Loader::new()
    ///     .no_file()
    ///     .no_environment()
    ///     .set("storage.connection_string", "sqllite:///./app.db");
    /// let loaded = loader.load_with(|settings| {
    ///     let url = settings.storage.connection_string.as_ref().map_or("", |url| url.expose());
    ///     url.strip_prefix("sqlite:").map(str::to_owned).ok_or_else(|| vec![Refusal {
    ///         setting: "storage.connection_string",
    ///         message: "is not a URL of SQLite".into(),
    ///         help: "begin with `sqlite:`".into(),
    ///     }])
    /// });
    /// let error = loaded.unwrap_err();
    /// let expected =
    ///     "storage.connection_string (code) is not a URL of SQLite; begin with `sqlite:`";
    /// assert_eq!(error.to_string(), expected);
    /// ```
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_with<T>(
        mut self,
        make: impl FnOnce(&Settings) -> Result<T, Vec<Refusal>>,
    ) -> Result<(Settings, T), SettingsError> {
        let required = mem::take(&mut self.required);
        let prefix = self.names.prefix.clone();
        let mut gathered = self.gather();
        let preset = preset_leaves(&gathered.leaves);
        let layers = Layers::new().merge(preset.iter().chain(&gathered.leaves));
        let settings = check::settings(&layers, &prefix, &mut gathered.problems);
        let made = make(&settings);
        for refusal in made.as_ref().err().into_iter().flatten() {
            gathered.problems.push(refused(refusal, &settings, &layers));
        }
        for path in required {
            if !gathered.problems.iter().any(|problem| problem.setting == path) {
                gathered.problems.extend(missing(&path, &prefix, &layers));
            }
        }
        match made {
            Ok(made) if gathered.problems.is_empty() => Ok((settings, made)),
            _ => Err(SettingsError { problems: gathered.problems }),
        }
    }

    /// Reads the layers above the presets, lowest first.
    fn gather(self) -> Gathered {
        let file = match &self.file {
            FileLayer::Usual => file::gather(Path::new(DEFAULT_FILE), false),
            FileLayer::Given(path) => file::gather(path, true),
            FileLayer::Nothing => Gathered::default(),
        };
        let environment = match self.environment {
            FileLayer::Usual => {
                environment::gather(&self.names, &env::vars_os().collect::<Vec<_>>())
            }
            FileLayer::Given(variables) => environment::gather(&self.names, &variables),
            FileLayer::Nothing => Gathered::default(),
        };
        let mut all = Gathered::default();
        for layer in [file, environment, from_code(self.code)] {
            all.leaves.extend(layer.leaves);
            all.problems.extend(layer.problems);
        }
        all
    }
}

impl Settings {
    /// Starts loading: see [`Loader`].
    pub fn loader() -> Loader {
        Loader::new()
    }
}

impl Default for Loader {
    fn default() -> Self {
        Self::new()
    }
}

/// Omits variables, names and values, which may be or contain secrets.
impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader").field("prefix", &self.names.prefix).finish_non_exhaustive()
    }
}

fn from_code(values: Vec<(String, Value)>) -> Gathered {
    let mut gathered = Gathered::default();
    for (path, Value(raw)) in values {
        match schema::find(&path) {
            Some(setting) => {
                gathered.leaves.push(Leaf { path: &setting.path, raw, source: CODE.to_owned() })
            }
            None => gathered.problems.push(unknown(&path)),
        }
    }
    gathered
}

/// Returns the problem of an unknown setting in code.
fn unknown(path: &str) -> SettingProblem {
    let (section, name) = path.split_once('.').unwrap_or(("", path));
    let help = match suggest::nearest(path, SETTINGS.iter().map(|setting| setting.path.as_str())) {
        _ if schema::is_database_url(section, name) => {
            format!("did you mean `{CONNECTION_STRING}`?")
        }
        Some(near) => format!("did you mean `{near}`?"),
        None => "write section and name, such as `db.pool_size`".to_owned(),
    };
    SettingProblem::new(path, CODE, "is not a setting", help)
}

/// Returns the problem of a value that the code using it refuses.
fn refused(refusal: &Refusal, settings: &Settings, layers: &Layers) -> SettingProblem {
    let Refusal { setting: path, message, help } = refusal;
    let shown = schema::find(path).filter(|setting| !setting.is_secret());
    let value = shown.map(|setting| setting.shown(&mut settings.clone()));
    SettingProblem::new(path, &layers.source(path), message.as_str(), help.as_str()).of_value(value)
}

/// Returns the problem of a required setting that no layer sets.
fn missing(path: &str, prefix: &str, layers: &Layers) -> Option<SettingProblem> {
    let Some(setting) = schema::find(path) else { return Some(unknown(path)) };
    if layers.value(path).is_some_and(|raw| raw != Raw::Unset) {
        return None;
    }
    let location = match setting.section() {
        "" => "in the file".to_owned(),
        section => format!("under [{section}]"),
    };
    let help = format!("set `{prefix}{}`, or `{}` {location}", setting.variable(), setting.name());
    Some(SettingProblem::new(path, &layers.source(path), "is not set, and is required", help))
}

/// Returns the values of the preset that `leaves` select, as the layer below them. An unknown
/// preset is reported later.
fn preset_leaves(leaves: &[Leaf]) -> Vec<Leaf> {
    let Some(Raw::Text(name)) = Layers::new().merge(leaves).value("preset") else {
        return Vec::new();
    };
    let Some(preset) = presets::find(name.trim()) else { return Vec::new() };
    let source = presets::source(preset.name);
    let leaf = |(path, value): &(&'static str, &str)| {
        let raw = Raw::Text((*value).to_owned());
        Leaf { path, raw, source: source.clone() }
    };
    preset.values.iter().map(leaf).collect()
}
