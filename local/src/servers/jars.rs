//! The jars of the servers that are written in Java, fetched once by Maven into a folder that `cargo clean` leaves alone.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use uuid::Uuid;

use super::{
    child::{Child, Folder, find},
    error::StartError,
};

/// 50 MB take 20 s on a good line.
const FETCHED_WITHIN: Duration = Duration::from_secs(600);

/// A Java program and the pom that names its jar.
#[derive(Debug, Clone, Copy)]
pub(super) struct Jars {
    /// Its name for people.
    pub(super) server: &'static str,
    /// The folder's name, with the version, so that a new version is fetched anew.
    pub(super) folder: &'static str,
    /// The pom.
    pub(super) pom: &'static str,
}

impl Jars {
    /// The class path of the jars below `cache`, fetched first if they are not there.
    ///
    /// Several processes may do this at once: each fetches into a folder of its own, and the first to finish renames it.
    pub(super) async fn class_path(self, cache: &Path) -> Result<String, StartError> {
        if find(&["java"])?.is_none() {
            return Err(StartError::Missing {
                program: "java",
                apt: "apt install openjdk-17-jre-headless",
                dnf: "dnf install java-17-openjdk-headless",
                brew: "brew install openjdk@17",
            });
        }
        let folder = cache.join(self.folder);
        if !folder.is_dir() {
            self.fetch(cache, &folder).await?;
        }
        Ok(folder.join("*").display().to_string())
    }

    async fn fetch(self, cache: &Path, folder: &Path) -> Result<(), StartError> {
        if find(&["mvn"])?.is_none() {
            return Err(StartError::Missing {
                program: "mvn",
                apt: "apt install maven",
                dnf: "dnf install maven",
                brew: "brew install maven",
            });
        }
        fs::create_dir_all(cache).map_err(StartError::io("making the folder for jars"))?;
        let unfinished = Unfinished(cache.join(format!(".{}-{}", self.folder, Uuid::new_v4().simple())));
        let work = Folder::new("jars")?;
        let pom = work.path().join("pom.xml");
        fs::write(&pom, self.pom).map_err(StartError::io("writing a pom"))?;
        tracing::info!(server = self.server, folder = %folder.display(), "fetching jars, once");
        let arguments = [
            "mvn".to_owned(),
            "--quiet".to_owned(),
            "--batch-mode".to_owned(),
            format!("--file={}", pom.display()),
            "dependency:copy-dependencies".to_owned(),
            format!("-DoutputDirectory={}", unfinished.0.display()),
        ];
        let maven = Child::spawn("mvn", Folder::new("maven")?, arguments)?;
        maven
            .until_it_is_done(FETCHED_WITHIN)
            .await
            .map_err(|error| StartError::Jars { server: self.server, reason: error.to_string() })?;
        match fs::rename(&unfinished.0, folder) {
            // Another process was faster, with the same jars.
            Err(_) if folder.is_dir() => Ok(()),
            renamed => renamed.map_err(StartError::io("renaming the folder of jars")),
        }
    }
}

/// A folder that is gone when fetching fails.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, folder = %self.0.display(), "an unfinished folder of jars stays");
        }
    }
}
