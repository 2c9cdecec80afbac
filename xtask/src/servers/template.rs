//! A fresh data directory, made once and copied for each server that begins with it: copying is ten
//! times faster.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::children::{Children, START_MAX};
use super::packages;
use super::process::Process;
use super::run_as::RunAs;

/// The first server that needs it makes it; others wait meanwhile.
#[derive(Debug)]
pub struct Template {
    home: PathBuf,
    made: OnceLock<Result<PathBuf, String>>,
}

impl Template {
    /// One that will be made in this directory.
    pub fn within(home: PathBuf) -> Self {
        Self { home, made: OnceLock::new() }
    }

    /// Copies it to where there is nothing yet. `initialise` is what fills it the first time, run
    /// in its home with the directory to fill and one for temporary files.
    pub fn copy_to(
        &self,
        data: &Path,
        (children, home): (&Children, &Path),
        account: &RunAs,
        initialise: impl FnOnce(&Path, &str, &str) -> Result<Process, String>,
    ) -> Result<(), String> {
        let make = || {
            let (original, temporary) = (self.home.join("data"), self.home.join("tmp"));
            RunAs::Current.make_directory(&self.home)?;
            account.make_directory(&original)?;
            account.make_directory(&temporary)?;
            let [data, temporary] = [&original, &temporary].map(|path| path.display().to_string());
            let launch = initialise(&self.home, &data, &temporary)?;
            children.run(&launch, START_MAX).map(|_| original)
        };
        let original = self.made.get_or_init(make).as_ref().map_err(Clone::clone)?;
        let copy = Process::helper("cp", &RunAs::Current, &packages::find("cp")?, home);
        // `-a` keeps the owner and the rights, which the servers insist on.
        let copy = copy.args([
            "-a".to_owned(),
            original.display().to_string(),
            data.display().to_string(),
        ]);
        children.run(&copy, START_MAX).map(drop)
    }
}
