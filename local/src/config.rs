//! What the local system takes from the environment, and what it fixes for development.

use std::path::PathBuf;

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
