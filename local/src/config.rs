//! What the local system takes from the environment, and what it fixes for development.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use shared::config::{Config, ConfigError};

/// Signs the tokens of the local API: the characters themselves are the key. Everybody knows it; development only.
pub const DEVELOPMENT_KEY: &str = "local-development-key-that-everybody-knows";

/// Where the jars of the real servers are kept between runs: `$XDG_CACHE_HOME` or `~/.cache`, outside the build folder.
pub fn cache_dir() -> PathBuf {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place of the local system that reads the environment"
    )]
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    base.unwrap_or_else(|| PathBuf::from(".cache")).join("event-ticket-functions")
}

/// Why the functions' configuration is not known.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The file cannot be read.
    #[error("{file}: {source}")]
    File {
        /// Which file.
        file: String,
        /// Why not.
        source: std::io::Error,
    },
    /// It names too little.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// The functions' configuration as a file of `serve --env-file` has it; without one, as this process' environment has it.
///
/// # Errors
/// When the file cannot be read, or a variable is missing.
pub fn of_functions(env_file: Option<&Path>) -> Result<Config, EnvironmentError> {
    let Some(file) = env_file else { return Ok(Config::from_env()?) };
    let text = std::fs::read_to_string(file)
        .map_err(|source| EnvironmentError::File { file: file.display().to_string(), source })?;
    // NAME="value", a line each; the values have no quotes in them.
    let pairs: HashMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
        .collect();
    Ok(Config::read(|name| pairs.get(name).map(|value| (*value).to_owned()))?)
}
