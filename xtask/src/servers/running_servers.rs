//! All servers of this process: they are started in parallel and end together.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use super::certificates::Certificates;
use super::children::Children;
use super::directory::Directory;
use super::foreground::Foreground;
use super::kind::Kind;
use super::packages::Install;
use super::run_as::RunAs;
use super::template::Template;
use super::variables::Variables;
use super::workdir::Workdir;
use super::{
    cluster, mysql, mysql_download, packages, pgbouncer, postgres, redis, sentinel, signals,
};

/// The interval of checks whether a server has ended by itself.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Servers that run until this is dropped.
pub struct Servers {
    shutdown: Arc<Shutdown>,
    /// The variables of the servers that were started.
    pub variables: Variables,
    /// The errors of those that were not.
    pub failures: BTreeMap<Kind, String>,
}

/// What must be ended, shared with the thread that waits for signals.
#[derive(Debug)]
struct Shutdown {
    children: Children,
    foreground: Foreground,
    is_interrupted: AtomicBool,
    /// Taken by the thread that removes it, which holds the lock meanwhile.
    directory: Mutex<Option<Directory>>,
}

impl Servers {
    /// Starts these kinds, after installing their programs if that is allowed. A kind that fails
    /// does not affect the others. Variables in `known` keep their values.
    pub fn start(kinds: &[Kind], known: Variables, install: Install) -> Result<Self, String> {
        let (able, failures) = install_missing(kinds, install);
        // Before anything is created, so that a signal leaves nothing behind.
        let shutdown = Arc::new(Shutdown {
            children: Children::new()?,
            foreground: Foreground::default(),
            is_interrupted: AtomicBool::default(),
            directory: Mutex::default(),
        });
        let mut servers = Self { shutdown: Arc::clone(&shutdown), variables: known, failures };
        signals::before_end(move || shutdown.interrupt())?;
        if able.is_empty() {
            return Ok(servers);
        }
        let directory = Directory::create()?;
        let home = directory.path().to_owned();
        *servers.shutdown.directory.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(directory);
        servers.start_in(&home, &able);
        servers.shutdown.watch()?;
        servers.shutdown.wait_if_interrupted();
        Ok(servers)
    }

    /// Returns the command that uses the servers.
    pub fn foreground(&self) -> &Foreground {
        &self.shutdown.foreground
    }

    /// Starts these kinds in the directory.
    fn start_in(&mut self, home: &Path, kinds: &[Kind]) {
        let children = &self.shutdown.children;
        let needs_certificates = kinds.iter().any(|kind| kind.is_tls());
        let certificates =
            needs_certificates.then(|| Certificates::make(&home.join("tls"))).transpose();
        let template = |name: &str| Template::within(home.join(format!("{name}-template")));
        let [postgres, mariadb, mysql] = ["postgres", "mariadb", "mysql"].map(template);
        let start = |kind: Kind| {
            let certificates = certificates.as_ref().map_err(Clone::clone);
            let dir = Workdir {
                children,
                home: home.join(kind.name()),
                certificates: if kind.is_tls() { certificates?.as_ref() } else { None },
                template: match kind {
                    Kind::Mariadb | Kind::MariadbTls => &mariadb,
                    _ if kind.is_mysql() => &mysql,
                    _ => &postgres,
                },
            };
            let started = start_one(&dir, kind);
            if started.is_err() {
                children.end_within(&dir.home);
            }
            started
        };
        // In parallel.
        let started: Vec<_> = thread::scope(|scope| {
            let start = &start;
            let threads = kinds.iter().map(|kind| (*kind, scope.spawn(move || start(*kind))));
            let panicked = |_| Err("starting it panicked".to_owned());
            let join =
                |(kind, thread)| (kind, ScopedJoinHandle::join(thread).unwrap_or_else(panicked));
            threads.collect::<Vec<_>>().into_iter().map(join).collect()
        });
        if let Ok(Some(certificates)) = &certificates {
            certificates.add(&mut self.variables);
        }
        for (kind, outcome) in started {
            match outcome {
                Ok(variables) => self.variables.join(variables),
                Err(why) => drop(self.failures.insert(kind, why)),
            }
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.shutdown.end();
        self.shutdown.wait_if_interrupted();
    }
}

impl Shutdown {
    /// Starts a thread that reports servers that have ended by themselves. A test may have killed
    /// them, so the others go on. Its checks also free their process ids, without which a
    /// PostgreSQL cannot be restarted.
    fn watch(self: &Arc<Self>) -> Result<(), String> {
        let shutdown = Arc::clone(self);
        let check = move || {
            while !shutdown.children.is_stopping() {
                for message in shutdown.children.take_ended() {
                    eprintln!("xtask: {message}");
                }
                thread::sleep(CHECK_INTERVAL);
            }
        };
        let thread = thread::Builder::new().name("watches servers".to_owned()).spawn(check);
        thread.map(drop).map_err(|e| format!("could not start a thread: {e}"))
    }

    /// Ends the command, while its servers still answer, and then the servers.
    fn interrupt(&self) {
        self.is_interrupted.store(true, Ordering::SeqCst);
        self.foreground.interrupt();
        self.end();
    }

    /// After a signal, waits for ever: the thread that handles it ends the process.
    fn wait_if_interrupted(&self) {
        while self.is_interrupted.load(Ordering::SeqCst) {
            thread::park();
        }
    }

    fn end(&self) {
        self.children.stop();
        // Held while the directory is removed, so that the process does not end before.
        let mut directory = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        drop(directory.take());
    }
}

/// Installs missing packages, if that is allowed. Returns the kinds that can be started, and the
/// errors of the others.
fn install_missing(kinds: &[Kind], install: Install) -> (Vec<Kind>, BTreeMap<Kind, String>) {
    let programs: Vec<&str> = kinds.iter().flat_map(|kind| kind.programs()).copied().collect();
    let missing = packages::missing(&programs);
    let lacks = |kind: &&Kind| !packages::missing(kind.programs()).is_empty();
    let needed_by: Vec<String> = kinds.iter().filter(lacks).map(|kind| kind.name()).collect();
    let installed = packages::install(&missing, &needed_by.join(", "), install);
    let (mut failures, mut mysql) = (BTreeMap::new(), None);
    for kind in kinds {
        // Checked again for each kind: a failed installation may not affect it.
        let lacking = packages::missing(kind.programs());
        if !lacking.is_empty() {
            let hidden =
                || format!("{} is installed, but its programs are not found", lacking.join(" "));
            let why = installed.as_ref().err().cloned().unwrap_or_else(hidden);
            failures.insert(*kind, why);
        } else if kind.is_mysql()
            && let Err(why) = mysql.get_or_insert_with(|| mysql_download::provide(install))
        {
            failures.insert(*kind, why.clone());
        }
    }
    (kinds.iter().copied().filter(|kind| !failures.contains_key(kind)).collect(), failures)
}

fn start_one(dir: &Workdir, kind: Kind) -> Result<Variables, String> {
    RunAs::Current.make_directory(&dir.home)?;
    match kind {
        Kind::Postgres | Kind::PostgresTls => postgres::start(dir, kind),
        Kind::Pgbouncer => pgbouncer::start(dir),
        Kind::Mariadb | Kind::MariadbTls | Kind::Mysql | Kind::MysqlTls => mysql::start(dir, kind),
        Kind::Redis | Kind::RedisPassword | Kind::RedisTls => redis::start(dir, kind),
        Kind::Sentinel => sentinel::start(dir),
        Kind::Cluster => cluster::start(dir),
    }
}
